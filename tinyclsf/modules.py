"""Modules that training and prediction share: a function as a layer, preprocessing, and the whole classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tinyclsf.machine.arguments import naming_arguments

Fit = Literal["crop", "pad", "stretch"]  # how a picture becomes a square, as `read_picture` does it


class Lambda(nn.Module):
    """A function as a layer, for use inside `nn.Sequential`.

    Source: "What is torch.nn really?", the PyTorch tutorial.
    """

    def __init__(self, func: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.func = func

    def forward(self, x: Tensor) -> Tensor:
        return self.func(x)


class Preprocess(nn.Module):
    """Scale stored images for a network: `(x - mean) / std`.

    Shapes: x (n, c, h, w) of any number type, to float32 (n, c, h, w).
    Units: `mean` and `std` are in stored units, one number for all channels or one for each; the default scales uint8 to 0..1.
    """

    mean: Tensor
    std: Tensor

    @naming_arguments
    def __init__(self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 255.0) -> None:
        super().__init__()
        # Buffers, so that the scaling is saved, loaded and moved with the weights.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean).to(self.mean.dtype).div_(self.std)


class Classifier(nn.Sequential):
    """Preprocessing and a network as one model, to train, save, evaluate and use.

    `fit` says how pictures are made square, in training and in prediction.
    Shapes: x (n, *image_shape) as the data set stores it, to logits (n, len(classes)).
    Units: `white` is the stored value of a white pixel: a pixel of 0..255 is stored as pixel * white / 255.
    """

    preprocess: nn.Module
    network: nn.Module

    @naming_arguments
    def __init__(
        self,
        preprocess: nn.Module,
        network: nn.Module,
        classes: Sequence[str],
        image_shape: Sequence[int],
        white: float = 255.0,
        fit: Fit = "crop",
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network
        self.classes = tuple(classes)
        self.image_shape = tuple(image_shape)
        self.white = white
        self.fit = fit


@torch.no_grad()
def show_images(model: Any, train: Any) -> None:
    """Call a network's own method `look_at` with up to 1,000 training images, fewer large ones, from all over the data set.

    They are preprocessed, as the network will get them.
    """
    count = min(1000, 2**24 // train[0][0].numel())
    rows = range(0, len(train), -(-len(train) // max(1, count)))
    model.network.look_at(model.preprocess(torch.stack([train[row][0] for row in rows])))
