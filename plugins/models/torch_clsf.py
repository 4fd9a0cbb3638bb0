"""Two convolutions and two linear layers with dropout, written in two ways."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.plugin import ConfigurationError, recipe
from tinyclsf_plugins.models.sizes import check_size


class TorchClsfModel(nn.Module):
    """Two 3x3 convolutions to 32 and 64 channels, each with a 2x2 pooling, and two linear layers with dropout between.

    `dropout` is the dropout rate of the first linear layer's 100 outputs, `input_dropout` that of its inputs.
    `softmax` gives probabilities instead of logits, to study how this flattens the gradient of a cross-entropy loss.
    Shapes: x (n, c, h, w) float32 with h and w at least 4, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller, or a dropout rate is not from 0 to less than 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        *,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        _check_share("dropout", dropout)
        _check_share("input_dropout", input_dropout)
        self.conv1 = nn.Conv2d(image_shape[0], 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(_pooled(image_shape), 100)
        self.fc2 = nn.Linear(100, num_classes)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.input_dropout = nn.Dropout(input_dropout)
        self.end = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = F.relu(self.fc1(self.input_dropout(x.flatten(1))))
        logits: Tensor = self.end(self.fc2(self.dropout(x)))
        return logits


class TorchClsfMixedModel(nn.Module):
    """`TorchClsfModel` built from `nn.Sequential` blocks, with the same options and the same parameters in the same order.

    Shapes: x (n, c, h, w) float32 with h and w at least 4, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller, or a dropout rate is not from 0 to less than 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        *,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        _check_share("dropout", dropout)
        _check_share("input_dropout", input_dropout)
        self.block1 = _block(image_shape[0], 32)
        self.block2 = _block(32, 64)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(input_dropout),
            nn.Linear(_pooled(image_shape), 100),
            nn.Sequential(nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(100, num_classes),
            nn.Softmax(dim=1) if softmax else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.block2(self.block1(x)))
        return logits


@recipe(epochs=5, batch_size=32, optimizer="rmsprop", lr=0.001)
def torch_clsf(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    mixed: bool = False,
    dropout: float = 0.5,
    input_dropout: float = 0.0,
    softmax: bool = False,
) -> nn.Module:
    """Two 3x3 convolutions to 32 and 64 channels, each with a 2x2 pooling, and two linear layers with dropout between.

    `mixed` builds the same network from `nn.Sequential` blocks.
    `dropout` is the dropout rate of the first linear layer's 100 outputs, `input_dropout` that of its inputs.
    `softmax` gives probabilities instead of logits, to study how this flattens the gradient of a cross-entropy loss.
    Shapes: x (n, c, h, w) float32 with h and w at least 4, to logits (n, num_classes).
    Raises: ConfigurationError if the images are smaller, or a dropout rate is not from 0 to less than 1.
    """
    network = TorchClsfMixedModel if mixed else TorchClsfModel
    return network(image_shape, num_classes, dropout=dropout, input_dropout=input_dropout, softmax=softmax)


# Of runs from before there was a choice.
torch_clsf.earlier_defaults = {"dropout": 0.0, "input_dropout": 0.25}  # type: ignore[attr-defined]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


def _check_share(option: str, share: float) -> None:
    if not 0 <= share < 1:  # with all of them dropped there is nothing to learn from
        raise ConfigurationError(f"{option} is {share}; wanted 0 or more and less than 1")


def _pooled(image_shape: tuple[int, int, int]) -> int:
    """The number of values after two poolings of an image, in 64 channels."""
    check_size("torch-clsf", image_shape, 4)
    return 64 * (image_shape[1] // 4) * (image_shape[2] // 4)
