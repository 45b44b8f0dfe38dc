"""Files to images: any format, mode and size to RGB uint8, cut to a square; then to what networks read, and back."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facecycle.data.folders import formats_read
from facecycle.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)
"""What Pillow raises for the bytes of a damaged image."""
MAX_PIXELS = 90_000_000
"""More pixels are refused before they are decoded, and Pillow itself opens no file of twice as many. A JPEG counts
at the scale it is decoded at. A pixel takes 16 bytes at most on its way to RGB, so no image takes 1.5 GiB."""
ImageSource = str | os.PathLike[str] | Image.Image | np.ndarray
"""An image file, a PIL image, or an array of uint8: (H, W, 3), RGB, or (H, W), grey."""
TILE = 1024
"""Side of the squares in which numbers of 64 bits are computed with."""

# Pillow warns of large images, where the limit above decides, and of damaged tags, without naming the file. Set
# once: filters set around each image would be mixed up by the threads that read them.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Crop(NamedTuple):
    """A rectangle in pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


def parse_crop(text: str) -> Crop:
    """Parse `x,y,w,h`.

    Raises:
        ConfigError: not four integers, or an empty rectangle.
    """
    try:
        crop = Crop(*(int(part) for part in text.split(",")))
    except (ValueError, TypeError):
        crop = Crop(0, 0, 0, 0)
    if crop.width < 1 or crop.height < 1 or crop.x < 0 or crop.y < 0:
        raise ConfigError(f"--crop {text!r} is not x,y,w,h in pixels", hint="Example: --crop 40,20,160,160")
    return crop


def printable(path: Path | str) -> str:
    """Return a path as text that can be written anywhere: bytes that are no UTF-8 are shown as escapes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _scaled_to_bytes(image)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        flat = Image.new("RGB", rgba.size, (255, 255, 255))
        flat.paste(rgba, mask=rgba)
        flat.info = {key: rgba.info[key] for key in ("exif", "icc_profile") if key in rgba.info}
        image = flat
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled_to_bytes(image: Image.Image) -> Image.Image:
    """Scale 16 bit and floating point to grey of 8 bit; Pillow's own conversion would clip instead."""
    corners = [(left, top) for top in range(0, image.height, TILE) for left in range(0, image.width, TILE)]

    def values(left: int, top: int) -> np.ndarray:
        box = (left, top, min(left + TILE, image.width), min(top + TILE, image.height))
        return np.nan_to_num(np.asarray(image.crop(box), dtype=np.float64))

    # Integers are 16 bit, however dark; floating point does not say its white, so the range tells.
    whites = (65535.0,) if image.mode.startswith("I") else (1.0, 255.0, 65535.0)
    most = max(values(*corner).max(initial=0) for corner in corners)
    brightest = next((level for level in whites if most <= level), whites[-1])
    grey = Image.new("L", image.size)
    for corner in corners:
        scaled = (values(*corner).clip(0, brightest) / brightest * 255).round().astype(np.uint8)
        grey.paste(Image.fromarray(scaled), corner)
    return grey


def reason(path: Path, error: DataError) -> str:
    """Return what is wrong with a file, for a list that names it anyway."""
    return error.message.removeprefix(f"{path}: ")


def open_upright(path: Path, least: int | None = None) -> Image.Image:
    """Decode an image file as upright RGB; of an animation, the first frame.

    Where a side of `least` pixels is enough, a larger JPEG is decoded at a smaller scale.

    Raises:
        DataError: missing, no image, cut short, or too large.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise DataError(f"{path}: a pipe, not a file")  # opening it would wait for a writer
        with path.open("rb") as file:
            return decode(file, str(path), least)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from error
    except DAMAGED as error:  # such as a name that no file can have
        raise DataError(f"{path}: the image is damaged or cut short ({error})") from error


def decode(
    file: IO[bytes],
    name: str,
    least: int | None = None,
    formats: tuple[str, ...] | None = None,
    most: int | None = None,
) -> Image.Image:
    """Decode the bytes of an image as upright RGB; see `open_upright`.

    Args:
        file: where they are read.
        name: what errors call it.
        least: see `open_upright`.
        formats: Pillow's names of those that are read; None reads all.
        most: pixels that are decoded; None takes `MAX_PIXELS`.

    Raises:
        DataError: no image, cut short, or too large.
    """
    try:
        with Image.open(file, formats=formats) as image:
            width, height = image.size
            if least is not None:
                image.draft(None, (least, least))
            if image.width * image.height > (most or MAX_PIXELS):
                raise DataError(f"{name}: {width} x {height} pixels are more than {most or MAX_PIXELS:,}")
            image.load()
            with contextlib.suppress(*DAMAGED):  # what says how it is turned: viewers then show it as it is
                ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in a format that can be read", hint=formats_read(formats)) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: the image has more than {MAX_PIXELS:,} pixels") from error
    except DAMAGED as error:
        raise DataError(f"{name}: the image is damaged or cut short ({error})") from error


def upright(source: ImageSource, least: int | None = None) -> Image.Image:
    """Return an image as upright RGB: a file is read (see `open_upright`), a PIL image or an array converted."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or not (source.ndim == 2 or source.shape[2:] == (3,)) or not source.size:
            raise DataError(
                f"an array of {source.dtype} with shape {source.shape} is no image",
                hint="Expected uint8 of shape (H, W, 3), RGB, or (H, W), grey.",
            )
        return _to_rgb(Image.fromarray(np.ascontiguousarray(source)))
    if isinstance(source, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(source))
    return open_upright(Path(source), least)


def read_square(source: ImageSource, size: int) -> Tensor:
    """Read an image as `read_square_array` does, as a tensor."""
    import torch

    return torch.from_numpy(read_square_array(source, size))


def read_square_array(source: ImageSource, size: int) -> np.ndarray:
    """Read an image, cut out its largest centred square and resize it to RGB uint8 (3, size, size), antialiased.

    Args:
        source: a file, a PIL image, or an array.
        size: side of the result in pixels.

    Raises:
        DataError: the file cannot be read, or the array is no image.
    """
    image = upright(source, size)
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return _resized(image, size, (left, top, left + side, top + side))


def read_box(path: Path, size: int, box: tuple[float, float, float, float]) -> Tensor:
    """Read the rectangle left, top, right, bottom of an image, stretched to RGB uint8 (3, size, size).

    It is in pixels of the full image, and clamped to it. Head pose sets are cropped by their landmarks and stretched
    to a square, whatever the face's own shape.

    Raises:
        DataError: the file cannot be read, or the box lies outside it.
    """
    image = open_upright(path)
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[2], image.width), min(box[3], image.height)
    if not (right - left >= 1 and bottom - top >= 1):  # so that a box of no numbers is refused too
        raise DataError(f"{path}: the box {box} lies outside the image, which is {image.width} x {image.height}")
    import torch

    return torch.from_numpy(_resized(image, size, (left, top, right, bottom)))


def _resized(image: Image.Image, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.array(resized).transpose(2, 0, 1)


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize RGB uint8 (n, 3, H, W) to (n, 3, size, size), antialiased."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    from torch.nn.functional import interpolate

    return interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)


# --- what networks read and write -----------------------------------------------------------------

# ImageNet statistics, RGB, for pixel values in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN = np.array(IMAGENET_MEAN, np.float32).reshape(3, 1, 1)
STD = np.array(IMAGENET_STD, np.float32).reshape(3, 1, 1)


def _like(constant: np.ndarray, images: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(constant).to(images)


def normalise(unit: Tensor) -> Tensor:
    """Map RGB (..., 3, H, W) in [0, 1] to the normalised space."""
    return (unit - _like(MEAN, unit)).div_(_like(STD, unit))


def denormalise(images: Tensor) -> Tensor:
    """Map normalised (..., 3, H, W) to RGB in [0, 1], clamped."""
    return (images * _like(STD, images) + _like(MEAN, images)).clamp(0, 1)


def from_uint8(pixels: Tensor) -> Tensor:
    """Map uint8 RGB (..., 3, H, W) to the normalised space, float32."""
    return normalise(pixels.float() / 255)


def to_uint8(images: Tensor) -> Tensor:
    """Map normalised (..., 3, H, W) to uint8 RGB, rounded to the nearest level."""
    import torch

    return (denormalise(images.float()) * 255).round().to(torch.uint8)
