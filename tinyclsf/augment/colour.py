"""The colours of a batch, at random: brighter, paler, of another hue, grey, blurred."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyclsf.augment.whole_batch import change_some, in_pieces, uniform_each


def colour_jitter(
    x: Tensor, *, brightness: float, contrast: float, saturation: float, hue: float, generator: torch.Generator | None = None
) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, in this order; of one channel the first two.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: the first three are the largest relative changes either way, 0.4 for 60 to 140 %; `hue` is the largest part of the
    circle of hues, at most 0.5. What is not uint8 is taken to be of 0 to the batch's largest value.
    """
    factors = [uniform_each(x, 1 - most, 1 + most, generator=generator) for most in (brightness, contrast, saturation)]
    turn = uniform_each(x, -hue, hue, generator=generator)

    def jitter(piece: Tensor, brighter: Tensor, stronger: Tensor, purer: Tensor, turn: Tensor) -> Tensor:
        piece = with_contrast(with_brightness(piece, brighter), stronger)
        return with_hue(with_saturation(piece, purer), turn) if piece.shape[1] == 3 else piece

    return in_colours(x, jitter, *factors, turn)


def random_grey(x: Tensor, *, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Take the colour out of a share of the images; what is not in three channels stays.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    """
    chosen = torch.rand(len(x), generator=generator) < share
    if x.shape[1] != 3:
        return x
    return change_some(x, chosen, lambda images: in_pieces(images, lambda piece: _luminance(piece).expand_as(piece).clone()))


def random_blur(x: Tensor, *, sigma: tuple[float, float], share: float, generator: torch.Generator | None = None) -> Tensor:
    """Blur a share of the images by Gaussians, each by one of its own width; at the border images are mirrored.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: `sigma` is the least and the largest standard deviation in pixels; a Gaussian ends at three of the largest.
    """
    chosen = torch.rand(len(x), generator=generator) < share
    radius = min(math.ceil(3 * sigma[1]), min(x.shape[2:]) - 1)
    widths = uniform_each(x, *sigma, generator=generator)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=x.device) / widths.view(-1, 1)).square())
    weights = weights / weights.sum(dim=1, keepdim=True)

    def blur(piece: Tensor, weights: Tensor) -> Tensor:
        for dim, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
            wide, length = F.pad(piece, padding, mode="reflect"), piece.shape[dim]
            piece = piece.zero_()
            for at, weight in enumerate(weights.view(len(piece), -1, 1, 1, 1).unbind(1)):
                piece.addcmul_(wide.narrow(dim, at, length), weight)
        return piece

    return change_some(x, chosen, lambda images, weights: in_pieces(images, blur, weights), weights)


def in_colours(x: Tensor, change: Callable[..., Tensor], *amounts: Tensor) -> Tensor:
    """`change(piece, *amounts)` on a few images at a time, which it gets as float32 of 0 to 255 of its own to write into.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result; each of amounts (n, ...).
    Units: what is not uint8 is taken to be of 0 to the batch's largest value.
    """
    if x.dtype == torch.uint8:
        return in_pieces(x, change, *amounts)
    white = x.amax().clamp(min=torch.finfo(x.dtype).tiny)
    return in_pieces(x * (255 / white), change, *amounts) * (white / 255)


def with_brightness(piece: Tensor, factor: Tensor) -> Tensor:
    """Brighter by a factor.

    Shapes: piece (n, c, h, w) float32 of 0 to 255, written into; factor (n,).
    """
    return piece.mul_(factor.view(-1, 1, 1, 1)).clamp_(0, 255)


def with_contrast(piece: Tensor, factor: Tensor) -> Tensor:
    """Each pixel's distance from the image's mean luminance, times a factor.

    Shapes: piece (n, c, h, w) float32 of 0 to 255, written into; factor (n,).
    """
    return _blended(piece, _luminance(piece.mean(dim=(2, 3), keepdim=True)), factor)


def with_saturation(piece: Tensor, factor: Tensor) -> Tensor:
    """Each pixel's distance from its own luminance, times a factor: none of one channel.

    Shapes: piece (n, c, h, w) float32 of 0 to 255, written into; factor (n,).
    """
    return _blended(piece, _luminance(piece), factor)


def with_hue(piece: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of HSV.

    Shapes: piece (n, 3, h, w) float32, written into; turn (n,) in -0.5 to 0.5, as a part of the circle.
    """
    low, high = piece.amin(dim=1), piece.amax(dim=1)
    spread, (red, green, blue) = high - low, piece.unbind(1)
    # On the circle of hues, whose length is 6, red lies at 0, green at 2, blue at 4. A colour's distance from red is this; on
    # which side it lies, green and blue tell.
    away = (green + blue).sub_(red).sub_(low).div_(spread.clamp(min=1e-6)).add_(1)
    hue = torch.copysign(away, green - blue).add_(6 * turn.view(-1, 1, 1))
    hue.sub_((hue / 6).round_(), alpha=6)
    for channel, place in ((red, 0), (green, 2), (blue, -2)):
        share = (hue - place).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1)  # 1 up to a distance of 1, 0 from 2 on
        torch.addcmul(low, spread, share, out=channel)
    return piece


def _blended(piece: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    factor = factor.view(-1, 1, 1, 1)
    return piece.mul_(factor).add_(other * (1 - factor)).clamp_(0, 255)


def _luminance(piece: Tensor) -> Tensor:
    """ITU-R 601's weights of red, green and blue, or the mean of other channels.

    Shapes: piece (n, c, h, w), to (n, 1, h, w).
    """
    if piece.shape[1] != 3:
        return piece.mean(dim=1, keepdim=True)
    red, green, blue = piece.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)
