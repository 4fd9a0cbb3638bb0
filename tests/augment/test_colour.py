"""Random colours against torchvision's functions, image by image, with the numbers that the generator gives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

from tinyclsf.augment.colour import colour_jitter, random_blur, random_grey, with_hue
from tinyclsf.augment.named import AUGMENTATIONS
from tinyclsf.augment.whole_batch import in_pieces

JITTER = {"brightness": 0.4, "contrast": 0.5, "saturation": 0.6, "hue": 0.5}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def photographs(n: int, channels: int = 3) -> Tensor:
    """Every value, grey pixels, black and white ones, and pixels of two equal channels."""
    x = torch.randint(256, (n, channels, 12, 16), generator=generator(), dtype=torch.uint8)
    x[:, :, 0], x[:, :, 1] = x[:, :1, 0], 0
    x[:, 1:, 2] = x[:, :1, 2]
    return x


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_torchvisions_four_changes_in_turn(channels: int) -> None:
    x = photographs(20, channels)
    x[:, 0, 3, 3] = 255  # what floats take to be white
    source = generator()
    factors = [
        1 + JITTER[name] * (2 * torch.rand(20, generator=source) - 1) for name in ("brightness", "contrast", "saturation")
    ]
    turns = torch.rand(20, generator=source) - 0.5
    # torchvision rounds down after each of its steps on uint8; on floats it does not.
    wanted = x / 255
    for n, (brighter, stronger, purer, turn) in enumerate(torch.stack([*factors, turns], dim=1).tolist()):
        image = functional.adjust_contrast(functional.adjust_brightness(wanted[n], brighter), stronger)
        wanted[n] = functional.adjust_hue(functional.adjust_saturation(image, purer), turn)
    found = colour_jitter(x, **JITTER, generator=generator())
    assert found.dtype == torch.uint8
    assert (found - wanted * 255).abs().max() <= 0.51
    assert torch.allclose(colour_jitter(x / 255, **JITTER, generator=generator()), wanted, atol=2e-5)


@pytest.mark.parametrize("hue", [-0.5, -0.3, 0.0, 0.2, 0.5])
def test_hue_of_every_kind_of_colour(hue: float) -> None:
    levels = torch.tensor([0.0, 60.0, 200.0, 255.0])
    x = torch.cartesian_prod(levels, levels, levels).t().reshape(1, 3, 8, 8)
    wanted = functional.adjust_hue(x[0] / 255, hue)
    assert torch.allclose(with_hue(x.clone(), torch.tensor([hue]))[0] / 255, wanted, atol=1e-5)


def test_grey_is_torchvisions_in_a_share_of_the_images() -> None:
    x = photographs(100)
    found, chosen = random_grey(x, share=0.3, generator=generator()), torch.rand(100, generator=generator()) < 0.3
    assert 15 < chosen.sum() < 45
    assert torch.equal(found[~chosen], x[~chosen])
    wanted = functional.rgb_to_grayscale(x[chosen], num_output_channels=3)
    assert (found[chosen].int() - wanted.int()).abs().max() <= 1
    assert torch.equal(found[chosen, 0], found[chosen, 2])
    grey = photographs(9, 1)
    assert torch.equal(random_grey(grey, share=1), grey)
    assert torch.equal(random_grey(x, share=0), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_torchvisions_with_a_width_for_each_image(channels: int) -> None:
    x = photographs(30, channels)
    found, source = random_blur(x, sigma=(0.1, 1.5), share=0.5, generator=generator()), generator()
    chosen, widths = torch.rand(30, generator=source) < 0.5, 0.1 + 1.4 * torch.rand(30, generator=source)
    assert 8 < chosen.sum() < 22
    assert torch.equal(found[~chosen], x[~chosen])
    for n in chosen.nonzero().flatten().tolist():
        size = 2 * math.ceil(3 * float(widths[n])) + 1
        wanted = functional.gaussian_blur(x[n], [size] * 2, [float(widths[n])] * 2)
        assert (found[n].int() - wanted.int()).abs().max() <= 1
    floats = random_blur(x / 255, sigma=(0.1, 1.5), share=0.5, generator=generator())
    assert (floats * 255 - found).abs().max() <= 0.501


@pytest.mark.parametrize("name", ["jitter", "randaugment", "trivialaugment"])
def test_a_batch_of_black_images_stays_black(name: str) -> None:
    torch.manual_seed(0)
    black = torch.zeros(16, 3, 8, 8)
    assert all(float(AUGMENTATIONS[name](8)(black).abs().max()) < 1e-30 for _ in range(8))


def test_a_blur_is_no_wider_than_a_small_image() -> None:
    x = torch.full((3, 1, 4, 9), 200, dtype=torch.uint8)
    assert torch.equal(random_blur(x, sigma=(2, 3), share=1), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    ("change", "amounts"),
    [(colour_jitter, JITTER), (random_grey, {"share": 0.5}), (random_blur, {"sigma": (0.5, 2), "share": 0.5})],
)
def test_type_and_range_stay_and_the_generator_decides(change: Any, amounts: dict[str, Any], dtype: torch.dtype) -> None:
    x = photographs(40).to(dtype)
    before, state = x.clone(), torch.get_rng_state()
    found = change(x, **amounts, generator=generator())
    assert (found.dtype, found.shape) == (dtype, x.shape)
    assert found.min() >= 0
    assert found.max() <= 255
    assert torch.equal(change(x, **amounts, generator=generator()), found)
    assert not torch.equal(change(x, **amounts, generator=torch.Generator().manual_seed(6)), found)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_pieces_make_up_the_batch() -> None:
    x = torch.randint(256, (7, 3, 200, 300), dtype=torch.uint8)  # each piece is one image
    sizes = []

    def darken(piece: Tensor, factor: Tensor) -> Tensor:
        sizes.append(len(piece))
        return piece.mul_(factor.view(-1, 1, 1, 1))

    factor = torch.arange(7) / 7
    assert torch.equal(in_pieces(darken, x, factor), (x * factor.view(7, 1, 1, 1)).round().to(torch.uint8))
    assert sizes == [1] * 7
    floats = x / 255
    assert torch.equal(in_pieces(darken, floats, factor), floats * factor.view(7, 1, 1, 1))
    assert torch.equal(floats, x / 255)
