"""One picture of any form becomes the square of pixels that a person sees, or one short reason why not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import timeit
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from torchvision.transforms import functional as F  # type: ignore[import-untyped]

from tinyclsf.modules import Fit
from tinyclsf.pictures.picture import PictureError, picture_endings, read_picture
from tinyclsf.pictures.picture_source import picture_source


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * width).integers(0, 256, shape, dtype=np.uint8)


def saved(image: Image.Image | NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_picture_of_the_wanted_size_is_passed_through_bit_for_bit(tmp_path: Path) -> None:
    pixels = noise(5, 5)
    found = read_picture(saved(pixels), 5, 3)
    np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1))
    assert (str(found.dtype), found.flags.writeable, found.flags.c_contiguous) == ("uint8", True, True)
    grey = noise(5, 5, 1)
    np.testing.assert_array_equal(read_picture(saved(grey), 5, 1), grey[None])
    jpeg = saved(noise(32, 32), "JPEG")
    (tmp_path / "a.jpg").write_bytes(jpeg)
    right = np.asarray(Image.open(io.BytesIO(jpeg))).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_picture(jpeg, 32, 3), right)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg", 32, 3), right)
    np.testing.assert_array_equal(read_picture(str(tmp_path / "a.jpg"), 32, 3), right)


def test_the_middle_is_cut_out_and_where_nothing_is_scaled_nothing_is_blurred() -> None:
    wide, high = noise(5, 8), noise(9, 5)
    np.testing.assert_array_equal(read_picture(saved(wide), 5, 3), wide[:, 1:6].transpose(2, 0, 1))
    np.testing.assert_array_equal(read_picture(saved(high), 5, 3), high[2:7].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("shape", "size", "scaled", "at"),
    [
        ((20, 60), 30, (30, 10), (0, 10)),
        ((7, 4), 10, (6, 10), (2, 0)),
        ((4, 7), 7, (7, 4), (0, 1)),
        ((2, 302), 4, (4, 1), (0, 1)),
        ((9, 9), 9, (9, 9), (0, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_whole_picture_is_put_on_black_or_stretched(
    shape: tuple[int, int], size: int, scaled: tuple[int, int], at: tuple[int, int], channels: int
) -> None:
    image = Image.fromarray(noise(*shape, channels))
    square = Image.new(image.mode, (size, size), "black")
    square.paste(image.resize(scaled, Image.Resampling.BILINEAR, reducing_gap=3), at)
    stretched = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3)
    fits: dict[Fit, Image.Image] = {"pad": square, "stretch": stretched}
    for fit, right in fits.items():
        pixels = np.asarray(right).reshape(size, size, channels).transpose(2, 0, 1)
        np.testing.assert_array_equal(read_picture(saved(image), size, channels, fit), pixels)


@pytest.mark.parametrize(("height", "width", "size"), [(30, 60, 10), (80, 40, 64), (7, 7, 3), (1, 1, 4), (302, 2, 3)])
def test_scaling_is_that_of_torchvision(height: int, width: int, size: int) -> None:
    pixels = noise(height, width)
    right = F.center_crop(F.resize(Image.fromarray(pixels), [size]), [size])
    np.testing.assert_allclose(read_picture(saved(pixels), size, 3), np.asarray(right).transpose(2, 0, 1), atol=1)


def test_a_large_photograph_is_scaled_as_well_in_a_fraction_of_the_time() -> None:
    photo = saved(Image.fromarray(noise(30, 40)).resize((4200, 2800), Image.Resampling.BICUBIC), "JPEG")

    def in_full() -> NDArray[np.uint8]:
        image = Image.open(io.BytesIO(photo)).resize((96, 64), Image.Resampling.BILINEAR)
        return np.asarray(image)[:, 16:80].transpose(2, 0, 1)

    def check_as_good(found: NDArray[np.uint8], right: NDArray[np.uint8]) -> None:
        difference = np.abs(found.astype(int) - right)
        assert difference.mean() < 0.5
        assert difference.max() < 5

    check_as_good(read_picture(photo, 64, 3), in_full())
    for fit, height in (("pad", 64), ("stretch", 96)):
        image = Image.open(io.BytesIO(photo)).resize((96, height), Image.Resampling.BILINEAR)
        top = (96 - height) // 2
        check_as_good(read_picture(photo, 96, 3, fit)[:, top : top + height], np.asarray(image).transpose(2, 0, 1))  # type: ignore[arg-type]
    ours = min(timeit.repeat(lambda: read_picture(photo, 64, 3), number=1, repeat=3))
    decoding_alone = min(timeit.repeat(lambda: Image.open(io.BytesIO(photo)).load(), number=1, repeat=3))
    assert ours < decoding_alone / 1.3


def test_decoding_a_large_photograph_in_part_changes_its_pixels_by_about_one() -> None:
    smooth = np.asarray(Image.fromarray(noise(30, 40)).resize((1600, 1200), Image.Resampling.BICUBIC)).astype(int)
    grain = np.random.default_rng(0).integers(-20, 21, smooth.shape)
    photo = saved((smooth + grain).clip(0, 255).astype(np.uint8), "JPEG", quality=95)
    right = Image.open(io.BytesIO(photo)).resize((100, 100), Image.Resampling.BILINEAR, (200, 0, 1400, 1200))
    found = read_picture(photo, 100, 3)  # decoded as 200x150
    difference = found.astype(int) - np.asarray(right).transpose(2, 0, 1)
    assert 0.5 < np.sqrt((difference**2).mean()) < 1.5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_was_held(form: str, orientation: int) -> None:
    data = saved(noise(8, 11), form, exif=turned(orientation))
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    left, top = (image.width - 8) // 2, (image.height - 8) // 2
    middle = image.crop((left, top, left + 8, top + 8))
    np.testing.assert_array_equal(read_picture(data, 8, 3), np.asarray(middle).transpose(2, 0, 1))


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"no metadata"])
def test_broken_metadata_are_passed_over(exif: bytes) -> None:
    pixels = noise(4, 4)
    np.testing.assert_array_equal(read_picture(saved(pixels, exif=exif), 4, 3), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_is_laid_over_white(mode: str) -> None:
    clear, half, full = (3, 3, 3, 0), (3, 3, 3, 128), (3, 3, 3, 255)
    image = Image.new("RGBA", (2, 2), full)
    image.putpixel((0, 0), clear)
    image.putpixel((1, 0), half)
    if mode == "P":
        data = saved(image.quantize(4))
    elif mode == "RGB":
        image = image.convert("RGB")
        image.putpixel((0, 0), (9, 9, 9))
        data = saved(image, transparency=(9, 9, 9))
    else:
        data = saved(image.convert(mode))
    blended = 3 if mode == "RGB" else 3 * 128 / 255 + 255 * 127 / 255
    for channels in (1, 3):
        found = read_picture(data, 2, channels)
        np.testing.assert_allclose(found, np.full((channels, 2, 2), [[255, blended], [3, 3]]), atol=1)


DEEP = np.array([[0, 257], [32768, 65535]])


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (saved(DEEP.astype(np.uint16)), [[0, 1], [128, 255]]),
        (saved(DEEP.astype(np.uint16), "TIFF"), [[0, 1], [128, 255]]),
        (saved(DEEP.astype(np.int32), "TIFF"), [[0, 1], [128, 255]]),
        (b"P5 2 2 65535\n" + DEEP.astype(">u2").tobytes(), [[0, 1], [128, 255]]),
        (saved(np.array([[0, 0.25], [0.5, 1]], np.float32), "TIFF"), [[0, 64], [128, 255]]),
        (saved(np.array([[-1, 2], [np.nan, 255]], np.float32), "TIFF"), [[0, 2], [0, 255]]),
        (saved(np.array([[0, 257], [0, 65535]], np.float32), "TIFF"), [[0, 1], [0, 255]]),
        (saved(np.array([[0, 1e6], [np.inf, 2e6]], np.float32), "TIFF"), [[0, 128], [0, 255]]),
        (saved(np.zeros((2, 2), np.float32), "TIFF"), [[0, 0], [0, 0]]),
        (saved(Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")), [[0, 255], [255, 0]]),
    ],
    ids=["16", "16-tiff", "32-tiff", "16-pgm", "unit", "byte", "float-16", "float-large", "black", "1-bit"],
)
def test_every_depth_is_scaled_and_not_clipped(data: bytes, wanted: list[list[int]]) -> None:
    assert read_picture(data, 2, 1)[0].tolist() == wanted
    assert read_picture(data, 2, 3).tolist() == [wanted] * 3


def test_lab_is_the_colour_that_a_person_sees(tmp_path: Path) -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    orange = ImageCms.profileToProfile(Image.new("RGB", (8, 8), (230, 120, 20)), srgb, lab, outputMode="LAB")
    assert orange is not None
    tiff = saved(orange, "TIFF")
    assert Image.open(io.BytesIO(tiff)).mode == "LAB"
    assert np.abs(read_picture(tiff, 8, 3)[:, 0, 0].astype(int) - (230, 120, 20)).max() <= 4
    assert abs(int(read_picture(tiff, 8, 1)[0, 0, 0]) - 142) <= 4
    (tmp_path / "lab.tiff").write_bytes(tiff)
    for channels in (1, 3):
        exported: dict[str, Any] = {}
        exec(picture_source(8, channels, "crop"), exported)
        np.testing.assert_array_equal(exported["read_picture"](tmp_path / "lab.tiff"), read_picture(tiff, 8, channels))


def test_every_colour_mode_becomes_what_was_asked_for() -> None:
    red = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    np.testing.assert_allclose(read_picture(red, 8, 3), np.full((3, 8, 8), np.reshape([255, 0, 0], (3, 1, 1))), atol=3)
    colours = Image.fromarray(noise(4, 4)).quantize(16)
    right = np.asarray(colours.convert("RGB"))
    np.testing.assert_array_equal(read_picture(saved(colours), 4, 3), right.transpose(2, 0, 1))
    grey = (right @ [0.299, 0.587, 0.114])[None]
    np.testing.assert_allclose(read_picture(saved(colours), 4, 1), grey, atol=1)
    np.testing.assert_array_equal(read_picture(saved(noise(4, 4, 1)), 4, 3), np.stack([noise(4, 4, 1)] * 3))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(form: str) -> None:
    first, second = Image.new("RGB", (4, 4), (200, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 200))
    found = read_picture(saved(first, form, save_all=True, append_images=[second]), 4, 3)
    np.testing.assert_allclose(found[:, 0, 0], [200, 0, 0], atol=3)


JPEG = saved(noise(40, 40), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (JPEG[:30], "cut short"),
        (JPEG[: len(JPEG) // 2], "cut short"),
        (saved(noise(40, 40))[:1000], "cut short"),
        (b"just some words", "not a picture, or broken from its first bytes on"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture, or broken from its first bytes on"),
        (saved(noise(9, 9), "JPEG2000")[:-20], "broken data stream when reading image file"),
        (saved(Image.new("1", (10_000, 9_000))), "more than 89,478,485 pixels"),
        (saved(Image.new("1", (20_000, 9_000))), "more than 89,478,485 pixels"),
    ],
    ids=["empty", "head", "half", "half-png", "text", "program", "codec", "bomb", "larger-bomb"],
)
def test_what_cannot_be_read_has_a_short_reason(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as error:
        read_picture(data, 8, 3)
    assert str(error.value) == reason


def test_a_file_that_cannot_be_opened_has_a_reason_too(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.png", "no such file or directory"),
        (tmp_path, "is a directory"),
        ("a\0", "embedded null byte"),
    ):
        with pytest.raises(PictureError) as error:
            read_picture(path, 8, 3)
        assert str(error.value) == reason
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    path = tmp_path / "a.png"
    path.write_bytes(saved(noise(4, 4)))
    path.chmod(0)
    with pytest.raises(PictureError, match=r"^permission denied$"):
        read_picture(path, 8, 3)


def test_endings_are_of_forms_that_pillow_draws_itself() -> None:
    found = picture_endings()
    assert {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"} <= found
    assert not {".pdf", ".eps", ".ps", ".mpg", ".h5", ".txt", ".heic", ""} & found


def test_torch_is_not_imported_where_pictures_are_decoded() -> None:
    code = "import sys, tinyclsf.pictures.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
