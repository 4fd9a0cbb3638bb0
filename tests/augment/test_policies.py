"""Policies against torchvision's, image by image, with the changes and strengths that the generator draws."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2  # type: ignore[import-untyped]

from tinyclsf.augment.policies import rand_augment, trivial_augment

TRIVIAL = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
RAND = v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR)
FLOATS = {"Brightness", "Color", "Contrast", "Sharpness"}  # torchvision rounds these down on uint8, and not on floats


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def photographs(n: int, channels: int, height: int = 24, width: int = 31) -> Tensor:
    """Dark, pale and full images, and some of a single colour."""
    x = torch.randint(256, (n, channels, height, width), generator=generator()).float()
    levels = torch.arange(n).view(-1, 1, 1, 1) % 5
    x = 30 * levels + x * (1 - 0.15 * levels)
    x[::6] = 77
    return x.clamp(0, 255).to(torch.uint8)


def wanted_of(policy: Any, image: Tensor, kind: int, strength: int, sign: int) -> tuple[str, Tensor]:
    """What torchvision makes of an image, of 0 to 255, by the name of the change."""
    name = list(policy._AUGMENTATION_SPACE)[kind]
    amounts, signed = policy._AUGMENTATION_SPACE[name]
    found = amounts(31, *image.shape[1:])
    # To five places, as a shift by 15.999999 pixels would be one by 15.
    amount = 0.0 if found is None else round(float(found[strength]), 5) * (sign if signed else 1)
    stored = image / 255 if name in FLOATS else image
    changed = policy._apply_image_or_video_transform(stored, name, amount, policy.interpolation, policy._fill)
    if name == "Solarize":  # a value at the threshold lies on either side of it by how 255 / 30 is rounded
        changed = torch.where((image - 255 * amount).abs() < 0.01, -1, changed.int())
    return name, changed * 255 if name in FLOATS else changed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", [TRIVIAL, RAND], ids=["trivial", "rand"])
def test_each_change_is_torchvisions(policy: Any, channels: int) -> None:
    n, source = 420, generator()
    x = photographs(n, channels)
    if policy is TRIVIAL:
        strengths = torch.randint(31, (n,), generator=source)
        found = trivial_augment(x, generator=generator())
    else:
        strengths = torch.full((n,), 9)
        found = rand_augment(x, changes=1, generator=generator())
    kinds = torch.randint(14, (n,), generator=source)
    signs = 2 * torch.randint(2, (n,), generator=source) - 1
    seen = set()
    for new, old, *drawn in zip(found, x, kinds.tolist(), strengths.tolist(), signs.tolist(), strict=True):
        name, wanted = wanted_of(policy, old, *drawn)
        apart = (new - wanted).abs()[wanted >= 0] if name in FLOATS else (new.int() - wanted.int()).abs()[wanted >= 0]
        assert apart.max() <= {"Posterize": 0, "Solarize": 0, "Equalize": 0, "Identity": 0}.get(name, 1), (name, drawn)
        seen.add(name)
    assert len(seen) == 14
    assert found.dtype == torch.uint8


def test_the_changes_of_rand_augment_follow_each_other() -> None:
    x, source = photographs(30, 3), generator()
    once = rand_augment(x, changes=1, generator=source)
    assert torch.equal(rand_augment(x, changes=2, generator=generator()), rand_augment(once, changes=1, generator=source))
    assert torch.equal(rand_augment(x, generator=generator()), rand_augment(x, changes=2, strength=0.3, generator=generator()))


@pytest.mark.parametrize("change", [trivial_augment, partial(rand_augment, changes=1)])
def test_floats_are_changed_as_bytes_are_and_the_generator_decides(change: Any) -> None:
    x = photographs(300, 3)
    before, state = x.clone(), torch.get_rng_state()
    found = change(x, generator=generator())
    assert torch.equal(change(x, generator=generator()), found)
    assert not torch.equal(change(x, generator=torch.Generator().manual_seed(6)), found)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    stored = x * (0.3081 / 255)  # of which not every value comes back as a whole number
    floats = change(stored, generator=generator())
    assert floats.dtype == torch.float32
    assert floats.min() >= 0
    assert floats.max() <= stored.max()
    assert (floats * (255 / 0.3081) - found).abs().max() <= 0.51


@pytest.mark.parametrize("shape", [(30, 1, 2, 2), (30, 3, 1, 5), (1, 3, 8, 8)])
def test_small_images_and_batches(shape: tuple[int, ...]) -> None:
    x = torch.randint(256, shape, dtype=torch.uint8)
    assert trivial_augment(x).shape == rand_augment(x).shape == shape
