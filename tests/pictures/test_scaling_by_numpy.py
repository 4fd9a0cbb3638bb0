"""Scaling without PyTorch gives the very pixels of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from tinyclsf.pictures import scaling_by_numpy
from tinyclsf.pictures.picture import scaled


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [1, 2, 31, 64, 331])
@pytest.mark.parametrize("width", [1, 3, 64, 450])
@pytest.mark.parametrize("new", [(64, 64), (7, 224), (1, 1)])
def test_it_is_that_of_pytorch_bit_for_bit(height: int, width: int, channels: int, new: tuple[int, int]) -> None:
    rng = np.random.default_rng(height * width)
    for pixels in (rng.integers(0, 256, (height, width, channels)), rng.integers(0, 2, (height, width, channels)) * 255):
        picture = pixels.astype(np.uint8)
        np.testing.assert_array_equal(scaling_by_numpy.scaled(picture, *new), scaled(picture, *new))
