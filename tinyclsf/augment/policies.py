"""Policies: changes that are drawn for each image out of one list, of places and of colours."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tinyclsf.augment.colour import (
    autocontrasted,
    equalized,
    in_bytes,
    solarized,
    with_brightness,
    with_contrast,
    with_fewer_bits,
    with_saturation,
    with_sharpness,
)
from tinyclsf.augment.geometry import as_maps, warped
from tinyclsf.augment.whole_batch import change_some, in_pieces
from tinyclsf.machine.devices import moved

_STRENGTHS = 31  # from none to the most that there is of a change
_KINDS = 14  # of which the first leaves the image as it is, and these move pixels
_SLANT_RIGHT, _SLANT_DOWN, _SHIFT_RIGHT, _SHIFT_DOWN, _TURN, _FIRST_COLOUR = range(1, 7)


def trivial_augment(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Change each image in one of 14 ways, drawn for it as its strength is: the wide list of changes.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Source: Müller, Hutter 2021, "TrivialAugment: tuning-free yet state-of-the-art data augmentation".
    """
    strength = torch.randint(_STRENGTHS, (len(x),), generator=generator) / (_STRENGTHS - 1)
    most: dict[str, Any] = {"slant": 0.99, "shift": (32, 32), "degrees": 135, "factor": 0.99, "bits": 6}
    return in_bytes(x, lambda x: _changed(x, strength, generator, **most))


def rand_augment(x: Tensor, *, changes: int = 2, strength: float = 0.3, generator: torch.Generator | None = None) -> Tensor:
    """Change each image in some of 14 ways, one after the other, drawn for it and all of one strength.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: `strength` is 0 to 1; 0.3 is torchvision's magnitude of 9 out of 30.
    Source: Cubuk et al. 2019, "RandAugment: practical automated data augmentation with a reduced search space".
    """
    shift = (150 / 331 * x.shape[3], 150 / 331 * x.shape[2])
    most: dict[str, Any] = {"slant": 0.3, "shift": shift, "degrees": 30, "factor": 0.9, "bits": 4}

    def change(x: Tensor) -> Tensor:
        for _ in range(changes):
            x = _changed(x, torch.full((len(x),), strength), generator, **most)
        return x

    return in_bytes(x, change)


def _changed(
    x: Tensor,
    strength: Tensor,
    generator: torch.Generator | None,
    *,
    slant: float,
    shift: tuple[float, float],
    degrees: float,
    factor: float,
    bits: int,
) -> Tensor:
    """Each image changed in one way.

    Units: `strength` (n,) is 0 to 1, on the CPU; the others say how much 1 is: `shift` in pixels to the right and down,
    `factor` around 1, `bits` those that a value loses.
    """
    height, width = x.shape[2:]
    kinds = torch.randint(_KINDS, (len(x),), generator=generator)
    signed = strength * (2 * torch.randint(2, (len(x),), generator=generator) - 1)

    def only(kind: int, amount: Tensor) -> Tensor:
        return torch.where(kinds == kind, amount, 0.0)

    # Slants leave the upper left corner where it is, as torchvision's do; shifts are by whole pixels.
    right, down = (only(kind, slant * signed) for kind in (_SLANT_RIGHT, _SLANT_DOWN))
    angle = only(_TURN, math.radians(degrees) * signed)
    shift_right, shift_down = only(_SHIFT_RIGHT, (shift[0] * signed).trunc()), only(_SHIFT_DOWN, (shift[1] * signed).trunc())
    cos, sin = torch.cos(angle), torch.sin(angle)
    right, down = right * (height / width), down * (width / height)
    maps = as_maps(
        (cos, right - sin * (height / width), right - 2 * shift_right / width),
        (down + sin * (width / height), cos, down - 2 * shift_down / height),
    )
    changed = change_some(x.clone(), (kinds > 0) & (kinds < _FIRST_COLOUR), warped, moved(maps, x.device))
    factors = 1 + factor * signed
    colours: tuple[tuple[Any, ...], ...] = (
        (with_brightness, factors),
        (with_saturation, factors),
        (with_contrast, factors),
        (with_sharpness, factors),
        (with_fewer_bits, (bits * strength).round()),
        (solarized, 255 * (1 - strength)),
        (autocontrasted,),
        (equalized,),
    )
    for kind, (change, *amounts) in enumerate(colours, start=_FIRST_COLOUR):
        change_some(changed, kinds == kind, partial(in_pieces, change), *(moved(amount, x.device) for amount in amounts))
    return changed
