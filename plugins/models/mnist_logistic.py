"""Multinomial logistic regression, the first model of the torch.nn tutorial."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor, nn

from tinyclsf.plugin import recipe


class Mnist_Logistic(nn.Module):
    """One linear layer from the pixels to the classes.

    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> None:
        super().__init__()
        self.lin = nn.Linear(prod(image_shape), num_classes)

    def forward(self, xb: Tensor) -> Tensor:
        logits: Tensor = self.lin(xb.flatten(1))
        return logits


class Mnist_Logistic_Manual(nn.Module):
    """The same from a matrix product and two bare parameters.

    The weights are random normal over the square root of the number of pixels, and the transpose of those of `nn.Linear`.
    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial, its first part.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> None:
        super().__init__()
        pixels = prod(image_shape)
        self.weights = nn.Parameter(torch.randn(pixels, num_classes) / sqrt(pixels))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, xb: Tensor) -> Tensor:
        return xb.flatten(1) @ self.weights + self.bias


@recipe(epochs=2, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9)
def mnist_logistic(image_shape: tuple[int, int, int], num_classes: int, *, manual: bool = False) -> nn.Module:
    """Multinomial logistic regression: one linear layer from the pixels to the classes.

    `manual` builds it from bare parameters and a matrix product instead of `nn.Linear`, with the tutorial's initial weights.
    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial.
    """
    return (Mnist_Logistic_Manual if manual else Mnist_Logistic)(image_shape, num_classes)
