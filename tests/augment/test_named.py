"""Augmentations by name: their order, mixtures, the one that alternates, and names that cannot be."""

from __future__ import annotations

import pytest
import torch

from tinyclsf.augment.geometry import alternating_flip
from tinyclsf.augment.named import AUGMENTATIONS, Augmentation
from tinyclsf.errors import ConfigurationError, DataError

CHOICE = (
    "choose one of affine, alternating-flip, blur, crop, cutmix, cutout, erase, flip, grey, jitter, mixup, randaugment, "
    "resized-crop, rotate, shift, trivialaugment"
)


def test_augmentations_follow_each_other_in_their_order() -> None:
    x, y = torch.randint(256, (20, 3, 16, 24), dtype=torch.uint8), torch.arange(20)
    assert Augmentation("none", 10)(x, y) == (x, y)
    for names in ("flip", "crop, flip", ",".join(AUGMENTATIONS)):
        augment = Augmentation(names, 10)
        torch.manual_seed(3)
        found, labels = augment(x, y)
        torch.manual_seed(3)
        wanted = x
        for name in names.split(","):
            wanted = AUGMENTATIONS[name.strip()](16)(wanted)
        assert torch.equal(found, wanted)
        assert not torch.equal(found, x)
        assert labels is y


def test_images_of_any_size_can_be_shifted() -> None:
    assert [AUGMENTATIONS["shift"](side).keywords["padding"] for side in (224, 32, 9, 2, 1)] == [14, 2, 1, 1, 0]
    x = torch.arange(3.0).view(3, 1, 1, 1)
    assert torch.equal(AUGMENTATIONS["shift"](1)(x), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_two_epochs_of_alternating_flips_show_both_ways_of_each_image(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randint(256, (400, 3, 8, 8), dtype=torch.uint8).to(dtype) / (255 if dtype.is_floating_point else 1)
    x = x.to(dtype).to(memory_format=torch.channels_last)
    augment = Augmentation("alternating-flip", 10)
    epochs = []
    for epoch in range(1, 5):
        augment.set_epoch(epoch)
        epochs.append(augment(x, torch.zeros(400))[0])
    mirrored = (epochs[0] == x.flip(3)).flatten(1).all(dim=1)
    assert 150 < int(mirrored.sum()) < 250
    assert torch.equal(epochs[0][~mirrored], x[~mirrored])
    assert torch.equal(epochs[1], epochs[0].flip(3))
    assert torch.equal(epochs[2], epochs[0])
    assert torch.equal(epochs[3], epochs[1])
    assert torch.equal(alternating_flip(x[7:20], epoch=2), epochs[1][7:20])  # in whatever batch it comes
    assert torch.equal(alternating_flip(x.repeat_interleave(2, 3)[..., ::2]), epochs[0])  # or with gaps in memory


def test_images_of_even_numbers_are_halved_too() -> None:
    torch.manual_seed(0)
    x = 254 * torch.randint(2, (400, 1, 8, 8), dtype=torch.uint8)
    assert 150 < int((alternating_flip(x) == x.flip(3)).flatten(1).all(dim=1).sum()) < 250


def mix(names: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    augment = Augmentation(names, 4)
    torch.manual_seed(seed)
    x = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 1, 6, 6).contiguous()  # image n is all n
    return augment(x, torch.arange(8) % 4)


def test_mixtures_share_out_labels_as_they_share_out_images() -> None:
    x, y = mix("mixup", 0)
    # Image n is mixed with the one before it, so its mean tells with which weight.
    weight = float(x[1].mean())
    assert 0 < weight < 1
    wanted = weight * torch.arange(8) + (1 - weight) * torch.arange(8).roll(1)
    assert torch.allclose(x, wanted.view(8, 1, 1, 1).expand(8, 1, 6, 6))
    own, other = torch.eye(4)[torch.arange(8) % 4], torch.eye(4)[torch.arange(8).roll(1) % 4]
    assert torch.allclose(y, weight * own + (1 - weight) * other, atol=1e-6)

    x, y = mix("cutmix", 1)
    pasted = (x[1] == 0).float().mean()
    assert 0 < pasted < 1
    assert torch.allclose(y, (1 - pasted) * own + pasted * other, atol=1e-6)


def test_of_two_mixtures_each_batch_gets_one() -> None:
    whole = {bool(torch.equal(x, x.round())) for x, _ in (mix("flip,mixup,cutmix", seed) for seed in range(20))}
    assert whole == {True, False}


def test_a_label_that_is_no_class_cannot_be_mixed() -> None:
    augment = Augmentation("mixup", 10)
    with pytest.raises(DataError) as error:
        augment(torch.zeros(3, 1, 4, 4), torch.tensor([0, 10, 1]))
    assert str(error.value) == "label 1 of a batch that is to be mixed is 10; wanted 0 to 9 for 10 classes"


@pytest.mark.parametrize(
    ("names", "message", "tip"),
    [
        ("flop", f"there is no augmentation 'flop'; {CHOICE}", "did you mean 'flip'?"),
        ("flip,none", f"there is no augmentation 'none'; {CHOICE}", None),
        ("", f"there is no augmentation ''; {CHOICE}", None),
        ("flip,crop,flip", "augmentations 'flip,crop,flip' name one twice; give each once", None),
    ],
)
def test_augmentations_that_cannot_be(names: str, message: str, tip: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        Augmentation(names, 10)
    assert (str(error.value), error.value.tip) == (message, tip)
