"""Outputs: whatever a picture is called, what is made of it is written into the folder that was named."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from fuzz.harness import Target
from fuzz.targets.checkpoints import CONFIG, WHOLE
from fuzz.targets.labels import IMAGE
from fuzz.targets.pages import check_page
from hypothesis import strategies as st

from facecycle import registry
from facecycle.checkpoints.header import Checkpoint
from facecycle.data.check import check_data
from facecycle.networks import Loaded, build_method
from facecycle.probing.embed import embed_files
from facecycle.runtimes.by_torch import TorchRuntime
from facecycle.translation.files import Wanted, translate_files

STEMS = st.sampled_from(
    [
        *(
            "..",
            "...",
            ".",
            "-",
            "--help",
            "a b",
            " ",
            "a\nb",
            "a\r",
            "a\tb",
            "\x1b[31m",
            "%2e%2e%2fx",
            "%00",
            "a%",
            "\\..\\x",
            "C:x",
        ),
        *(
            "<script>alert(1)</script>".replace("/", ""),
            '" onload="x',
            "{{ 7 }}",
            "&amp;",
            "#a",
            "a?b",
            "a;b",
            "$(x)",
            "`x`",
            "'",
        ),
        *(
            "x" * 250,
            "é" * 120,
            "\U0001f600" * 60,
            "\udcff",
            "\udcff\udcfe..",
            "\u202e",
            "\ufeff",
            "\u0007",
            "$\\frac",
            "contact_sheet",
        ),
        *("index", "a-neutral", "CON", "~", "*", "a" * 60 + ".b", "\x7f", "\x85", "\u2028"),
    ]
) | st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=60)


CENTRE = Wanted(detector="centre")


@cache
def _loaded() -> tuple[object, frozenset[str]]:
    return build_method(CONFIG).requires_grad_(False).eval(), frozenset({"expression", "identity"})


def _write(names: list[str], folder: Path) -> list[Path]:
    paths = []
    for name in names:
        path = folder / "in" / f"{name}.png"
        if len(os.fsencode(path.name)) <= 255:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(IMAGE[".png"])
            paths.append(path)
    return list(dict.fromkeys(paths))


def _tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def _outputs(names: list[str], folder: Path) -> None:
    """Translate and embed pictures of such names, also with the first as driver, and draw them as a data set."""
    paths = _write(names, folder)
    if not paths:
        return
    (folder / "model.safetensors").write_bytes(WHOLE)
    method, trained = _loaded()
    runtime = TorchRuntime(Loaded(method, Checkpoint(folder / "model.safetensors", CONFIG, trained, {})))
    before = _tree(folder)
    out = folder / "out"
    alone = translate_files(runtime, paths, out / "alone", CENTRE)
    assert len({*alone.pictures}) == 5 * len(paths)
    pairs = translate_files(runtime, paths, out / "pairs", CENTRE, driver=paths[0])
    assert len({*pairs.pictures}) == 2 * 8 * len(paths)
    for made in (alone, pairs):
        if made.gallery is not None:
            check_page(made.gallery.read_text("utf-8"))
    embed_files(runtime, paths, out / "codes.parquet")
    check_data(registry.build("dataset", "tracks", {"path": str(folder / "in"), "min_frames": 1}), out / "sheet.png")
    new = _tree(folder) - before
    assert new
    assert all(name.startswith(str(out)) for name in new), new
    assert not [path for path in out.rglob("*") if path.is_symlink() or path.name.endswith(".tmp")]
    assert {path.parent for path in [*alone.pictures, *pairs.pictures]} == {out / "alone", out / "pairs"}


TARGETS = [
    Target(
        "outputs/names",
        st.lists(STEMS, min_size=1, max_size=3, unique=True),
        _outputs,
        ["a", "b"],
        share=0.1,
        seconds=60,
    ),
]
