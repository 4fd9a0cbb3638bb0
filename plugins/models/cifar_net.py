"""The small network of PyTorch's CIFAR-10 tutorial."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.plugin import recipe
from tinyclsf_plugins.models.sizes import check_size


@recipe(epochs=2, batch_size=4, optimizer="sgd", lr=0.001, momentum=0.9)
class CifarNet(nn.Module):
    """Two 5x5 convolutions, each with a 2x2 pooling, and three linear layers; ReLU in between.

    Shapes: x (n, c, h, w) float32 with h and w at least 16, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller.
    Source: "Training a Classifier", the PyTorch tutorial on CIFAR-10.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (3, 32, 32), num_classes: int = 10) -> None:
        super().__init__()
        check_size("cifar-net", image_shape, 16)
        height, width = (((size - 4) // 2 - 4) // 2 for size in image_shape[1:])  # a convolution takes 4, a pooling half
        self.conv1 = nn.Conv2d(image_shape[0], 6, kernel_size=5)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * height * width, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


Net = CifarNet  # the tutorial's name
