"""Random changes to whole batches of images at once, each image its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def random_flip(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Mirror half of the images, left for right.

    Shapes: x (n, c, h, w) of any number type, and so the result.
    """
    flipped = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(flipped.to(x.device).view(-1, 1, 1, 1), x.flip(3), x)


def random_crop(x: Tensor, *, padding: int, generator: torch.Generator | None = None) -> Tensor:
    """Shift each image by up to `padding` pixels along either axis; what comes from outside is 0.

    That is a crop of the image's own size out of the image with a border around it.
    Shapes: x (n, c, h, w) of any number type, and so the result.
    """
    n, _, height, width = x.shape
    windows = F.pad(x, (padding, padding, padding, padding)).unfold(2, height, 1).unfold(3, width, 1)  # a view of all crops
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator).to(x.device)
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
        return ((at >= start) & (at < start + size)).to(x.device)

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
    n, height, width = len(x), x.shape[2], x.shape[3]

    def uniform(largest: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1).to(x.device) * largest

    angle, slant = uniform(math.radians(degrees)), torch.tan(uniform(math.radians(shear)))
    size = 1 + uniform(scale)
    # The map goes from a pixel of the result to the place that it is read from, in units of half the image's width and height.
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    theta = torch.stack(
        [
            torch.stack([cos, (cos * slant - sin) * (height / width), uniform(2 * translate / width)], dim=1),
            torch.stack([sin * (width / height), sin * slant + cos, uniform(2 * translate / height)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    moved = F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved.round_().clamp_(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else moved
