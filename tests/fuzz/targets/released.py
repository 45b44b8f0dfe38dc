"""The authors' .tar: zip and legacy files of torch.save, damaged, and pickles that want to run or to grow."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from fuzz.damage import damaged
from fuzz.harness import Target
from hypothesis import strategies as st

from facecycle.checkpoints.import_released import _read, _refuse_prefix, import_released
from facecycle.errors import CheckpointError

SMALL = {"codegeneration": {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}, "exptoflow": {"b": torch.ones(1)}}


def _saved(content: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WHOLE = [_saved(SMALL), _saved(SMALL, False)]


@cache
def _members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(WHOLE[0])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@st.composite
def _archives(draw: st.DrawFn) -> bytes:
    """Draw a zip whose sums hold, with a damaged pickle or record in it."""
    members = dict(_members())
    name = draw(st.sampled_from(sorted(members)))
    kind = draw(st.sampled_from(("damage", "damage", "damage", "gone", "rename", "bomb")))
    if kind == "gone":
        del members[name]
    elif kind == "rename":
        members[draw(st.sampled_from(("archive/../x", "/x", "archive/data.pkl", "a\0b")))] = members.pop(name)
    elif kind == "bomb":
        members[name] = bytes(400 * 1024**2)
        return _zip(members, zipfile.ZIP_DEFLATED)
    else:
        members[name] = draw(damaged(members[name]))
    return _zip(members)


# --- pickles that want something --------------------------------------------------------------------


class _Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CALLS = (
    "builtins eval",
    "builtins exec",
    "os system",
    "posix system",
    "subprocess call",
    "builtins open",
    "builtins getattr",
    "torch load",
    "torch.hub load",
    "pathlib Path.write_text",
    "torch._utils _rebuild_tensor_v2",
    "torch.storage _load_from_bytes",
    "builtins bytearray",
    "collections OrderedDict",
    "torch FloatStorage",
    "torch._utils _rebuild_parameter",
    "numpy.core.multiarray _reconstruct",
    "builtins __import__",
    "torch Size",
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch device",
    "torch._utils _rebuild_wrapper_subclass",
    "collections Counter",
    "torch.nn.parameter Parameter",
)
EFFECTS = (
    b"X\x07\x00\x00\x00touch x",
    b"X\x1a\x00\x00\x00open('ran', 'w').write('x')#",
    b"X\x03\x00\x00\x00ran",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08" + struct.pack("<q", 10**12),
    b"(lp0\n",
    b"N",
    b"(d",
    b"G" + struct.pack(">d", 1e300),
)


@st.composite
def _hostile(draw: st.DrawFn) -> bytes:
    """Draw a pickle that calls something with something, alone or as a network's tensor, in either container."""
    module, name = draw(st.sampled_from(CALLS)).split(" ")
    arguments = b"".join(draw(st.lists(st.sampled_from(EFFECTS), max_size=4)))
    call = b"c" + f"{module}\n{name}\n".encode() + b"(" + arguments + b"tR"
    if draw(st.booleans()):
        call = b"c" + f"{module}\n{name}\n".encode() + b"(" + arguments + b"t\x81"
    if draw(st.booleans()):
        call += b"}b"
    whole = b"}X\x01\x00\x00\x00a" + call + b"s" if draw(st.booleans()) else call
    stream = b"\x80\x02" + whole + b"."
    if draw(st.booleans()):
        return _zip({**_members(), "archive/data.pkl": stream})
    header = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*header, stream, pickle.dumps([], 2)])


def doubling(depth: int, key: bool) -> bytes:
    """Return a pickle of a tuple of two of a tuple of two..., as a value or as a key; a few bytes a level."""
    stream = b"\x80\x02}" + (b"" if key else b"X\x01\x00\x00\x00a") + b")" + b"q\x01h\x01\x86" * depth
    return stream + (b"}" if key else b"") + b"s."


def _import(content: bytes, folder: Path) -> None:
    source = folder / "finalmodel.tar"
    source.write_bytes(content)
    before = sorted(p.name for p in folder.parent.rglob("*"))
    try:
        networks = _read(source)
        _refuse_prefix(source, networks)
        assert all(isinstance(values, dict) for values in networks.values())
    finally:
        assert sorted(p.name for p in folder.parent.rglob("*")) == before, "something was run"


def _whole_import(content: bytes, folder: Path) -> None:
    """Go on to where the tensors are compared with the networks'; of so small a file none ever fits."""
    (folder / "finalmodel.tar").write_bytes(content)
    try:
        import_released(folder / "finalmodel.tar", folder / "model.safetensors")
    except CheckpointError:
        assert sorted(p.name for p in folder.iterdir()) == ["finalmodel.tar"]
        if content != WHOLE[0]:
            raise


SHAPES = st.sampled_from([(2,), (2, 3), (0,), (), (2**40,), (2**31, 2**31)])


@st.composite
def _odd_networks(draw: st.DrawFn) -> bytes:
    """Draw a sound file of torch.save whose tables hold anything."""
    value = st.sampled_from(
        [
            torch.ones(2, 3),
            torch.ones(1).expand(2**40),
            torch.ones(3).to_sparse(),
            torch.ones(2, dtype=torch.complex64),
            torch.full((2,), float("nan")),
            torch.empty(3, device="meta"),
            torch.zeros(2, 0),
            5,
            "text",
            None,
            [],
            {},
            (1,),
        ]
    )
    key = st.sampled_from(
        ["Swap_Norm", "codegeneration", "idcodegen", "module.x", "", 5, (1, 2), None, 0.5, "\ud800", "a\0"]
    )
    table = st.dictionaries(key, value, max_size=3)
    return _saved(draw(st.dictionaries(key, table | value, max_size=3) | table | value), draw(st.booleans()))


TARGETS = [
    Target("released/bytes", st.sampled_from(WHOLE).flatmap(damaged), _import, WHOLE[0], share=2),
    Target("released/records", _archives(), _import, WHOLE[0], share=1),
    Target("released/pickles", _hostile(), _import, WHOLE[1], share=2),
    Target(
        "released/doubling",
        st.tuples(st.sampled_from((5, 20, 60, 900)), st.booleans()).map(
            lambda v: _zip({**_members(), "archive/data.pkl": doubling(*v)})
        ),
        _import,
        WHOLE[0],
        share=0.02,
        seconds=10,
    ),
    Target("released/networks", _odd_networks(), _whole_import, WHOLE[0], share=0.1, seconds=60, mib=512),
]
