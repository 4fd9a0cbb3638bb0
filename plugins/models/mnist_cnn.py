"""Three convolutions and a pooling, the second model of the torch.nn tutorial."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.plugin import recipe


class Mnist_CNN(nn.Module):
    """Three strided 3x3 convolutions with ReLU, then an average over the remaining pixels.

    The logits come out of a ReLU, as in the tutorial: a class whose output is stuck at 0 no longer learns.
    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.conv1 = nn.Conv2d(image_shape[0], 16, kernel_size=3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(16, num_classes, kernel_size=3, stride=2, padding=1)

    def forward(self, xb: Tensor) -> Tensor:
        xb = xb.view(-1, *self.image_shape)
        xb = F.relu(self.conv1(xb))
        xb = F.relu(self.conv2(xb))
        xb = F.relu(self.conv3(xb))
        xb = F.avg_pool2d(xb, list(xb.shape[2:]))  # 4x4 for the tutorial's images, the whole for any others
        return xb.flatten(1)


class Mnist_CNN_Manual(nn.Module):
    """The same from bare parameters and `F.conv2d`; the weights are random normal over the square root of the fan-in.

    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial, in the style of its first part.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.weight1, self.bias1 = _filters(image_shape[0], 16)
        self.weight2, self.bias2 = _filters(16, 16)
        self.weight3, self.bias3 = _filters(16, num_classes)

    def forward(self, xb: Tensor) -> Tensor:
        xb = xb.view(-1, *self.image_shape)
        xb = F.conv2d(xb, self.weight1, self.bias1, stride=2, padding=1).clamp_min(0.0)
        xb = F.conv2d(xb, self.weight2, self.bias2, stride=2, padding=1).clamp_min(0.0)
        xb = F.conv2d(xb, self.weight3, self.bias3, stride=2, padding=1).clamp_min(0.0)
        return xb.mean((2, 3))


@recipe(epochs=2, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9, schedule="one-cycle")
def mnist_cnn(image_shape: tuple[int, int, int], num_classes: int, *, manual: bool = False) -> nn.Module:
    """Three strided 3x3 convolutions with ReLU, then an average over the remaining pixels.

    The logits come out of a ReLU, as in the tutorial: a class whose output is stuck at 0 no longer learns.
    `manual` builds it from bare parameters and `F.conv2d` instead of `nn.Conv2d`, with the tutorial's initial weights.
    Shapes: x (n, c, h, w) or (n, c*h*w) float32, to logits (n, num_classes).
    Source: "What is torch.nn really?", the PyTorch tutorial.
    """
    return (Mnist_CNN_Manual if manual else Mnist_CNN)(image_shape, num_classes)


mnist_cnn.ends_in_relu = True  # type: ignore[attr-defined]  # as in the tutorial


def _filters(inputs: int, outputs: int) -> tuple[nn.Parameter, nn.Parameter]:
    """The weights and zero biases of a 3x3 convolution; its fan-in is 9 pixels of every input channel."""
    return nn.Parameter(torch.randn(outputs, inputs, 3, 3) / sqrt(9 * inputs)), nn.Parameter(torch.zeros(outputs))
