"""Multinomial logistic regression, the first model of the torch.nn tutorial."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from tinyclsf.plugin import recipe


@recipe(epochs=2, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9)
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
