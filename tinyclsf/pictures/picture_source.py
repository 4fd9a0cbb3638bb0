"""How a picture file becomes pixels, as source that needs NumPy, Pillow and, to give the very same pixels, PyTorch."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from tinyclsf.pictures.picture import SQUARES, scaled

if TYPE_CHECKING:
    from tinyclsf.modules import Fit

_SCALED_BY_PILLOW = '''def scaled(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture, (h, w, c), at another size: as PyTorch scales it, up to 1 of 255 by rounding."""
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)
'''


def picture_source(size: int, channels: int, fit: Fit, *, with_torch: bool = True) -> str:
    """Python with a function `read_picture(path)`, which does what ours does to pictures of 8 bits.

    Without PyTorch a pixel that is scaled can differ by 1 of 255.
    """
    square = SQUARES[fit]
    mode, colour = ("RGB", "in colour") if channels == 3 else ("L", "in grey")
    scaling = inspect.getsource(scaled) if with_torch else _SCALED_BY_PILLOW
    imports = ("import torch\n", "from torch.nn import functional as F\n") if with_torch else ("", "")
    return f'''from pathlib import Path

import numpy as np
{imports[0]}from numpy.typing import NDArray
from PIL import Image, ImageOps
{imports[1]}
SIZE = {size}  # pixels


{scaling}

{inspect.getsource(square)}

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
