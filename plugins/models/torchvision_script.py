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

from tinyclsf_plugins.models.torchvision import take_channels


def make_network() -> nn.Module:
    """torchvision's {arch} for images of {channels} channel{"" if channels == 1 else "s"}, where it wants 3."""
    network: nn.Module = {made}
    take_channels(network, {channels})
    return network


make_network()
'''
