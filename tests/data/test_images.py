"""Any image becomes an upright RGB square; a file that is none says so."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.common import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facecycle.data.images import parse_crop, read_square, resize
from facecycle.errors import ConfigError, DataError

RED, BLUE = (200, 30, 40), (20, 60, 210)


def halves(width: int = 40, height: int = 40) -> Image.Image:
    """Red left half, blue right half."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_colour_modes_keep_their_colours(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    halves().convert(mode).save(path)
    pixels = read_square(path, 8)
    assert pixels.shape == (3, 8, 8)
    assert torch.allclose(pixels[:, 4, 1].float(), torch.tensor(RED).float(), atol=14)
    assert torch.allclose(pixels[:, 4, 6].float(), torch.tensor(BLUE).float(), atol=14)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_of_8_and_16_bits_give_the_same_picture(tmp_path: Path, dtype: type) -> None:
    ramp = np.linspace(0, np.iinfo(dtype).max, 64).astype(dtype)[None].repeat(64, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    row = read_square(tmp_path / "a.png", 64)[0, 32].float()
    assert torch.allclose(row, torch.linspace(0, 255, 64), atol=1.5)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert read_square(tmp_path / "a.png", 4).min() == 255


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    halves().save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_square(tmp_path / "a.jpg", 8)
    assert pixels[2, 4, 1] > 150 > pixels[0, 4, 1]


@pytest.mark.parametrize("exif", [b"II\x2a\0", b"II\x2b\0\x08\0\0\0", b"no exif"])
def test_damaged_exif_leaves_the_picture_as_it_is(tmp_path: Path, exif: bytes) -> None:
    for name, more in (("a.jpg", {"dpi": (72, 72)}), ("a.png", {})):
        halves().save(tmp_path / name, exif=b"Exif\0\0" + exif, **more)
        assert read_square(tmp_path / name, 8)[0, 4, 1] > 150


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_square(tmp_path / "a.gif", 4)[0, 0, 0] > 150


def test_the_centre_square_is_taken(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 20), BLUE)
    image.paste(RED, (20, 0, 40, 20))
    image.save(tmp_path / "a.png")
    assert read_square(tmp_path / "a.png", 8)[0].min() > 150


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5", "1,2,3,4,5"])
def test_a_malformed_crop_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="x,y,w,h"):
        parse_crop(text)


def test_files_that_are_no_images_say_so(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    cut = picture(tmp_path / "cut.jpg", size=(200, 200))
    cut.write_bytes(cut.read_bytes()[:600])
    for name, reason in (
        ("text", "not an image"),
        ("empty", "not an image"),
        ("cut", "damaged or cut short"),
    ):
        with pytest.raises(DataError, match=rf"{name}\.jpg: .*{reason}"):
            read_square(tmp_path / f"{name}.jpg", 8)
    with pytest.raises(DataError, match="no such file"):
        read_square(tmp_path / "gone.jpg", 8)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecycle.data.images.MAX_PIXELS", 100)
    with pytest.raises(DataError, match="24 x 24 pixels are more than 100"):
        read_square(picture(tmp_path / "a.png"), 8)


@pytest.mark.parametrize(
    ("values", "level"),
    [
        (np.full((8, 8), 100, np.uint16), 0),
        (np.full((8, 8), 25700, np.uint16), 100),
        (np.full((8, 8), 0.5, np.float32), 128),
        (np.full((8, 8), 100, np.float32), 100),
    ],
)
def test_a_dark_picture_stays_dark(tmp_path: Path, values: np.ndarray, level: int) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert set(read_square(tmp_path / "a.tif", 4).flatten().tolist()) == {level}


def test_values_that_are_no_numbers_are_black(tmp_path: Path) -> None:
    values = np.full((8, 8), 1, np.float32)
    values[:, :4] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    row = read_square(tmp_path / "a.tif", 8)[0, 4].tolist()
    assert row == [0] * 4 + [255] * 4


def test_a_folder_named_like_an_image_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(DataError, match=r"a\.jpg: cannot be opened: Is a directory"):
        read_square(tmp_path / "a.jpg", 8)


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(["png", "jpg", "gif", "tif", "webp", "bmp"]), st.data())
def test_damaged_bytes_give_pixels_or_one_clear_error(kind: str, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    halves(16, 16).save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{kind}"
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        with contextlib.suppress(DataError):
            assert read_square(path, 8).shape == (3, 8, 8)


@pytest.mark.parametrize(("height", "width", "size"), [(97, 64, 64), (48, 48, 64), (112, 92, 32), (20, 20, 20)])
def test_resized_pixels_are_those_of_torchvision(height: int, width: int, size: int) -> None:
    from torchvision.transforms.v2 import functional

    pixels = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8)
    assert torch.equal(resize(pixels, size), functional.resize(pixels, [size, size], antialias=True))
