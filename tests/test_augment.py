"""Random affine changes against the map that each draw of the generator stands for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tinyclsf.augment import random_affine

STILL: dict[str, Any] = {"degrees": 0.0, "translate": 0.0, "scale": 0.0, "shear": 0.0}
DRAWS = ("degrees", "shear", "scale", "column", "row")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def draws() -> dict[str, float]:
    """What the generator gives the first image, each amount in -1..1, in the order in which it is asked."""
    source = generator()
    return {name: float(torch.rand(1, generator=source)) * 2 - 1 for name in DRAWS}


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 5, 8)])
def test_no_amounts_change_nothing(shape: tuple[int, ...]) -> None:
    x = torch.randint(256, shape, dtype=torch.uint8)
    assert torch.equal(random_affine(x, **STILL), x)
    assert torch.allclose(random_affine(x / 255, **STILL), x / 255, atol=1e-5)


@pytest.mark.parametrize("shift", [-3, 0, 2])
@pytest.mark.parametrize("axis", ["column", "row"])
def test_a_shift_by_whole_pixels_is_a_slice(axis: str, shift: int) -> None:
    line = torch.tensor([11, 250, 3, 77, 140, 9, 201, 64, 255], dtype=torch.uint8)
    x = line.expand(1, 2, 41, 9) if axis == "column" else line.reshape(9, 1).expand(1, 2, 9, 41)
    found = random_affine(x, **{**STILL, "translate": shift / draws()[axis]}, generator=generator())
    moved = torch.cat([torch.zeros(3, dtype=torch.uint8), line, torch.zeros(3, dtype=torch.uint8)])[3 + shift : 12 + shift]
    # The other axis is shifted by a broken number; its middle shows none of that, as the image is the same all along it.
    middle = found[0, :, 20, :] if axis == "column" else found[0, :, :, 20]
    assert torch.equal(middle, moved.expand(2, 9))


@pytest.mark.parametrize(
    "amounts",
    [{"degrees": 90.0}, {"degrees": 17.0}, {"shear": 20.0}, {"scale": 0.3}, {"degrees": 9.0, "shear": 12.0, "scale": 0.2}],
    ids=str,
)
@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 20), (21, 6)])
def test_each_pixel_comes_from_where_the_map_says(amounts: dict[str, float], height: int, width: int) -> None:
    row, column = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    x = torch.stack([column, row, torch.ones(height, width)]).unsqueeze(0)
    found_column, found_row, weight = random_affine(x, **{**STILL, **amounts}, generator=generator())[0]

    drawn = {name: amount * draws()[name] for name, amount in amounts.items()}
    angle, slant = math.radians(drawn.get("degrees", 0)), math.tan(math.radians(drawn.get("shear", 0)))
    right, down = column - (width - 1) / 2, row - (height - 1) / 2
    slanted, size = right + slant * down, 1 + drawn.get("scale", 0)
    wanted_column = (math.cos(angle) * slanted - math.sin(angle) * down) / size + (width - 1) / 2
    wanted_row = (math.sin(angle) * slanted + math.cos(angle) * down) / size + (height - 1) / 2

    inside = (weight - 1).abs() < 1e-6
    assert inside.sum() > 20
    assert torch.allclose(found_column[inside], wanted_column[inside], atol=1e-4)
    assert torch.allclose(found_row[inside], wanted_row[inside], atol=1e-4)
    far = (wanted_column < -1) | (wanted_column > width) | (wanted_row < -1) | (wanted_row > height)
    assert not weight[far].any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_type_and_range_stay_and_the_generator_decides(dtype: torch.dtype) -> None:
    x = torch.randint(40, 256, (64, 1, 12, 12)).to(dtype)
    before, state = x.clone(), torch.get_rng_state()
    amounts: dict[str, Any] = {"degrees": 30.0, "translate": 3.0, "scale": 0.3, "shear": 20.0}
    found = random_affine(x, **amounts, generator=generator())
    assert (found.dtype, found.shape) == (dtype, x.shape)
    assert found.min() == 0
    assert found.max() <= 255
    assert torch.equal(random_affine(x, **amounts, generator=generator()), found)
    assert not torch.equal(random_affine(x, **amounts, generator=torch.Generator().manual_seed(6)), found)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_image_has_its_own_amounts() -> None:
    x = torch.randint(256, (1, 1, 12, 12)).float().expand(20, 1, 12, 12)
    found = random_affine(x, degrees=10, translate=1, scale=0.1, shear=5, generator=generator())
    assert len({tuple(image.flatten().tolist()) for image in found}) == 20
