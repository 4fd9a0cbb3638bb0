"""Three convolutions and a pooling, the second model of the torch.nn tutorial."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.plugin import recipe


@recipe(epochs=2, batch_size=64, optimizer="sgd", lr=0.1, momentum=0.9, schedule="one-cycle")
class Mnist_CNN(nn.Module):
    """Three strided 3x3 convolutions with ReLU and an average over what is left of the image.

    The last ReLU stands before the logits, as in the tutorial: a class whose output gets stuck at 0 no longer learns.
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
