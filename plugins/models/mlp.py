"""A perceptron with two hidden layers."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from tinyclsf.plugin import recipe


@recipe(epochs=50, batch_size=500, optimizer="sgd", lr=0.1)
class MLP(nn.Module):
    """Three linear layers: from the pixels to 128 and then 64 hidden units, each with ReLU, and to the classes.

    `batch_norm` normalises both hidden layers before their ReLU.
    `softmax` gives probabilities instead of logits, to study how this flattens the gradient of a cross-entropy loss.
    Shapes: x (n, c, h, w) float32, to logits (n, num_classes).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 10,
        *,
        batch_norm: bool = False,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        self.hidden1 = _hidden(prod(image_shape), 128, batch_norm)
        self.hidden2 = _hidden(128, 64, batch_norm)
        self.linear = nn.Linear(64, num_classes)
        self.end = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.end(self.linear(self.hidden2(self.hidden1(x.flatten(1)))))
        return logits


def _hidden(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
    norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
    return nn.Sequential(nn.Linear(inputs, outputs), *norm, nn.ReLU())


Linear_Model_v1 = MLP  # the course note's name
