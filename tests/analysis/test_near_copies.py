"""Near copies: changed pictures are found among others, and what is alike by nature is let pass."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch.nn import functional as F

from tinyclsf.analysis.near_copies import near_copies, sketch

PICTURES, SIZE = 200, 64


@functools.cache
def picture(seed: int) -> Image.Image:
    """Spots of many sizes and colours, as a photograph has them."""
    random = np.random.default_rng(seed)
    layers = [random.normal(size=(1, 3, cells, cells)) / cells**0.7 for cells in (2, 4, 8, 16, 32)]
    colours = torch.stack([F.interpolate(torch.from_numpy(each), (SIZE, SIZE), mode="bicubic")[0] for each in layers]).sum(0)
    colours = 0.3 * colours + colours.mean(0)
    pixels = (128 + 60 * (colours - colours.mean()) / colours.std()).clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB").resize((SIZE, SIZE))).copy()).permute(2, 0, 1)


def compressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed": compressed,
    "half the size": lambda image: image.resize((SIZE // 2, SIZE // 2)),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "grey": lambda image: image.convert("L"),
    "cropped": lambda image: image.crop((1, 1, SIZE - 1, SIZE - 1)),
    "the same": lambda image: image,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_found_among_others(change: str) -> None:
    images = [picture(seed) for seed in range(PICTURES)]
    copies = [CHANGES[change](image) for image in images[:100]]
    found = near_copies(sketch(torch.stack([pixels(image) for image in [*images, *copies]])))
    pairs = {(first, second) for first, second in found.tolist()}
    expected = {(row, PICTURES + row) for row in range(100)}
    assert pairs <= expected
    assert len(pairs) >= 90


def test_what_white_is_stored_as_changes_nothing() -> None:
    x = torch.stack([pixels(picture(seed)) for seed in range(3)])
    torch.testing.assert_close(sketch(x.float() / 255, white=1.0), sketch(x))
    grey = x[:, :1]
    torch.testing.assert_close(sketch(grey), F.adaptive_avg_pool2d(grey.float(), 16)[:, 0])


def test_plain_pictures_have_to_be_the_same_nearly_to_the_pixel() -> None:
    bar = torch.zeros(28, 28)
    bar[4:24, 12:16] = 255
    leaning = bar.clone()
    leaning[4:8, 16] = 180  # another stroke of the pen
    lighter = bar * 0.9
    blank = torch.zeros(28, 28)
    x = torch.stack([bar, leaning, lighter, blank, blank])[:, None].to(torch.uint8)
    assert near_copies(sketch(x)).tolist() == [[0, 2]]


def test_one_picture_alone_and_many_of_the_same() -> None:
    one = sketch(pixels(picture(0))[None])
    assert near_copies(one).shape == (0, 2)
    assert set(near_copies(one.repeat(200, 1, 1))[:, 1].tolist()) == set(range(1, 200))
