"""One picture, in whatever form a person has it, to a square of uint8 pixels.

The processes that decode pictures import this module, so it starts quickly: neither torch nor torchvision is imported here.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from tinyclsf.modules import Fit

# Pillow only recognises these by name, or starts another program to draw them.
_NOT_DRAWN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_FIRST = ("JPEG", "PNG", "GIF", "BMP", "PPM")  # tried first, as importing all the others takes longer than decoding a picture


class PictureError(Exception):
    """Why a picture cannot be read, in a few words and without its name."""


def read_picture(source: str | os.PathLike[str] | bytes, size: int, channels: int, fit: Fit = "crop") -> NDArray[np.uint8]:
    """A picture, given as a path or as the bytes of a file, as a square of `size` by `size` pixels.

    fit="crop" takes the middle square; "pad" scales the whole picture to fit and puts it in the middle of black, as Keras does;
    "stretch" scales the whole picture without keeping its proportions.
    It is turned as its EXIF data say, transparent parts are laid over white, and an animation gives its first frame. Whole
    numbers of 16 bits become 8; floats are taken to end at 1, 255 or 65,535, whichever is the first that holds all of them.
    Shapes: (channels, size, size); channels is 1 for grey or 3 for red, green and blue.
    Raises: PictureError if it cannot be read, or has more pixels than Pillow holds to be safe.
    """
    data = source if isinstance(source, bytes) else read_file(source)
    if not data:
        raise PictureError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of odd metadata; that a picture is too large is checked below
        try:
            with _opened(data) as image:
                return _pixels(image, size, channels, fit)
        except PictureError:
            raise
        except UnidentifiedImageError:
            raise PictureError("not a picture, or broken from its first bytes on") from None
        except Image.DecompressionBombError:
            raise PictureError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
        except Exception as error:  # a broken file can bring up anything in Pillow
            raise PictureError(_reason(error)) from None


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises: PictureError if it cannot be read, or is a pipe, which might be waited for in vain.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise PictureError("a pipe or device and not a file")
        if status.st_size == 0:  # nor is there an end to some files of /proc, which have no size
            return b""
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise PictureError((getattr(error, "strerror", None) or str(error)).lower()) from None


@cache
def picture_endings() -> frozenset[str]:
    """The endings, in lower case and with their dot, of the names that pictures have."""
    formats = set(_formats())
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_DRAWN)


def _opened(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(BytesIO(data), formats=_FIRST)
    except UnidentifiedImageError:
        return Image.open(BytesIO(data), formats=_formats())


def _pixels(image: ImageFile.ImageFile, size: int, channels: int, fit: Fit) -> NDArray[np.uint8]:
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise PictureError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels")
    # A large JPEG is decoded at a half, a quarter or an eighth, of 1.5 times the size or more: this differs from scaling at
    # once by about 1 of 255. Below, a large picture is scaled in two steps, the first one rough, which cannot be told.
    image.draft(None, (size * 3 // 2, size * 3 // 2))
    image.load()
    _turn_upright(image)
    mode = "RGB" if channels == 3 else "L"
    square = SQUARES[fit](_as_8_bit(image, mode), size)
    planes = bytearray().join(square.tobytes("raw", band) for band in mode)  # three times as fast as to transpose an array
    return np.frombuffer(planes, np.uint8).reshape(channels, size, size)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text.lower():
        return "cut short"
    return text if text and text.isprintable() else f"broken: {type(error).__name__}"


def _turn_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # metadata that make no sense do not make the pixels worse
        ImageOps.exif_transpose(image, in_place=True)


def _as_8_bit(image: Image.Image, mode: str) -> Image.Image:
    if image.mode[0] in "IF":
        image = in_8_bits(image)
    if image.mode == "LAB":
        image = image.convert("RGB")  # from which Pillow goes on to grey
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(above)
    return image if image.mode == mode else image.convert(mode)


def in_8_bits(image: Image.Image) -> Image.Image:
    """A grey picture of whole numbers of 16 bits, or of floats that end at 1, 255 or 65,535."""
    values = np.nan_to_num(np.asarray(image, np.float64), nan=0, posinf=0, neginf=0)
    whites = (1, 255, 65_535) if image.mode == "F" else (65_535,)
    white = next((white for white in whites if values.max() <= white), values.max())
    return Image.fromarray((values * (255 / white)).clip(0, 255).round().astype(np.uint8))


def cropped(image: Image.Image, size: int) -> Image.Image:
    """The middle square of a picture, scaled to `size` by `size` pixels."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    if side == size:  # only the edges are cut off: whole pixels, so that nothing is blurred
        left, top = int(left), int(top)
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=3)


def padded(image: Image.Image, size: int) -> Image.Image:
    """A whole picture, scaled to fit into `size` by `size` pixels, in the middle of black."""
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    square = Image.new(image.mode, (size, size))
    scaled = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3)
    square.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return square


def stretched(image: Image.Image, size: int) -> Image.Image:
    """A whole picture, scaled to `size` by `size` pixels without keeping its proportions."""
    return image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3)


SQUARES: dict[Fit, Callable[[Image.Image, int], Image.Image]] = {"crop": cropped, "pad": padded, "stretch": stretched}
