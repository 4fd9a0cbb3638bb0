"""Where the pixels of a batch come from, at random: mirrored, shifted, cropped, turned; and what covers a part of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyclsf.augment.whole_batch import in_pieces, uniform_each
from tinyclsf.machine.devices import moved

_ATTEMPTS = 10  # at a rectangle that fits


def random_flip(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Mirror half of the images, left for right.

    Shapes: x (n, c, h, w) of any number type, and so the result.
    """
    flipped = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(moved(flipped, x.device).view(-1, 1, 1, 1), x.flip(3), x)


def alternating_flip(x: Tensor, epoch: int = 1) -> Tensor:
    """Mirror half of the images, left for right; in the next epoch the other half, so two epochs show both ways of each.

    An image's half is read off the sum of its bytes, so it stays the same in whatever batch the image comes, if nothing
    has changed the image before.
    Shapes: x (n, c, h, w) of any number type, and so the result.
    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498.
    """
    sums = x.flatten(1).contiguous().view(torch.uint8).sum(dim=1)
    half = (sums * 2654435761 >> 16) % 2  # the sum's own last bit may be 0 for all of them
    return torch.where((half == epoch % 2).view(-1, 1, 1, 1), x.flip(3), x)


def random_crop(x: Tensor, *, padding: int, mirrored: bool = False, generator: torch.Generator | None = None) -> Tensor:
    """Shift each image by up to `padding` pixels along either axis; what comes from outside is 0, or the image mirrored.

    That is a crop of the image's own size out of the image with a border around it.
    Shapes: x (n, c, h, w) of any number type, and so the result.
    """
    n, _, height, width = x.shape
    if mirrored:  # by hand, as PyTorch does not mirror bytes
        for axis in (2, 3):
            before, after = x.narrow(axis, 1, padding), x.narrow(axis, x.shape[axis] - 1 - padding, padding)
            x = torch.cat([before.flip(axis), x, after.flip(axis)], axis)
    else:
        x = F.pad(x, (padding, padding, padding, padding))
    windows = x.unfold(2, height, 1).unfold(3, width, 1)  # a view of all crops
    top, left = moved(torch.randint(2 * padding + 1, (2, n), generator=generator), x.device)
    return windows[torch.arange(n, device=x.device), :, top, left]


def cutout(x: Tensor, *, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Cover a square of `size` pixels in each image by the image's mean colour; at the border only a part of it is inside.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Source: DeVries, Taylor 2017, "Improved regularization of convolutional neural networks with cutout".
    """
    n, _, height, width = x.shape

    def covered(length: int) -> Tensor:
        """Where along one axis the square lies: (n, length)."""
        start = torch.randint(length, (n, 1), generator=generator) - size // 2
        at = torch.arange(length)
        return moved((at >= start) & (at < start + size), x.device)

    square = covered(height).view(n, 1, height, 1) & covered(width).view(n, 1, 1, width)
    colour = x.float().mean(dim=(2, 3), keepdim=True)
    return torch.where(square, colour.round_().to(x.dtype) if x.dtype == torch.uint8 else colour, x)


def random_affine(
    x: Tensor, *, degrees: float, translate: float, scale: float, shear: float, generator: torch.Generator | None = None
) -> Tensor:
    """Turn, shift, resize and slant each image by its own random amounts; what comes from outside is 0.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: `degrees` and `shear` are the largest angles either way, `translate` the largest shift in pixels, `scale` the largest
    relative change of size, 0.1 for 90 to 110 %.
    """
    height, width = x.shape[2:]

    def uniform(largest: float) -> Tensor:
        return uniform_each(x, -largest, largest, generator=generator)

    angle, slant = uniform(math.radians(degrees)), torch.tan(uniform(math.radians(shear)))
    size = 1 + uniform(scale)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    by_column = cos, (cos * slant - sin) * (height / width), uniform(2 * translate / width)
    by_row = sin * (width / height), sin * slant + cos, uniform(2 * translate / height)
    return warped(x, as_maps(by_column, by_row))


def random_resized_crop(
    x: Tensor,
    *,
    scale: tuple[float, float] = (0.08, 1),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Crop each image at random, and resize the crop to the image's size.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: `scale` is the crop's share of the image's area, `ratio` its width by its height.
    Source: Szegedy et al. 2015, "Going deeper with convolutions".
    """
    height, width = x.shape[2:]
    top, left, rows, columns = _rectangles(x, scale, ratio, generator)
    none = torch.zeros_like(top)
    right, down = (2 * left + columns) / width - 1, (2 * top + rows) / height - 1
    return warped(x, as_maps((columns / width, none, right), (none, rows / height, down)), outside="border")


def random_rotation(x: Tensor, *, degrees: float, generator: torch.Generator | None = None) -> Tensor:
    """Turn each image by up to `degrees` either way, and enlarge it just so much that no corner is empty.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    """
    height, width = x.shape[2:]
    angle = uniform_each(x, -math.radians(degrees), math.radians(degrees), generator=generator)
    cos, sin, none = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    # The turned frame that is read has to lie within the image, along its longer side and its shorter one.
    size = cos.abs() + sin.abs() * max(height / width, width / height)
    cos, sin = cos / size, sin / size
    maps = as_maps((cos, -sin * (height / width), none), (sin * (width / height), cos, none))
    # Of pixels within half a pixel of the edge a part would come from outside: the edge is continued.
    return warped(x, maps, outside="border")


def random_erasing(
    x: Tensor,
    *,
    share: float,
    scale: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Cover a rectangle in a share of the images by a random colour, each its own.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: `scale` is the rectangle's share of the image's area, `ratio` its width by its height; colours are of 0 to 255 in
    uint8, else of 0 to the batch's largest value.
    Source: Zhong et al. 2017, "Random erasing data augmentation".
    """
    height, width = x.shape[2:]
    chosen = torch.rand(len(x), generator=generator) < share
    top, left, rows, columns = (side.view(-1, 1, 1, 1) for side in _rectangles(x, scale, ratio, generator))
    rows = rows * moved(chosen, x.device).view(-1, 1, 1, 1)
    white = 255 if x.dtype == torch.uint8 else x.amax()
    colour = (moved(torch.rand(len(x), x.shape[1], 1, 1, generator=generator), x.device) * white).to(x.dtype)
    down, right = torch.arange(height, device=x.device).view(-1, 1), torch.arange(width, device=x.device)
    covered_rows, covered_columns = (down >= top) & (down < top + rows), (right >= left) & (right < left + columns)
    # Numbers of the images' type: `where` and products with bool take several times as long on uint8.
    covered = covered_rows.to(x.dtype) * covered_columns.to(x.dtype)
    return (x * (1 - covered)).add_(colour * covered)


def as_maps(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Maps of places: what lies at (u, v) comes from (a u + b v + c, d u + e v + f), for rows (a, b, c) and (d, e, f).

    Shapes: each number (n,), to (n, 2, 3).
    Units: half the image's width and height, from the middle.
    """
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def warped(x: Tensor, maps: Tensor, *, outside: str = "zeros") -> Tensor:
    """Each image read at the places that its map tells, bilinearly; see `as_maps`.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result; maps (n, 2, 3).
    """
    height, width = x.shape[2:]
    u = torch.arange(1 - width, width, 2, device=x.device) / width
    v = torch.arange(1 - height, height, 2, device=x.device) / height
    by_column, by_row = u * maps[..., :1] + maps[..., 2:], v * maps[..., 1:2]

    def warp(piece: Tensor, by_column: Tensor, by_row: Tensor) -> Tensor:
        # A sum of a row and a column, all of one coordinate and then all of the other: `affine_grid`, which multiplies
        # matrices, takes ten times as long.
        places = (by_column.unsqueeze(2) + by_row.unsqueeze(3)).permute(0, 2, 3, 1)
        return F.grid_sample(piece, places, mode="bilinear", padding_mode=outside, align_corners=False)

    return in_pieces(warp, x, by_column, by_row)


def _rectangles(
    x: Tensor, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where a random rectangle of each image begins, and its height and width, as torchvision draws them: (n,) each.

    Units: `scale` is its share of the image's area, `ratio` its width by its height.
    """
    n, _, height, width = x.shape
    area, form, vertical, horizontal = torch.rand(4, _ATTEMPTS, n, generator=generator)
    area = (area * (scale[1] - scale[0]) + scale[0]) * height * width
    form = torch.exp(form * math.log(ratio[1] / ratio[0]) + math.log(ratio[0]))
    rows, columns = (area / form).sqrt().round().clamp(min=1), (area * form).sqrt().round().clamp(min=1)
    # The first that fits; where none does, as much of the first as there is.
    first = ((rows <= height) & (columns <= width)).int().argmax(dim=0, keepdim=True)
    rows, columns = rows.gather(0, first).clamp(max=height), columns.gather(0, first).clamp(max=width)
    top = (vertical[:1] * (height + 1 - rows)).floor()
    left = (horizontal[:1] * (width + 1 - columns)).floor()
    top, left, rows, columns = (moved(side[0], x.device) for side in (top, left, rows, columns))
    return top, left, rows, columns
