"""The simplest classifier: a linear layer on the pixels."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from tinyclsf.plugin import recipe


@recipe(epochs=50, batch_size=500, optimizer="sgd", lr=0.1)
class LinearClassifier(nn.Module):
    """One linear layer from the pixels to the classes.

    `softmax` gives probabilities instead of logits, to study how this flattens the gradient of a cross-entropy loss.
    Shapes: x (n, c, h, w) float32, to logits (n, num_classes).
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (1, 28, 28), num_classes: int = 10, *, softmax: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(prod(image_shape), num_classes)
        self.end = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.end(self.linear(x.flatten(1)))
        return logits


Linear_Model_v0 = LinearClassifier  # the course note's name
