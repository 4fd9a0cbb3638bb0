"""torchvision's decoder gives the pixels of Pillow, or leaves the file to Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tinyclsf.pictures import jpeg, picture
from tinyclsf.pictures.jpeg import decoded_jpeg
from tinyclsf.pictures.picture import read_picture

ROUGH = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
PHOTO = Image.fromarray(ROUGH).resize((131, 97), Image.Resampling.BICUBIC)


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}], ids=str)
def test_the_pixels_are_those_of_pillow(mode: str, options: dict[str, Any]) -> None:
    data = saved(PHOTO.convert(mode), **options)
    found = decoded_jpeg(data)
    assert found is not None
    np.testing.assert_array_equal(found.squeeze(), np.asarray(Image.open(io.BytesIO(data))))


def test_a_damaged_file_and_another_is_none() -> None:
    assert decoded_jpeg(saved(PHOTO)[:500]) is None
    assert decoded_jpeg(b"words") is None


@pytest.mark.parametrize("image", [PHOTO, PHOTO.convert("L"), PHOTO.convert("CMYK")], ids=["RGB", "L", "CMYK"])
@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_it_pictures_are_the_same(
    image: Image.Image, turn: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(image, exif=exif)
    used: list[bytes] = []
    monkeypatch.setattr(picture, "decoded_jpeg", lambda data: used.append(data) or decoded_jpeg(data))  # type: ignore[func-returns-value]
    found = read_picture(data, 60, channels)
    assert bool(used) == (turn == 1 and len(image.getbands()) == channels)  # and Pillow does what it alone does
    monkeypatch.setattr(jpeg, "_decoder", lambda: None)
    np.testing.assert_array_equal(read_picture(data, 60, channels), found)


def test_a_torchvision_that_has_none_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.ops, "image", object(), raising=False)
    assert jpeg._decoder.__wrapped__() is None
