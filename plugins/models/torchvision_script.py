"""How a script makes a model of torchvision."""

from __future__ import annotations


def network(image_shape: tuple[int, int, int], num_classes: int, *, arch: str, **others: object) -> str:
    """torchvision's own function, and another first layer if the images do not have three channels."""
    made = f'models.get_model("{arch}", num_classes={num_classes})'
    channels = image_shape[0]
    if channels == 3:
        return f"from torchvision import models\n\n{made}"
    return f'''
from torch import nn
from torchvision import models


def make_network() -> nn.Module:
    """torchvision's {arch} for images of {channels} channel{"" if channels == 1 else "s"}, where it wants 3."""
    network = {made}
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    first.in_channels = {channels}
    first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, {channels}, *first.kernel_size))
    first.reset_parameters()
    return network


make_network()
'''
