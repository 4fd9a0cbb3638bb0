"""How a picture file becomes pixels, as source that needs NumPy and Pillow; with PyTorch it takes less time."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from tinyclsf.pictures import scaling_by_numpy
from tinyclsf.pictures.picture import SQUARES, scaled

if TYPE_CHECKING:
    from tinyclsf.modules import Fit


def picture_source(size: int, channels: int, fit: Fit, *, with_torch: bool = True) -> str:
    """Python with a function `read_picture(path)`, which does what ours does to pictures of 8 bits."""
    square = SQUARES[fit]
    mode, colour = ("RGB", "in colour") if channels == 3 else ("L", "in grey")
    functions = [scaled] if with_torch else [scaling_by_numpy.weighted_sums, scaling_by_numpy.scaled]
    sources = "\n\n".join(map(inspect.getsource, [*functions, square]))
    imports = ("import torch\n", "from torch.nn import functional as F\n") if with_torch else ("", "")
    return f'''from pathlib import Path

import numpy as np
{imports[0]}from numpy.typing import NDArray
from PIL import Image, ImageOps
{imports[1]}
SIZE = {size}  # pixels


{sources}

def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """A picture as a square, {colour}: ({channels}, SIZE, SIZE)."""
    with Image.open(path) as image:
        image.draft(None, (3 * SIZE // 2, 3 * SIZE // 2))  # a large JPEG is decoded at a part of its size
        image = ImageOps.exif_transpose(image)  # turned as the camera was held
        if image.has_transparency_data:
            ground = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(ground, image.convert("RGBA"))
        pixels = np.array(image.convert("{mode}")).reshape(image.height, image.width, {channels})
    return {square.__name__}(pixels, SIZE).transpose(2, 0, 1)
'''
