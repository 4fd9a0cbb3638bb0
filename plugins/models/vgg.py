"""VGG in torchvision's layout, so that weights can be loaded from one into the other."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from tinyclsf.plugin import recipe
from tinyclsf_plugins.models.sizes import check_size

_CHANNELS = (64, 128, 256, 512, 512)  # of the five stages, each of which ends in a pooling
_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # in each stage
_UNITS = 4096  # of both hidden linear layers


@recipe(epochs=15, batch_size=64, optimizer="adam", lr=0.0001)
class VGG(nn.Module):
    """3x3 convolutions in five stages and three linear layers, `depth` layers in all, with dropout between the linear ones.

    `batch_norm` normalises after every convolution. State dicts are interchangeable with those of torchvision's vgg models.
    `softmax` gives probabilities instead of logits, to study how this flattens the gradient of a cross-entropy loss.
    Shapes: x (n, c, h, w) float32 with h and w at least 32, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller.
    Source: Simonyan, Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition".
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 1000,
        *,
        depth: Literal[11, 13, 16, 19] = 11,
        batch_norm: bool = False,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        check_size("vgg", image_shape, 32)
        self.features = _features(image_shape[0], _CONVOLUTIONS[depth], batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, _UNITS),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(_UNITS, _UNITS),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(_UNITS, num_classes),
        )
        self.end = nn.Softmax(dim=1) if softmax else nn.Identity()
        self.apply(_draw_weights)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        logits: Tensor = self.end(self.classifier(x.flatten(1)))
        return logits


def _features(channels: int, convolutions: tuple[int, ...], batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, repeats in zip(_CHANNELS, convolutions, strict=True):
        for _ in range(repeats):
            layers.append(nn.Conv2d(channels, width, kernel_size=3, padding=1))
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _draw_weights(layer: nn.Module) -> None:
    # With PyTorch's own first weights the signal fades from layer to layer, and without batch norm nothing is learnt.
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
    if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
