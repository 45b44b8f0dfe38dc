"""Checkpoints of ours: safetensors files with damaged headers, tables, offsets and entries, and what resuming reads."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # torch imports its compiler on the way to some errors, and that makes a folder of its own
from fuzz.damage import DEPTHS, EDGES, HUGE, ODD_TEXT, ODD_VALUES, damaged, damaged_json, damaged_value, nested
from fuzz.harness import Target
from hypothesis import strategies as st
from safetensors.torch import save

from facecycle.checkpoints import folders, model_file
from facecycle.checkpoints.header import FORMAT, read
from facecycle.checkpoints.inspect import describe, verify
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.errors import CheckpointError
from facecycle.networks import build_method, load

CONFIG = resolve(
    [
        *preset_layers("small"),
        set_layer(
            [
                "encoder={name='pixels', options={}}",
                "method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}",
                "size=16",
            ]
        ),
    ]
)
ENTRIES = {
    "config": CONFIG.model_dump_json(),
    "trained": json.dumps(["expression"]),
    "components": json.dumps({"loss:l1": {"distribution": "facecycle", "version": "1", "entry_point": "a:b"}}),
    "environment": json.dumps({"python": "3"}),
    "source": json.dumps({"file": "a.tar"}),
    "parent": "",
    "step": "3",
    "licence": "none",
}
DTYPES = (
    "BOOL",
    "U8",
    "I8",
    "F4",
    "F6_E2M3",
    "F8_E5M2",
    "F8_E4M3",
    "F8_E8M0",
    "I16",
    "U16",
    "F16",
    "BF16",
    "I32",
    "U32",
    "F32",
    "C64",
    "F64",
    "I64",
    "U64",
    "X99",
    "",
    "f32",
    5,
    None,
)


TENSORS = {"bias": torch.zeros(2), "weight": torch.full((2, 3), 0.5)}


def _parts() -> tuple[dict[str, Any], bytes]:
    """Return the header and the numbers of a sound model file of two tensors."""
    header = {"format": FORMAT, **ENTRIES}
    whole = save(TENSORS, {**header, model_file.CONTENT: model_file.content_sha256(header, TENSORS)})
    length = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


HEADER, NUMBERS = _parts()


def _file(header: bytes, numbers: bytes, length: int | None = None) -> bytes:
    return ((len(header) if length is None else length) % 2**64).to_bytes(8, "little") + header + numbers


WHOLE = _file(json.dumps(HEADER).encode(), NUMBERS)


@st.composite
def _entries(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a header's metadata with one or two entries that hold something else."""
    entries: dict[str, Any] = dict(HEADER["__metadata__"])
    for _ in range(draw(st.integers(1, 2))):
        key = draw(st.sampled_from(sorted(entries)) | ODD_TEXT)
        kind = draw(st.sampled_from(("json", "json", "text", "deep", "value", "gone")))
        if kind == "json":
            parsed = json.loads(ENTRIES[key]) if ENTRIES.get(key, "").startswith(("{", "[")) else ENTRIES.get(key)
            entries[key] = draw(damaged_json(parsed)).decode("utf-8", "replace")
        elif kind == "gone":
            entries.pop(key, None)
        else:
            deep = nested(draw(DEPTHS), draw(st.sampled_from(("list", "table"))))
            entries[key] = draw(ODD_TEXT) if kind == "text" else deep if kind == "deep" else draw(ODD_VALUES)
    if draw(st.booleans()) and all(isinstance(text, str) for text in entries.values()):
        # So that what follows the digest is reached.
        entries[model_file.CONTENT] = model_file.content_sha256(entries, TENSORS)
    return entries


@st.composite
def _files(draw: st.DrawFn) -> bytes:
    kind = draw(
        st.sampled_from(("bytes", "entries", "entries", "tensor", "tensor", "header", "length", "twice", "deep"))
    )
    if kind == "bytes":
        return draw(damaged(WHOLE))
    header: Any = {**HEADER, "weight": dict(HEADER["weight"]), "__metadata__": dict(HEADER["__metadata__"])}
    numbers, length = NUMBERS, None
    if kind == "entries":
        header["__metadata__"] = draw(_entries())
    elif kind == "tensor":
        tensor = header["weight"]
        side = st.sampled_from([*EDGES, -1, 2.5, "3", None])
        tensor[draw(st.sampled_from(("dtype", "shape", "data_offsets")))] = draw(
            st.sampled_from(DTYPES) | st.lists(side, max_size=4) | st.just([0] * 100) | st.just([1] * 2000)
        )
        if draw(st.booleans()):  # a type and a shape that fit each other
            dtype, size = draw(
                st.sampled_from(
                    [
                        ("BOOL", 1),
                        ("F8_E5M2", 1),
                        ("F8_E8M0", 1),
                        ("F4", 0.5),
                        ("C64", 8),
                        ("U64", 8),
                        ("I16", 2),
                        ("F16", 2),
                        ("BF16", 2),
                        ("F64", 8),
                    ]
                )
            )
            shape = draw(st.sampled_from(([], [0], [2, 3], [2**40, 0], [1] * 70)))
            count = 1
            for each in shape:
                count *= each
            header = {"__metadata__": header["__metadata__"]}
            header["weight"] = {"dtype": dtype, "shape": shape, "data_offsets": [0, int(count * size)]}
            numbers = draw(st.sampled_from((b"\0", b"\x7f", b"\xff"))) * int(count * size)
    elif kind == "header":
        header = draw(damaged_value(header))
    elif kind == "length":
        length = draw(st.sampled_from([*EDGES, len(WHOLE), 100_000_001]))
    text = json.dumps(header)
    if kind == "twice":
        text = text[:-1] + ', "weight": ' + json.dumps(HEADER["bias"]) + ', "__metadata__": {"format": "facecycle/1"}}'
    elif kind == "deep":
        text = '{"a":' + nested(draw(DEPTHS), "list") + "," + text[1:]
    return _file(text.encode("utf-8", "surrogatepass"), numbers, length)


def _read(content: bytes, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    lines: list[str] = []
    try:
        found = read(path)
        json.dumps(describe(path))
        model_file.read_tensors(found)
    finally:
        try:
            verify(path, lines.append)
        except CheckpointError as error:
            # The networks of the header are not a linear layer; everything before that has held.
            if "does not fit" not in error.message:
                raise


# --- configurations that build networks -------------------------------------------------------------


@cache
def _networks() -> bytes:
    tensors = build_method(CONFIG).state_dict()
    header = {"format": FORMAT, **ENTRIES}
    return save({k: v.contiguous() for k, v in tensors.items()}, header)


OPTIONS = st.sampled_from(
    [
        *[("size", v) for v in (32, 48, 2**20, 2**40, 2**62, 17)],
        *[("method.options.width", v) for v in (0, -1, 1, 3, 2**20, 2**62, 10**30, "a", None, [1])],
        *[("method.options.motion_width", v) for v in (0, -1, 2**40, 1.5)],
        *[("method.options.generator_blocks", v) for v in (0, -1, 10**3, 2**62)],
        *[("method.options.stem", v) for v in ("trained", "vgg19", "x", "../x", "hf-hub:a/b", HUGE)],
        *[("method.options.code", v) for v in (0, 1, 2**40)],
        *[("method.name", v) for v in ("facecycle", "x", "os:system", "facecycle/facecycle", "")],
        *[
            ("encoder", {"name": n, "options": o})
            for n in ("timm", "facecycle", "hog", "lbp", "pixels", "timm:resnet18")
            for o in (
                {},
                {"model": "hf-hub:a/b"},
                {"model": "local-dir:/tmp"},
                {"pretrained": True},
                {"width": 2**40},
                {"model": "resnet18", "max_stride": 10**20},
                {"model": "vit_tiny_patch16_224", "img_size": 2**40},
                {"model": "vit_tiny_patch16_224", "img_size": 9},
                {"method": "x"},
                {"points": 2**40},
            )
        ],
        *[("warper", {"name": n}) for n in ("fused", "reference", "auto", "x")],
        *[("seed", v) for v in (-1, 2**62, 2**64, 10**30, -(10**30))],
    ]
)


def _build(value: list[tuple[str, Any]], folder: Path) -> None:
    """Load networks whose header asks for others than its tensors."""
    whole = _networks()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    config = json.loads(header["__metadata__"]["config"])
    for key, changed in value:
        *parents, last = key.split(".")
        table = config
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = changed
    header["__metadata__"]["config"] = json.dumps(config)
    path = folder / "model.safetensors"
    path.write_bytes(_file(json.dumps(header).encode(), whole[8 + length :]))
    load(path)


# --- run folders ----------------------------------------------------------------------------------


def _resume(value: tuple[bytes, bytes, bytes], folder: Path) -> None:
    pointer, state, optimizer = value
    step = folder / "run" / "checkpoints" / "step-1"
    step.mkdir(parents=True)
    (step.parent / folders.LATEST).write_bytes(pointer)
    (step / folders.STATE).write_bytes(state)
    (step / folders.OPTIMIZER).write_bytes(optimizer)
    (step / folders.MODEL).write_bytes(WHOLE)
    (folder / folders.MODEL).write_bytes(WHOLE)  # what a pointer out of the run would find
    try:
        tensors, state_read = model_file.read_resume(step)
        assert isinstance(state_read, dict)
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    finally:
        assert folders.latest_folder(folder / "run").resolve() == step.resolve()


STATE = {"position": {"stage": "direct", "step": 3}, "bad_frames": {}}
OPTIMIZER = save({"0.step": torch.ones(1)})
POINTERS = st.sampled_from(
    [b"step-1\n", b"..", b"../..", b"../../..", b"/etc", HUGE.encode(), b"a\0b", b"\xff\xfe", b""]
)

TARGETS = [
    Target("checkpoints/model", _files(), _read, WHOLE, share=4),
    Target(
        "checkpoints/networks", st.lists(OPTIONS, min_size=1, max_size=2), _build, [], share=0.2, seconds=60, mib=512
    ),
    Target(
        "checkpoints/resume",
        st.tuples(POINTERS, damaged_json(STATE), damaged(OPTIMIZER))
        | st.tuples(POINTERS, st.just(json.dumps(STATE).encode()), damaged(OPTIMIZER))
        | st.tuples(st.just(b"step-1"), damaged_json(STATE), st.just(OPTIMIZER)),
        _resume,
        (b"step-1\n", json.dumps(STATE).encode(), OPTIMIZER),
        share=1,
    ),
]
