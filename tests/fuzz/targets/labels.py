"""Data sets: the label files of every kind, and the folders and caches that name its images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.damage import ODD_TEXT, damaged_json, damaged_text
from fuzz.harness import Target
from helpers.common import picture
from hypothesis import strategies as st

from facecycle import registry
from facecycle.api import Verification
from facecycle.data.folders import image_suffixes
from facecycle.errors import FacecycleError

TASKS = ("emotion", "pose", "verify")


def use(kind: str, path: Path, **options: Any) -> None:
    """Build a data set and ask it for all that a command asks for.

    Raises:
        FacecycleError: it was refused.
    """
    dataset = registry.build("dataset", kind, {"path": str(path), **options})
    refused = None
    for task in TASKS:
        try:
            labels = dataset.labelled(task)
        except FacecycleError as error:
            refused = error
            continue
        frames = labels.first if isinstance(labels, Verification) else labels.frames
        assert frames.dtype.kind in "iu"
        assert labels.folds.dtype.kind in "iu", labels.folds.dtype
        assert len(labels.folds) == len(frames) > 0
        break
    else:
        dataset.tracks()
        assert refused is not None
        raise refused
    tracks = dataset.tracks()
    assert all(isinstance(track.name, str) and track.frames for track in tracks)
    assert isinstance(dataset.fingerprint(), str)
    pixels, bad = dataset.images([0], 8)
    assert pixels.shape == (1, 3, 8, 8)
    assert len(bad) == 1


def _image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(IMAGE[path.suffix])


def _encoded(suffix: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return picture(Path(folder) / f"a{suffix}").read_bytes()


IMAGE = {suffix: _encoded(suffix) for suffix in (".jpg", ".png", ".pgm")}

# --- text files beside images -----------------------------------------------------------------------

RAF = "".join(f"{('train', 'test')[n % 2]}_{n:05d}.jpg {n % 7 + 1}\n" for n in range(6))
LFW = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nCy\t1\t2\nCy\t1\tDi\t2\n"
CPLFW = "".join(f"{n}_1.jpg {n % 2}\n{n}_2.jpg {n % 2}\n" for n in range(10))
CPLFW_ROWS = "".join(f"{n}_1.jpg {n}_2.jpg {n % 2}\n" for n in range(10))
POSE = "file,pitch_deg,yaw_deg,roll_deg\n" + "".join(f"p{n}/0.jpg,{n},{-n},{0.5 * n}\n" for n in range(6))
POSE_FOLDS = "file,pitch_deg,yaw_deg,roll_deg,fold\n" + "".join(f"p{n}/0.jpg,{n},-2,3,{n % 2}\n" for n in range(6))
CAMERA = "517 0 320\n0 517 240\n0 0 1\n\n0 0 0 0\n\n1 0 0\n0 1 0\n0 0 1\n\n0 0 0\n\n640 480\n"
ROTATION = "1 0 0\n0 1 0\n0 0 1\n\n0 0 900\n"
LIST = "id0/clip0\n# a comment\nid0/clip1\nid1/clip2\n"


def _raf_db(content: bytes, root: Path) -> None:
    for line in RAF.splitlines():
        _image(root / "aligned" / f"{line.partition('.')[0]}_aligned.jpg")
    (root / "list_patition_label.txt").write_bytes(content)
    try:
        use("raf-db", root)
    finally:
        use("raf-db", root, allow_missing=True)


def _lfw(content: bytes, root: Path) -> None:
    for number in range(8):
        person = ("Ann", "Bob", "Cy", "Di")[number // 2]
        _image(root / person / f"{person}_{number % 2 + 1:04d}.jpg")
    (root / "pairs.txt").write_bytes(content)
    use("lfw", root, allow_missing=True)


def _cplfw(content: bytes, root: Path) -> None:
    for number in range(10):
        _image(root / f"{number}_1.jpg"), _image(root / f"{number}_2.jpg")
    (root / "pairs_CPLFW.txt").write_bytes(content)
    use("cplfw", root, allow_missing=True)


def _pose_csv(content: bytes, root: Path) -> None:
    for number in range(6):
        _image(root / f"p{number}" / "0.jpg")
    (root / "pose.csv").write_bytes(content)
    use("pose-csv", root / "pose.csv", allow_missing=True, folds=2)


def _biwi(value: tuple[bytes, bytes], root: Path) -> None:
    pose, camera = value
    for number in range(2):
        _image(root / f"{number + 1:02d}" / "frame_00003_rgb.png")
        (root / f"{number + 1:02d}" / "frame_00003_pose.txt").write_bytes(ROTATION.encode() if number else pose)
        (root / f"{number + 1:02d}" / "rgb.cal").write_bytes(CAMERA.encode() if number else camera)
    use("biwi", root, folds=2)


def _fer2013(content: bytes, root: Path) -> None:
    (root / "fer2013.csv").write_bytes(content)
    use("fer2013", root / "fer2013.csv")


def _fer_text() -> str:
    rows = [f"{n % 3},{' '.join([str(n)] * 48 * 48)},{('Training', 'PrivateTest')[n % 2]}" for n in range(3)]
    return "\n".join(["emotion,pixels,Usage", *rows])


@st.composite
def _fer_csv(draw: st.DrawFn) -> bytes:
    text = _fer_text()
    if draw(st.booleans()):
        return draw(damaged_text(text))
    head, pixels, tail = text.splitlines()[1].split(",")
    values = pixels.split(" ")
    for _ in range(draw(st.integers(1, 3))):
        values[draw(st.integers(0, len(values) - 1))] = draw(ODD_TEXT)
    return "\n".join([text, ",".join([head, " ".join(values), tail])]).encode("utf-8", "surrogatepass")


def _list_file(content: bytes, root: Path) -> None:
    for number in range(6):
        _image(root / f"id{number // 4}" / f"clip{number // 2}" / f"{number}.jpg")
    (root / "tracks.txt").write_bytes(content)
    _use_tracks("tracks", root / "tracks.txt")


def _use_tracks(kind: str, path: Path) -> None:
    dataset = registry.build("dataset", kind, {"path": str(path)})
    tracks = dataset.tracks()
    assert tracks
    dataset.fingerprint()
    frames = [track.frames[0] for track in tracks][:4]
    assert dataset.images(frames, 8)[0].shape == (len(frames), 3, 8, 8)


# --- caches -------------------------------------------------------------------------------------


def _index(content: bytes, root: Path) -> None:
    """Read a tree of tracks whose cached index holds something else; the tree itself is sound."""
    tree = root / "tree"
    for number in range(4):
        _image(tree / f"id{number // 2}" / f"{number}.jpg")
    _use_tracks("tracks", tree)
    cache = next((root.parent / "cache" / "facecycle" / "folders").iterdir())
    stamps = {name: known[0] for name, known in json.loads(cache.read_bytes())["directories"].items()}
    # The times of change are right, so that what the index says is believed.
    text = content
    for name, mark in (("id0", b"1000000001"), ("id1", b"1000000002"), (".", b"1000000003")):
        text = text.replace(mark, str(stamps[name]).encode())
    cache.write_bytes(text)
    _use_tracks("tracks", tree)


INDEX = {
    "suffixes": sorted(image_suffixes()),
    "directories": {
        ".": [1000000003, ["id0", "id1"], [], [], {}],
        "id0": [1000000001, [], [], ["0.jpg", "1.jpg"], {".txt": 1}],
        "id1": [1000000002, [], [], ["2.jpg", "3.jpg"], {}],
    },
}

# --- folders with any names -------------------------------------------------------------------------


NAMES = st.sampled_from(
    ["a", "S1_a", "1", "train", "id1", "\udcff", "é", "a\nb", "<b>", "-", "٣", "9" * 200, "a" * 250, ".h", " "]
)


def _folders(kind: str, **options: Any) -> Callable[[Any, Path], None]:
    def run(tree: list[tuple[str, str, str]], root: Path) -> None:
        for outer, inner, stem in tree:
            _image(root / outer / inner / f"{stem[:200]}.jpg")
        use(kind, root, **options) if kind not in ("tracks", "voxceleb") else _use_tracks(kind, root)

    return run


def _tree(count: int = 12) -> list[tuple[str, str, str]]:
    return [(f"p{n % 6}", "in", f"S{n}_{n}") for n in range(count)]


_TREES = st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=8).map(lambda more: [*_tree(), *more])
_FER_TREE = [(split, name, str(n)) for n, split in enumerate(("train", "test")) for name in ("happy", "sad")]

TARGETS = [
    Target("labels/raf-db", damaged_text(RAF), _raf_db, RAF.encode()),
    Target("labels/lfw", damaged_text(LFW), _lfw, LFW.encode()),
    Target("labels/cplfw", damaged_text(CPLFW) | damaged_text(CPLFW_ROWS), _cplfw, CPLFW.encode()),
    Target("labels/pose-csv", damaged_text(POSE) | damaged_text(POSE_FOLDS), _pose_csv, POSE.encode(), share=1.5),
    Target(
        "labels/biwi",
        st.tuples(damaged_text(ROTATION), st.just(CAMERA.encode()))
        | st.tuples(st.just(ROTATION.encode()), damaged_text(CAMERA)),
        _biwi,
        (ROTATION.encode(), CAMERA.encode()),
    ),
    Target("labels/fer2013", _fer_csv(), _fer2013, _fer_text().encode()),
    Target("labels/track-list", damaged_text(LIST), _list_file, LIST.encode()),
    Target("labels/track-index", damaged_json(INDEX), _index, json.dumps(INDEX).encode(), share=0.7),
    Target("labels/class-folders", _TREES, _folders("class-folders", folds=2), _tree(), share=0.3),
    Target("labels/identity-folders", _TREES, _folders("identity-folders", folds=2), _tree(), share=0.3),
    Target("labels/tracks", _TREES, _folders("tracks"), _tree(), share=0.3),
    Target(
        "labels/fer2013-folders",
        _TREES.map(lambda tree: [*_FER_TREE, *tree[12:]]),
        _folders("fer2013"),
        _FER_TREE,
        share=0.2,
    ),
]
