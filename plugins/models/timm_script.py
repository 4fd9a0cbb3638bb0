"""How a script makes a model of timm."""

from __future__ import annotations

from pathlib import Path

from tinyclsf.plugin import as_source
from tinyclsf_plugins.models.timm import arguments, begun_from, weights_file


def network(
    image_shape: tuple[int, int, int], num_classes: int, *, arch: str, pretrained: bool, weights: Path | None
) -> str | None:
    """timm's own function, and another last layer if the weights are pretrained; None if `weights` is a file."""
    if weights is not None:
        return None
    given = ", ".join(f"{name}={as_source(value)}" for name, value in arguments(arch, image_shape).items())
    if not pretrained:
        return f'import timm\n\ntimm.create_model("{arch}", num_classes={num_classes}, {given})'
    begun = ", ".join(f'"{name}": {as_source(value)}' for name, value in begun_from(weights_file(arch)).items())
    return f'''
import timm
from torch import nn

PRETRAINED = {{{begun}}}


def make_network() -> nn.Module:
    """timm's pretrained {arch} for {num_classes} classes."""
    network = timm.create_model("{arch}", pretrained=True, pretrained_cfg_overlay=PRETRAINED, {given})
    if network.num_classes != {num_classes}:
        network.reset_classifier({num_classes})
    head = network.get_classifier()
    network.head_name = next((name for name, part in network.named_modules() if part is head), None)
    return network


make_network()
'''
