"""Real handwritten digits that are included, so that the first run needs no download."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tinyclsf.plugin import ConfigurationError, Images, Preparation, Splits, prepared, scripted

_HELD_OUT = 360  # of 1,797 for each of validation and test, a fifth


@scripted("tinyclsf_plugins.datasets.digits_script:reader")
@prepared
def digits(prepare: Preparation, *, train_size: int = 50_000) -> Splits:
    """Real handwritten digits, framed like MNIST: 1,077 for training, 360 for validation, 360 for testing.

    The training digits are jittered to `train_size` images, the others never. `seed` draws the splits and the jitter.
    Shapes: x (n, 1, 28, 28) uint8 in 0..255; y (n,) int64 in 0..9.
    Raises: ConfigurationError if train_size is below 1, or test_ratio is given.
    Source: Alpaydin, Kaynak 1998, "Optical recognition of handwritten digits", test set (UCI, doi:10.24432/C50P49, CC BY 4.0).
    """
    if train_size < 1:
        raise ConfigurationError(f"train_size is {train_size}; wanted at least 1")
    prepare.refuse_test_ratio()
    with np.load(Path(__file__).with_name("digits.npz")) as file:
        images, labels = (torch.from_numpy(file[name]) for name in ("images", "labels"))
    generator = torch.Generator().manual_seed(prepare.seed)
    order = torch.randperm(len(labels), generator=generator)
    x, y = framed(images)[order], labels.long()[order]
    test = Images(x[_HELD_OUT : 2 * _HELD_OUT], y[_HELD_OUT : 2 * _HELD_OUT])
    others = torch.arange(2 * _HELD_OUT, len(y) + _HELD_OUT) % len(y)  # the first digits last: these validate
    pool = Images(x[others], y[others])
    # Split before jittering, so that no relative of a held-out digit is trained on.
    held_out = prepare.held_out(pool.y, own_size=_HELD_OUT, own_split="tail")
    rest = torch.ones(len(pool), dtype=torch.bool).index_fill(0, held_out, False)
    x, y = jittered(pool.x[rest], train_size, generator), pool.y[rest]
    train = prepare.thinned(Images(x, y[torch.arange(train_size) % len(y)]))
    valid = Images(pool.x[held_out], pool.y[held_out])
    return Splits(train, valid, test, tuple("0123456789"), (1, 28, 28), prepare.scaling(train))


def framed(images: Tensor) -> Tensor:
    """Digits of 8x8 pixels, each 0 to 16, as MNIST frames its own: enlarged to 20x20 in the middle of 28x28, 0 to 255."""
    large = F.interpolate(images.float().unsqueeze(1), size=(20, 20), mode="bicubic", align_corners=False)
    return F.pad(large.mul_(255 / 16).round_().clamp_(0, 255).to(torch.uint8), (4, 4, 4, 4))


def jittered(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` images, taken from the digits in turn, each turned, slanted, resized and shifted by random amounts of its own."""
    moved = torch.empty(size, *x.shape[1:], dtype=torch.uint8)
    across = torch.arange(-27, 28, 2) / 28  # where the pixels are, in units of half an image from its middle
    down = across.view(-1, 1)
    for start in range(0, size, 2048):  # in pieces that fit into the processor's cache
        taken = torch.arange(start, min(start + 2048, size)) % len(x)
        turn, slant, larger, right, below = torch.rand(5, len(taken), 1, 1, generator=generator) * 2 - 1
        turn, slant = math.radians(12) * turn, torch.tan(math.radians(8) * slant)
        cos, sin = torch.cos(turn) / (1 + 0.12 * larger), torch.sin(turn) / (1 + 0.12 * larger)
        # Each pixel is read, bilinearly, from the place that moves to it; 2 pixels are 4/28.
        column = (cos * across + 4 / 28 * right) + (cos * slant - sin) * down
        row = (sin * across + 4 / 28 * below) + (sin * slant + cos) * down
        places = torch.stack([column, row], dim=1).permute(0, 2, 3, 1)
        piece = F.grid_sample(x.index_select(0, taken).float(), places, align_corners=False)
        moved[start : start + len(taken)] = piece.round_()
    return moved
