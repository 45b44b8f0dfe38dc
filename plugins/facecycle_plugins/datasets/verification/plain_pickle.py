"""Pickles of plain values, read from their operations; nothing is run.

Plain values are lists, tuples, bytes, text, numbers and booleans. NumPy's arrays of bytes are read as bytes, and so is
text of 8 bit, as Python 2 wrote it. Whatever else a pickle asks for is refused by its name.
"""

import pickle
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BYTES = frozenset({"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"})
TEXT_OF_PYTHON_2 = frozenset({"BINSTRING", "SHORT_BINSTRING"})
VALUES = frozenset(
    {
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "INT", "LONG1"),
        *("EMPTY_TUPLE", "EMPTY_LIST", "NEWTRUE", "NEWFALSE", "NONE"),
    }
)
CONSTANTS = {"EMPTY_TUPLE": (), "NEWTRUE": True, "NEWFALSE": False, "NONE": None}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
GET, PUT = frozenset({"BINGET", "LONG_BINGET"}), frozenset({"BINPUT", "LONG_BINPUT"})
NOTHING = frozenset({"PROTO", "FRAME", "STOP"})
NUMPY = tuple(
    f"{package}.{name}"
    for package in ("numpy.core", "numpy._core")
    for name in ("multiarray _reconstruct", "numeric _frombuffer")
)
GLOBALS = frozenset({"_codecs encode", "numpy ndarray", "numpy dtype", *NUMPY})
"""What the pickles of bytes, by Python 3 for Python 2, and of arrays refer to."""
DAMAGED = (pickle.UnpicklingError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError)
"""What `read_plain` raises for a pickle that is damaged, or holds other values."""


@dataclass
class _Call:
    """What a pickle would call, with which arguments, and what state it would give the result."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


def read_plain(data: bytes) -> Any:
    """Return the value of a pickle.

    Raises:
        pickle.UnpicklingError: it holds something else than plain values.
        ValueError, LookupError, TypeError: it is damaged; see `DAMAGED`.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    operations: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(data)
    for operation, argument, _ in operations:
        name: str = operation.name
        if name in BYTES:
            stack.append(bytes(argument))
        elif name in TEXT_OF_PYTHON_2:
            stack.append(argument.encode("latin-1"))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in VALUES:
            stack.append(CONSTANTS.get(name, argument))
        elif name == "MARK":
            marks.append(len(stack))
        elif name in GET:
            stack.append(memo[argument])
        elif name in PUT or name == "MEMOIZE":
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name not in NOTHING:
            _combine(name, argument, stack, marks)
    (value,) = stack
    return value


def _combine(name: str, argument: Any, stack: list[Any], marks: list[int]) -> None:
    """Follow an operation that makes one value of some of the stack."""
    if name in {"TUPLE", "LIST", "APPENDS"}:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        if name == "APPENDS":
            _list(stack).extend(items)
        else:
            stack.append(tuple(items) if name == "TUPLE" else items)
    elif name in TUPLES:
        count = TUPLES[name]
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "APPEND":
        item = stack.pop()
        _list(stack).append(item)
    elif name in {"GLOBAL", "STACK_GLOBAL"}:
        asked = argument if name == "GLOBAL" else " ".join(reversed([stack.pop(), stack.pop()]))
        if asked not in GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {asked}")
        stack.append(_Call(asked, ()))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append(_called(called.name, arguments))
    elif name == "BUILD":
        state = stack.pop()
        stack[-1].state = state
    else:
        raise pickle.UnpicklingError(f"it asks for {name}")


def _list(stack: list[Any]) -> list[Any]:
    if not isinstance(stack[-1], list):
        raise pickle.UnpicklingError("it appends to what is no list")
    return stack[-1]


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name != "_codecs encode":
        return _Call(name, arguments)
    text, encoding = arguments
    if encoding != "latin1":
        raise pickle.UnpicklingError("it asks for another encoding than latin1")
    return text.encode("latin-1")


def as_bytes(value: Any) -> bytes:
    """Return the bytes that a value is, or that an array of bytes holds.

    Raises:
        pickle.UnpicklingError: it is something else; see `DAMAGED`.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, _Call) and value.name.endswith("_reconstruct"):
        _, shape, dtype, _, data = value.state
    elif isinstance(value, _Call) and value.name.endswith("_frombuffer"):
        data, dtype, shape, *_ = value.arguments
    else:
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__} where bytes should be")
    if not isinstance(data, bytes) or dtype.arguments[0] not in ("u1", b"u1") or shape != (len(data),):
        raise pickle.UnpicklingError("it holds an array that is no row of bytes")
    return data
