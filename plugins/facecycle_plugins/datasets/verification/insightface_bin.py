"""The data set `insightface-bin`: verification pairs in one file, as insightface distributes LFW, CFP and AgeDB."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facecycle.api import BadFrame, Track, Verification
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset
from facecycle.data.images import DAMAGED as DAMAGED_IMAGE
from facecycle.data.images import MAX_PIXELS, read_square
from facecycle.data.labels.verification import FOLDS, paired_tenths
from facecycle.errors import DataError, NotOffered
from facecycle_plugins.datasets.verification.plain_pickle import DAMAGED, as_bytes, read_plain

LAYOUT = "Expected a file such as lfw.bin or cfp_fp.bin: a list of encoded images, two a pair, and a list of booleans."
PUBLISHED = {"lfw": 6000, "cplfw": 6000, "calfw": 6000, "agedb_30": 6000, "cfp_ff": 7000, "cfp_fp": 7000}
"""Pairs, by the file's name."""


class InsightfaceBinOptions(BaseOptions):
    """Options of the data set `insightface-bin`."""

    path: Path
    """The .bin file: lfw.bin, cplfw.bin, calfw.bin, cfp_fp.bin, agedb_30.bin."""


class InsightfaceBin(FileDataset):
    """Images 2k and 2k + 1 are pair k; the pickle is not run. Source: insightface, recognition/arcface_torch/eval."""

    facecycle_api = (1, 0)
    Options = InsightfaceBinOptions
    kind = "insightface-bin"
    task = "verify"
    licence = "as the terms of the data set that it was made of say"

    def __init__(self, options: InsightfaceBinOptions) -> None:
        self.options = options
        self._images, self._same = _read(options.path)

    def tracks(self) -> list[Track]:
        """Raise `NotOffered`: the file does not tell whom an image shows."""
        raise NotOffered(
            f"{self.options.path} holds pairs to test on, and does not tell its people",
            hint="Pretrain on other images.",
        )

    def own_labels(self) -> Verification:
        """Return the pairs, in the tenths of the file, as insightface tests them."""
        count = len(self._same)
        folds, how = np.zeros(count, int), "ten blocks in the order of the file"
        for fold, places in enumerate(np.array_split(np.arange(count), FOLDS)):
            folds[places] = fold
        shares = [self._same[folds == fold] for fold in range(FOLDS)]
        if any(share.all() or not share.any() for share in shares):
            folds = paired_tenths(self._same)
            how = "fold k is the k-th tenth of the same and of the different pairs, because a block is of one kind"
        published = PUBLISHED.get(self.options.path.stem)
        return Verification(
            np.arange(0, 2 * count, 2),
            np.arange(1, 2 * count, 2),
            self._same,
            folds,
            f"{count:,} pairs; {how}",
            {"pairs": count},
            {"pairs": published} if published else {},
        )

    def name(self, frame: int) -> str:
        """Return the file's name and the image's place in it."""
        return f"{self.options.path.name}[{frame}]"

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); a bad frame's pixels are zero and it is named."""
        pixels = torch.zeros(len(frames), 3, size, size, dtype=torch.uint8)
        bad: list[BadFrame | None] = [None] * len(frames)
        for row, frame in enumerate(frames):
            try:
                pixels[row] = _decoded(self._images[frame], size)
            except DataError as error:
                bad[row] = BadFrame(self.name(frame), error.message)
        return pixels, bad

    def fingerprint(self) -> str:
        """Return a digest of the images and of what is said of them."""
        digest = hashlib.sha256(self._same.tobytes())
        for image in self._images:
            digest.update(hashlib.sha256(image).digest())
        return digest.hexdigest()


def _read(path: Path) -> tuple[list[bytes], np.ndarray]:
    """Return the encoded images, and whether both of a pair (n,) show one person.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    if path.is_dir():
        found = ", ".join(sorted(file.name for file in path.glob("*.bin"))) or "none"
        raise DataError(f"{path} is a folder", hint=f"Give one .bin file. There: {found}.")
    try:
        value = read_plain(path.read_bytes())
        images, same = value
        encoded = [as_bytes(image) for image in images]
        if not isinstance(same, list) or not all(isinstance(each, bool | int) and each in (0, 1) for each in same):
            raise ValueError("its second part is no list of booleans")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", hint=LAYOUT) from error
    except DAMAGED as error:
        raise DataError(f"{path} is no verification file of insightface: {error}", hint=LAYOUT) from error
    if len(encoded) != 2 * len(same) or not same:
        raise DataError(f"{path} holds {len(encoded):,} images for {len(same):,} pairs", hint=LAYOUT)
    return encoded, np.array(same, bool)


def _decoded(data: bytes, size: int) -> Tensor:
    """Decode an image to RGB uint8 (3, size, size)."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
            return read_square(image, size)
    except (*DAMAGED_IMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"the image is damaged ({error})") from error
