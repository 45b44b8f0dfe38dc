"""What the pickles of a file of tensors may hold, told from their operations; nothing is run and nothing is built.

`torch.load(weights_only=True)` runs no foreign code, but it builds whatever a pickle describes: a few bytes can
ask for an array of gigabytes, or for a key that takes years to hash. So it is only given what `torch.save` writes.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO

GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *("torch._utils _rebuild_sparse_tensor", "torch.serialization _get_layout", "torch Size"),
        *("torch._utils _rebuild_meta_tensor_no_storage", "torch float32"),
        *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char")),
        *(f"torch {kind}Storage" for kind in ("Byte", "Bool", "ComplexFloat", "ComplexDouble")),
    }
)
"""What a table of tensors refers to. What is no weight all the same is named once it was read."""
GET, PUT = frozenset({"BINGET", "LONG_BINGET"}), frozenset({"BINPUT", "LONG_BINPUT"})
OPERATIONS = frozenset(
    {
        *GET,
        *PUT,
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SETITEM", "SETITEMS", "APPEND", "APPENDS", "NONE", "NEWTRUE"),
        *("NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    }
)
LARGEST = 1_000_000
"""Values of one pickle, each counted wherever it is used; the released file has some ten thousand."""
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile),
)
"""What torch raises where bytes of a file were changed, beside refusing it."""


def check_pickles(source: Path) -> None:
    """Check every pickle of a file of torch.save, in its zip form or its older one.

    Raises:
        pickle.UnpicklingError: one asks for something other than tensors by name.
        OSError, ValueError, LookupError, struct.error, RuntimeError, zipfile.BadZipFile: the file is damaged.
    """
    with source.open("rb") as file:
        if file.read(4) != b"PK\3\4":
            file.seek(0)
            for _ in range(5):  # magic number, version, system, the tables, keys of the tensors' numbers
                _check(file)
            return
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise pickle.UnpicklingError("its records are packed, which torch.save never does")
        for member in members:
            if member.filename.endswith(".pkl"):
                with archive.open(member) as record:
                    _check(record)


def _check(stream: IO[bytes]) -> None:
    """Follow a pickle's operations over the sizes of what it would build, to the end of that pickle."""
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[object, int] = {}
    for operation, argument, _ in pickletools.genops(stream):
        name = operation.name
        if name not in OPERATIONS or (name == "GLOBAL" and argument not in GLOBALS):
            raise pickle.UnpicklingError(f"it asks for {argument if name == 'GLOBAL' else name}")
        if name in GET:
            stack.append(memo[argument])
        elif name in PUT:
            memo[argument] = stack[-1]
        elif name == "MARK":
            marks.append(len(stack))
        else:
            before = operation.stack_before
            marked = pickletools.markobject in before
            start = marks.pop() - before.index(pickletools.markobject) if marked else len(stack) - len(before)
            if start < 0:
                raise IndexError("it takes more values than there are")
            size = 1 + sum(stack[start:])
            if size > LARGEST:
                raise pickle.UnpicklingError("it asks for more values than any network has")
            stack[start:] = [size] * len(operation.stack_after)
