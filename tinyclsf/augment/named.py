"""Augmentations by name, and several of them as one function of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tinyclsf.augment.colour import colour_jitter, random_blur, random_grey
from tinyclsf.augment.geometry import (
    alternating_flip,
    cutout,
    random_affine,
    random_crop,
    random_erasing,
    random_flip,
    random_resized_crop,
    random_rotation,
)
from tinyclsf.augment.policies import rand_augment, trivial_augment
from tinyclsf.errors import ConfigurationError, pick
from tinyclsf.metrics import Labelled

# What each does to a batch whose images' shorter side has so many pixels.
AUGMENTATIONS: dict[str, Callable[[int], partial[Tensor]]] = {
    "flip": lambda side: partial(random_flip),
    "alternating-flip": lambda side: partial(alternating_flip),
    "crop": lambda side: partial(random_crop, padding=max(1, side // 8)),
    "shift": lambda side: partial(random_crop, padding=min(max(1, side // 16), side - 1), mirrored=True),
    "affine": lambda side: partial(random_affine, degrees=10, translate=side / 16, scale=0.1, shear=5),
    "cutout": lambda side: partial(cutout, size=max(1, side // 4)),
    "resized-crop": lambda side: partial(random_resized_crop, scale=(0.08, 1)),
    "jitter": lambda side: partial(colour_jitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "grey": lambda side: partial(random_grey, share=0.2),
    "rotate": lambda side: partial(random_rotation, degrees=15),
    "erase": lambda side: partial(random_erasing, share=0.5),
    "trivialaugment": lambda side: partial(trivial_augment),
    "randaugment": lambda side: partial(rand_augment, changes=2, strength=0.3),
    "blur": lambda side: partial(random_blur, sigma=(side / 2240, side / 112), share=0.5),
}
MIXTURES = {"mixup": ("MixUp", 0.2), "cutmix": ("CutMix", 1.0)}  # torchvision's, with alpha as their papers have it


def alternates(change: partial[Tensor]) -> bool:
    """Whether one of AUGMENTATIONS takes the number of the epoch after the images, as it is not the same in each."""
    return change.func is alternating_flip


def parse_augment(names: str) -> list[str]:
    """The augmentations of a comma-separated list; "none" is an empty one.

    Raises: ConfigurationError if there is no such augmentation, or one is named twice.
    """
    if names == "none":
        return []
    listed = [name.strip() for name in names.split(",")]
    for name in listed:
        pick("augmentation", name, {**AUGMENTATIONS, **MIXTURES})
    if len(set(listed)) < len(listed):
        raise ConfigurationError(f"augmentations '{names}' name one twice; give each once")
    return listed


class Augmentation:
    """Augmentations by their names, one after the other, as a function of a batch.

    Mixtures of images come last, whose labels become shares of each class; of two of them each batch gets one, at random.
    Raises: ConfigurationError if there is no such augmentation, or one is named twice.
    """

    def __init__(self, names: str, num_classes: int) -> None:
        listed = parse_augment(names)
        self._steps = [AUGMENTATIONS[name] for name in listed if name in AUGMENTATIONS]
        self._mixtures = [_mixture(*MIXTURES[name], num_classes) for name in listed if name in MIXTURES]
        self._epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, for what is not the same in each; the Trainer calls it."""
        self._epoch = epoch

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for step in self._steps:
            change = step(min(x.shape[2:]))
            x = change(x, self._epoch) if alternates(change) else change(x)
        if not self._mixtures:
            return x, y
        chosen = int(torch.randint(len(self._mixtures), ())) if len(self._mixtures) > 1 else 0
        return self._mixtures[chosen](x.float(), y)


def _mixture(name: str, alpha: float, num_classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    from torchvision.transforms import v2  # type: ignore[import-untyped]  # seconds to import, and rarely wanted

    mix = getattr(v2, name)(alpha=alpha, num_classes=num_classes)

    def mixed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return mix(x, y)  # type: ignore[no-any-return]
        except RuntimeError:
            Labelled(y, num_classes).check("a batch that is to be mixed")
            raise

    return mixed
