"""The label files of emotion sets, and the pickles of verification files."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz.damage import damaged, damaged_text
from fuzz.harness import Target
from fuzz.targets.labels import IMAGE, _image, use

from facecycle import registry

USAGES = ("Training", "PrivateTest")
IMAGES = "emotion,pixels,Usage\n" + "".join(f"0,{' '.join(['7'] * 2304)},{USAGES[n % 2]}\n" for n in range(4))
VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n" + "".join(
    f"{USAGES[n % 2]},fer{n:07d}.png,{9 * (n < 2)},{9 * (n > 1)},0,1,0,0,0,0,0,0\n" for n in range(4)
)
LIST = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    + "".join(f"1/{n}.jpg,1,1,9,9,1.5;2,{n},0.1,-0.2\n" for n in range(4))
)
FACES = "".join(f"{n}.jpg 0 1 1 9 9 20.5 {n % 2}\n" for n in range(4))
LABEL = "   3.0000000e+00\n"
PAIRS = [IMAGE[".png"], np.frombuffer(IMAGE[".png"], np.uint8)] * 2
PICKLES = [pickle.dumps((PAIRS, [True, False]), protocol) for protocol in (2, 4, 5)]


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, "3")
    return buffer.getvalue()


def _reads(kind: str, name: str, images: tuple[str, ...], **options: object) -> Callable[[bytes, Path], None]:
    """Return what writes a file and the images beside it, and reads them as a data set."""

    def run(content: bytes, root: Path) -> None:
        for image in images:
            _image(root / image)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        use(kind, root, **options)

    return run


def _pairs(content: bytes, root: Path) -> None:
    (root / "lfw.bin").write_bytes(content)
    dataset = registry.build("dataset", "insightface-bin", {"path": str(root / "lfw.bin")})
    pairs = dataset.labelled("verify")
    assert len(pairs.first) == len(pairs.same) == len(pairs.folds) > 0
    assert len(dataset.images(pairs.first.tolist(), 8)[1]) == len(pairs.first)
    assert isinstance(dataset.fingerprint(), str)


def _ferplus(content: bytes, root: Path) -> None:
    (root / "fer2013.csv").write_text(IMAGES)
    (root / "fer2013new.csv").write_bytes(content)
    use("ferplus", root)


def _ck_plus(content: bytes, root: Path) -> None:
    frames = "cohn-kanade-images/S1/1"
    for sequence in ("cohn-kanade-images/S2/1", frames):
        for number in range(4):
            _image(root / sequence / f"{number}.png")
    for person in ("S1", "S2"):
        (root / "Emotion" / person / "1").mkdir(parents=True)
        (root / "Emotion" / person / "1" / "a_emotion.txt").write_bytes(content if person == "S1" else b"3.0")
    use("ck-plus", root, folds=2)


LISTED = tuple(f"Manually_Annotated_Images/1/{n}.jpg" for n in range(4))
TARGETS = [
    Target("emotions/ferplus", damaged_text(VOTES), _ferplus, VOTES.encode(), share=0.7),
    Target(
        "emotions/affectnet-list",
        damaged_text(LIST),
        _reads("affectnet", "training.csv", LISTED, allow_missing=True),
        LIST.encode(),
    ),
    Target(
        "emotions/affectnet-npy",
        damaged(_npy()),
        _reads("affectnet", "val_set/annotations/0_exp.npy", ("val_set/images/0.jpg",)),
        _npy(),
    ),
    Target("emotions/ck-plus", damaged_text(LABEL), _ck_plus, LABEL.encode(), share=0.5),
    Target(
        "emotions/expw",
        damaged_text(FACES),
        _reads(
            "expw", "label/label.lst", tuple(f"image/origin/{n}.jpg" for n in range(4)), allow_missing=True, folds=2
        ),
        FACES.encode(),
    ),
    Target(
        "emotions/insightface-bin",
        damaged(PICKLES[0]) | damaged(PICKLES[1]) | damaged(PICKLES[2]),
        _pairs,
        PICKLES[0],
        share=1.5,
    ),
]
