"""Head pose files: MATLAB's .mat and FSA-Net's .npz, damaged inside and outside their compression."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.damage import EDGES, damaged, damaged_json
from fuzz.harness import Target
from fuzz.targets.labels import IMAGE, use
from hypothesis import strategies as st
from scipy.io import savemat

CONTENT = {"Pose_Para": np.full((1, 7), 0.1), "pt2d": np.array([[4.0, 20], [4, 20]]), "roi": np.arange(4)}


def _mat(packed: bool, content: dict[str, Any] = CONTENT) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=packed)
    return buffer.getvalue()


PLAIN, PACKED = _mat(False), _mat(True)


@st.composite
def _mats(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(("plain", "plain", "packed", "inside", "bomb", "types")))
    if kind in ("plain", "packed"):
        return draw(damaged(PLAIN if kind == "plain" else PACKED))
    if kind == "types":
        odd = st.sampled_from(
            [
                5,
                "text",
                {"a": 1},
                np.array([[1j]]),
                [],
                np.zeros((0, 7)),
                np.zeros((2, 2, 2)),
                np.full((1, 7), np.nan),
                np.eye(3, dtype=bool),
                np.int8([[1, 2, 3]]),
                "x" * 1000,
            ]
        )
        return _mat(draw(st.booleans()), {"Pose_Para": draw(odd | st.just(CONTENT["Pose_Para"])), "pt2d": draw(odd)})
    inside = bytes(200 * 1024**2) if kind == "bomb" else draw(damaged(PLAIN[128:]))
    packed = zlib.compress(inside, 1)
    return PLAIN[:128] + struct.pack("<II", 15, len(packed)) + packed


def _pair(content: bytes, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(IMAGE[".jpg"])
    (folder / "a.mat").write_bytes(content)
    use("aflw2000", folder)


def _index(content: bytes, folder: Path) -> None:
    """Read sound files whose index holds something else."""
    data = folder / "data"
    data.mkdir()
    _pair(PLAIN, data)
    cache = next((folder.parent / "cache" / "facecycle" / "landmark-pose").iterdir())
    stamp = json.loads(cache.read_bytes())["files"]["a.mat"][1]
    cache.write_bytes(
        content.replace(b"1000000001", str(stamp).encode()).replace(b"1000000002", str(len(PLAIN)).encode())
    )
    use("aflw2000", data)


INDEX = {"files": {"a.mat": [1000000002, 1000000001, 5.0, 5.0, 5.0, 4.0, 4.0, 20.0, 20.0]}}

# --- .npz ---------------------------------------------------------------------------------------

ARRAYS = {"image": np.full((2, 64, 64, 3), 9, np.uint8), "pose": np.full((2, 3), 20.0)}


def _npz(arrays: dict[str, Any], packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def _npy(header: str, numbers: bytes = b"") -> bytes:
    text = header.encode("latin-1", "replace") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 65536) + text + numbers


HEADERS = st.builds(
    "{{'descr': {}, 'fortran_order': {}, 'shape': {}}}".format,
    st.sampled_from(
        ["'|u1'", "'<f8'", "'|O'", "'|V99999999999'", "'<U99999999'", "[('a', '|O')]", "5", "'M8[ns]'", "'<f99'"]
    ),
    st.sampled_from(["False", "True", "5"]),
    st.sampled_from(
        [f"({side},)" for side in EDGES]
        + [
            "()",
            "(-1,)",
            "(2, 64, 64, 3)",
            "(10**9,)",
            "(" * 200 + ")" * 200,
            "(2, 2147483647, 2147483647, 3)",
            "[1]",
            "(1.5,)",
            "(True,)",
            "(" + "9" * 5000 + ",)",
        ]
    ),
)


@st.composite
def _archives(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(("bytes", "header", "header", "inside", "bomb", "object", "types")))
    if kind == "bytes":
        return draw(damaged(_npz(ARRAYS, True)))
    if kind == "object":
        odd = np.array([{"a": 1}, None], dtype=object)
        return _npz({**ARRAYS, draw(st.sampled_from(("image", "pose"))): odd})
    if kind == "types":
        odd = draw(
            st.sampled_from(
                [
                    np.zeros(0),
                    np.array("a"),
                    np.full((2, 3), np.nan),
                    np.zeros((2, 0, 0, 3), np.uint8),
                    np.zeros((2, 3), complex),
                    np.zeros((0, 3)),
                    np.full((2, 3), 1e308),
                ]
            )
        )
        return _npz({**ARRAYS, draw(st.sampled_from(("image", "pose"))): odd})
    members = {}
    with zipfile.ZipFile(io.BytesIO(_npz(ARRAYS))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    if kind == "header":
        members[name] = _npy(draw(HEADERS), members[name][128:])
    elif kind == "bomb":
        members[name] = _npy(
            f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({400 * 1024**2},)}}", bytes(400 * 1024**2)
        )
    else:
        members[name] = draw(damaged(members[name]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _archive(content: bytes, folder: Path) -> None:
    (folder / "a.npz").write_bytes(content)
    use("aflw2000", folder / "a.npz")


TARGETS = [
    Target("matlab/mat", _mats(), _pair, PLAIN, share=3),
    Target("matlab/index", damaged_json(INDEX), _index, json.dumps(INDEX).encode(), share=0.5),
    Target("matlab/npz", _archives(), _archive, _npz(ARRAYS), share=1.5),
]
