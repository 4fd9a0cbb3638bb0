"""A short LeNet: two convolutions and one linear layer."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.plugin import recipe
from tinyclsf_plugins.models.sizes import check_size


@recipe(epochs=1, batch_size=50, optimizer="adam", lr=0.01, schedule="one-cycle")
class LeNet(nn.Module):
    """Two 5x5 convolutions with ReLU, each with a 2x2 pooling, and one linear layer.

    `padding` is the zero padding of each convolution; 2 keeps height and width.
    `softmax` gives probabilities instead of logits, to study how this flattens the gradient of a cross-entropy loss.
    Shapes: x (n, c, h, w) float32 with h and w at least 16, with padding at least 4, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller.
    Source: after LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".
    """

    earlier_defaults = {"padding": 2}  # noqa: RUF012  # of runs from before there was a choice

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        num_classes: int = 10,
        *,
        padding: Literal[0, 2] = 0,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        check_size("lenet", image_shape, 4 if padding else 16)
        lost = 4 - 2 * padding  # by each convolution, of height and width; then a pooling halves them
        height, width = (((size - lost) // 2 - lost) // 2 for size in image_shape[1:])
        self.conv1 = nn.Conv2d(image_shape[0], 6, kernel_size=5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5, padding=padding)
        self.fc = nn.Linear(16 * height * width, num_classes)
        self.end = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        logits: Tensor = self.end(self.fc(x.flatten(1)))
        return logits


MyModel = LeNet  # the course note's name
