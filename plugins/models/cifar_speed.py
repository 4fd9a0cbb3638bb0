"""A small network that learns CIFAR-10 in few epochs: it whitens its images, and its convolutions begin as the identity."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.plugin import recipe
from tinyclsf_plugins.models.sizes import check_size

_PATCH = 2  # pixels along each side of what is whitened
_BIAS_RATE = 64.0  # of the norms' biases, as a share of the others'
_FLAT = 5e-4  # the variance below which a direction of the patches is left small


@recipe(
    epochs=24,
    batch_size=512,
    optimizer="sgd",
    lr=0.75,
    momentum=0.85,
    nesterov=True,
    weight_decay=0.0013,
    decayed="weights",
    schedule="one-cycle",
    label_smoothing=0.2,
    augment="alternating-flip,shift",
    data={"size": 32, "normalize": "stats"},
)
class CifarSpeed(nn.Module):
    """Whitened 2x2 patches and six 3x3 convolutions that begin as the identity, `width` to twice `width` channels wide.

    The patches are whitened by filters that are made of training images and stay as they are. Norms have no scale, and their
    biases learn at 64 times the rate.
    Shapes: x (n, c, h, w) float32 with h and w at least 9, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller.
    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498.
    """

    filters: Tensor

    def __init__(self, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10, *, width: int = 64) -> None:
        super().__init__()
        check_size("cifar-speed", image_shape, 9)
        values = image_shape[0] * _PATCH**2
        self.register_buffer("filters", _both_ways(torch.eye(values), image_shape[0]))
        self.stages = nn.Sequential(_stage(2 * values, width), _stage(width, 2 * width), _stage(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, num_classes, bias=False)
        self.lr_shares = {name: _BIAS_RATE for name, _ in self.named_parameters() if name.endswith("bias")}

    def look_at(self, x: Tensor) -> None:
        """Make the filters whiten 2x2 patches of these images: uncorrelated, and of variance 1."""
        patches = F.unfold(x, _PATCH).transpose(0, 1).flatten(1)
        variances, directions = torch.linalg.eigh(patches @ patches.T / patches.shape[1])
        self.filters.copy_(_both_ways((directions / (variances + _FLAT).sqrt()).T, x.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(F.gelu(F.conv2d(x, self.filters)))
        x = F.max_pool2d(x, x.shape[2:]).flatten(1)  # not amax, whose gradient is nan where bfloat16 is compiled
        logits: Tensor = self.head(x) / 9  # so that the loss begins near that of guessing
        return logits


def _both_ways(rows: Tensor, channels: int) -> Tensor:
    """Each row as a filter, and its negative as another: what follows lets only positive values through."""
    return torch.cat([rows, -rows]).reshape(-1, channels, _PATCH, _PATCH)


def _stage(channels: int, width: int) -> nn.Sequential:
    first, second = _convolution(channels, width), _convolution(width, width)
    return nn.Sequential(first, nn.MaxPool2d(2), _Norm(width), nn.GELU(), second, _Norm(width), nn.GELU())


def _convolution(channels: int, width: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(layer.weight[:channels])  # the first channels begin as they come
    return layer


class _Norm(nn.BatchNorm2d):
    """Batch norm with a bias and without a scale, whose statistics follow quickly, as there are few steps."""

    def __init__(self, width: int) -> None:
        super().__init__(width, momentum=0.4)
        del self.weight
        self.register_buffer("weight", torch.ones(width), persistent=False)
