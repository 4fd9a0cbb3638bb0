"""How a picture file becomes pixels, as source that needs NumPy and Pillow alone."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from tinyclsf.pictures.picture import SQUARES, in_8_bits

if TYPE_CHECKING:
    from tinyclsf.modules import Fit


def picture_source(size: int, channels: int, fit: Fit) -> str:
    """Python with a function `read_picture(path)`, which does what ours does to pictures."""
    square = SQUARES[fit]
    mode, colour = ("RGB", "in colour") if channels == 3 else ("L", "in grey")
    lab = ""
    if channels == 1:
        lab = '        if image.mode == "LAB":\n            image = image.convert("RGB")  # from which Pillow goes on to grey\n'
    return f'''from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SIZE = {size}  # pixels


{inspect.getsource(in_8_bits)}

{inspect.getsource(square)}

def read_picture(path: str | Path) -> np.ndarray:
    """A picture as a square, {colour}: ({channels}, SIZE, SIZE) uint8."""
    with Image.open(path) as image:
        image.draft(None, (SIZE * 3 // 2, SIZE * 3 // 2))  # a large JPEG is decoded smaller
        image = ImageOps.exif_transpose(image)  # turned as the camera was held
        if image.mode[0] in "IF":
            image = in_8_bits(image)
{lab}        if image.has_transparency_data:
            ground = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(ground, image.convert("RGBA"))
        square = {square.__name__}(image.convert("{mode}"), SIZE)
    return np.array(square).reshape(SIZE, SIZE, {channels}).transpose(2, 0, 1)
'''
