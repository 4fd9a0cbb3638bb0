"""Random changes to whole batches of images at once, each image its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def random_affine(
    x: Tensor,
    *,
    degrees: float,
    translate: float,
    scale: float,
    shear: float,
    generator: torch.Generator | None = None,
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
