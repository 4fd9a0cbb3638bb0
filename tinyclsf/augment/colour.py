"""The colours of a batch, at random: brighter, paler, of another hue, grey, blurred."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyclsf.augment.whole_batch import Change, change_some, in_pieces, uniform_each
from tinyclsf.machine.devices import moved

_NEARLY = 0.01  # a byte that is stored as a float of 0 to 1 is not quite whole


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

    return in_bytes(x, lambda x: in_pieces(jitter, x, *factors, turn))


def random_grey(x: Tensor, *, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Take the colour out of a share of the images; what is not in three channels stays.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    """
    chosen = torch.rand(len(x), generator=generator) < share
    if x.shape[1] != 3:
        return x
    return change_some(x.clone(), chosen, partial(in_pieces, lambda piece: piece.copy_(_luminance(piece))))


def random_blur(x: Tensor, *, sigma: tuple[float, float], share: float, generator: torch.Generator | None = None) -> Tensor:
    """Blur a share of the images by Gaussians, each by one of its own width; at the border images are mirrored.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: `sigma` is the least and the largest standard deviation in pixels; each Gaussian ends at three of its own.
    """
    chosen = torch.rand(len(x), generator=generator) < share
    widths = torch.rand(len(x), 1, generator=generator) * (sigma[1] - sigma[0]) + sigma[0]
    radii = (3 * widths[:, 0]).ceil().clamp(max=min(x.shape[2:]) - 1)

    def blur(piece: Tensor, weights: Tensor) -> Tensor:
        radius = weights.shape[1] // 2
        for dim, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
            wide, length = F.pad(piece, padding, mode="reflect"), piece.shape[dim]
            piece = piece.zero_()
            for at, weight in enumerate(weights.view(len(piece), -1, 1, 1, 1).unbind(1)):
                piece.addcmul_(wide.narrow(dim, at, length), weight)
        return piece

    blurred = x.clone()
    for radius in range(1, int(radii.max()) + 1):  # most are narrower than the widest
        weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / widths).square())
        weights = moved(weights / weights.sum(dim=1, keepdim=True), x.device)
        change_some(blurred, chosen & (radii == radius), partial(in_pieces, blur), weights)
    return blurred


def in_bytes(x: Tensor, change: Change) -> Tensor:
    """`change` of a batch whose values are 0 to 255, as those of uint8 are.

    Shapes: x (n, c, h, w) uint8 or float32, and so the result.
    Units: what is not uint8 is taken to be of 0 to the batch's largest value.
    """
    if x.dtype == torch.uint8:
        return change(x)
    white = x.amax().clamp(min=1024 * torch.finfo(x.dtype).tiny)  # of black alone; 255 divided by it is finite
    return (change(x * (255 / white)) * (white / 255)).clamp_(max=white)


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


def with_sharpness(piece: Tensor, factor: Tensor) -> Tensor:
    """Each pixel's distance from the weighted mean of the 3 x 3 around it, times a factor; those at the border stay.

    Shapes: piece (n, c, h, w) float32 of 0 to 255, written into; factor (n,).
    """
    inner = piece[:, :, 1:-1, 1:-1]
    rows = piece[:, :, :-2] + piece[:, :, 1:-1] + piece[:, :, 2:]
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).add_(inner, alpha=4).div_(13)
    _blended(inner, smooth, factor)
    return piece


def with_fewer_bits(piece: Tensor, lost: Tensor) -> Tensor:
    """The lowest bits of each value are 0.

    Shapes: piece (n, c, h, w) float32 of 0 to 255, written into; lost (n,), how many bits.
    """
    step = torch.exp2(lost).view(-1, 1, 1, 1)
    return piece.add_(_NEARLY).div_(step).floor_().mul_(step)


def solarized(piece: Tensor, threshold: Tensor) -> Tensor:
    """The negative of what is at least as bright as a threshold.

    Shapes: piece (n, c, h, w) float32 of 0 to 255; threshold (n,).
    """
    return torch.where(piece >= threshold.view(-1, 1, 1, 1), 255 - piece, piece)


def autocontrasted(piece: Tensor) -> Tensor:
    """Each channel from its darkest value at 0 to its brightest at 255; one of a single value stays.

    Shapes: piece (n, c, h, w) float32 of 0 to 255, written into.
    """
    low, high = piece.amin(dim=(2, 3), keepdim=True), piece.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    return piece.sub_(low.masked_fill(flat, 0)).mul_((255 / (high - low)).masked_fill(flat, 1))


def equalized(piece: Tensor) -> Tensor:
    """Each channel with its 256 values about equally often, as Pillow does it.

    Shapes: piece (n, c, h, w) float32 of 0 to 255.
    """
    values = piece.round().long().flatten(2)
    counts = values.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, torch.ones_like(values))
    brightest = counts.gather(2, values.amax(dim=2, keepdim=True))
    step = (values.shape[2] - brightest) // 255
    below = counts.cumsum(dim=2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=piece.device))
    return table.gather(2, values).view_as(piece).to(piece.dtype)


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
