"""Random changes against torchvision's own, by hand, and against the map that each draw of the generator stands for."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

from tinyclsf.augment.geometry import (
    cutout,
    random_affine,
    random_crop,
    random_erasing,
    random_flip,
    random_resized_crop,
    random_rotation,
)

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


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_half_of_the_images_are_mirrored(dtype: torch.dtype) -> None:
    x = torch.randint(256, (400, 3, 4, 5)).to(dtype)
    found = random_flip(x, generator=generator())
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(found, x, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(found, x, strict=True)]
    assert [one != other for one, other in zip(mirrored, kept, strict=True)] == [True] * 400
    assert 160 < sum(mirrored) < 240
    assert found.dtype == dtype
    assert torch.equal(random_flip(x, generator=generator()), found)


@pytest.mark.parametrize(
    ("shape", "padding", "mirrored"), [((300, 3, 6, 6), 2, False), ((300, 1, 5, 8), 4, False), ((300, 1, 6, 8), 2, True)]
)
def test_a_crop_is_one_of_the_windows_of_the_padded_image(shape: tuple[int, ...], padding: int, mirrored: bool) -> None:
    x = torch.randint(1, 256, shape, dtype=torch.uint8)
    found = random_crop(x, padding=padding, mirrored=mirrored, generator=generator())
    assert found.dtype == torch.uint8
    places = set()
    for new, old in zip(found, x, strict=True):
        padded = functional.pad(old, [padding] * 4, padding_mode="reflect" if mirrored else "constant")
        windows = {
            (top, left): functional.crop(padded, top, left, *shape[2:])
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
        }
        (place,) = [place for place, window in windows.items() if torch.equal(window, new)]
        places.add(place)
    # Each axis reaches both of its ends, and they do not move together.
    assert {top for top, _ in places} == {left for _, left in places} == set(range(2 * padding + 1))
    assert len(places) > 2 * (2 * padding + 1)
    assert torch.equal(random_crop(x, padding=padding, mirrored=mirrored, generator=generator()), found)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cutout_covers_a_square_with_the_mean_colour(dtype: torch.dtype) -> None:
    x = torch.randint(256, (200, 3, 8, 10)).to(dtype)
    found = cutout(x, size=4, generator=generator())
    areas = []
    for new, old in zip(found, x, strict=True):
        colour = old.float().mean((1, 2))
        colour = colour.round() if dtype == torch.uint8 else colour
        changed = (new != old).any(0)
        rows, columns = changed.any(1).nonzero().squeeze(1), changed.any(0).nonzero().squeeze(1)
        box = new[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        torch.testing.assert_close(box.float(), colour.view(3, 1, 1).expand(box.shape))
        outside = torch.ones(8, 10, dtype=torch.bool)
        outside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = False
        assert torch.equal(new[:, outside], old[:, outside])
        areas.append(box[0].numel())
    assert max(areas) == 16
    assert min(areas) < 16  # at the border a part of the square is outside
    assert found.dtype == dtype


def rectangles(
    n: int, height: int, width: int, source: torch.Generator, scale: Any, ratio: Any
) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of each image's rectangle, by torchvision's rule, from the generator's numbers."""
    found = []
    for area, form, vertical, horizontal in torch.rand(4, 10, n, generator=source).permute(2, 0, 1).tolist():
        sizes = []
        for attempt in range(10):
            whole, aspect = height * width * (scale[0] + area[attempt] * (scale[1] - scale[0])), form[attempt]
            aspect = math.exp(math.log(ratio[0]) + aspect * (math.log(ratio[1]) - math.log(ratio[0])))
            rows, columns = round(math.sqrt(whole / aspect)), round(math.sqrt(whole * aspect))
            sizes.append((rows, columns))
        rows, columns = next((each for each in sizes if each[0] <= height and each[1] <= width), sizes[0])
        rows, columns = min(rows, height), min(columns, width)
        top, left = int(vertical[0] * (height - rows + 1)), int(horizontal[0] * (width - columns + 1))
        found.append((top, left, rows, columns))
    return found


@pytest.mark.parametrize(
    ("shape", "scale", "ratio"),
    [
        ((40, 3, 31, 50), (0.08, 0.5), (3 / 4, 4 / 3)),
        ((40, 1, 64, 24), (0.3, 1.0), (3 / 4, 4 / 3)),
        ((5, 1, 40, 16), (0.8, 0.9), (2, 2)),  # no attempt fits
        ((5, 1, 16, 40), (0.8, 0.9), (0.5, 0.5)),
    ],
)
def test_a_resized_crop_is_torchvisions_of_the_same_rectangle(shape: tuple[int, ...], scale: Any, ratio: Any) -> None:
    x = torch.randint(256, shape, dtype=torch.uint8)
    found = random_resized_crop(x, scale=scale, ratio=ratio, generator=generator())
    assert found.dtype == torch.uint8
    height, width = shape[2:]
    boxes = rectangles(len(x), height, width, generator(), scale, ratio)
    assert len(set(boxes)) > 0.7 * len(x)
    for new, old, (top, left, rows, columns) in zip(found, x, boxes, strict=True):
        wanted = functional.resized_crop(old, top, left, rows, columns, [height, width], antialias=False)
        # At the crop's border ours blends with the pixels beside it, torchvision's repeats the last one.
        down, right = math.ceil(height / rows / 2), math.ceil(width / columns / 2)
        inner = (slice(None), slice(down, height - down), slice(right, width - right))
        assert (new[inner].int() - wanted[inner].int()).abs().max() <= 1
    floats = random_resized_crop(x / 255, scale=scale, ratio=ratio, generator=generator())
    assert (floats * 255 - found).abs().max() <= 0.501


def test_a_crop_of_all_that_there_is_changes_nothing_and_none_has_black_edges() -> None:
    x = torch.randint(256, (5, 3, 17, 17), dtype=torch.uint8)
    assert torch.equal(random_resized_crop(x, scale=(1, 1), ratio=(1, 1)), x)
    white = torch.full((50, 1, 20, 33), 255, dtype=torch.uint8)
    assert torch.equal(random_resized_crop(white), white)


@pytest.mark.parametrize(("height", "width"), [(30, 30), (24, 40), (41, 20)])
def test_a_rotation_is_torchvisions_at_a_size_that_leaves_no_corner_empty(height: int, width: int) -> None:
    x = torch.randint(256, (20, 3, height, width), dtype=torch.uint8)
    found = random_rotation(x, degrees=40, generator=generator())
    angles = torch.rand(20, generator=generator()) * 80 - 40
    for new, old, angle in zip(found, x, angles.tolist(), strict=True):
        turn, long = math.radians(abs(angle)), max(height, width) / min(height, width)
        size = math.cos(turn) + long * math.sin(turn)
        bilinear = functional.InterpolationMode.BILINEAR
        wanted = functional.affine(old, -angle, [0, 0], size, [0, 0], interpolation=bilinear)
        inner = (slice(None), slice(1, -1), slice(1, -1))
        assert (new[inner].int() - wanted[inner].int()).abs().max() <= 1
    white = torch.full_like(x, 255)
    assert torch.equal(random_rotation(white, degrees=180), white)
    assert torch.equal(random_rotation(x, degrees=0), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_erasing_covers_torchvisions_rectangle_with_one_colour(dtype: torch.dtype) -> None:
    x = (torch.randint(256, (60, 3, 20, 32)) / (1 if dtype == torch.uint8 else 255)).to(dtype)
    found, source = random_erasing(x, share=0.5, generator=generator()), generator()
    chosen = torch.rand(60, generator=source) < 0.5
    assert 20 < chosen.sum() < 40
    assert torch.equal(found[~chosen], x[~chosen])
    boxes = rectangles(60, 20, 32, source, (0.02, 0.33), (0.3, 3.3))
    colours = torch.rand(60, 3, 1, 1, generator=source)
    colours = (colours * 255).to(dtype) if dtype == torch.uint8 else colours * x.max()
    for n in chosen.nonzero().flatten().tolist():
        assert torch.equal(found[n], functional.erase(x[n], *boxes[n], colours[n]))
    assert len({tuple(colour.flatten().tolist()) for colour in colours}) > 55


@pytest.mark.parametrize(
    "change", [random_resized_crop, partial(random_rotation, degrees=20), partial(random_erasing, share=0.5)]
)
def test_the_generator_alone_decides(change: Any) -> None:
    x = torch.randint(256, (30, 1, 12, 12), dtype=torch.uint8)
    before, state = x.clone(), torch.get_rng_state()
    found = change(x, generator=generator())
    assert torch.equal(change(x, generator=generator()), found)
    assert not torch.equal(change(x, generator=torch.Generator().manual_seed(6)), found)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
