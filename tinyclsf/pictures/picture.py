"""One picture, in whatever form a person has it, to a square of uint8 pixels."""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch.nn import functional as F

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
    with without_warnings():
        return read_bytes(data, size, channels, fit)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Pass over those of Pillow about odd metadata. The filters are of the whole process: this is not for its threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_bytes(data: bytes, size: int, channels: int, fit: Fit) -> NDArray[np.uint8]:
    """What `read_picture` gives for the bytes of a file, with the warnings of Pillow."""
    if not data:
        raise PictureError("empty file")
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
    # A large JPEG is decoded at a half, a quarter or an eighth: each of its pixels is then a mean of those it stands for.
    image.draft(None, (3 * size // 2, 3 * size // 2))
    image.load()
    _turn_upright(image)
    pixels = np.asarray(_as_8_bit(image, "RGB" if channels == 3 else "L"))
    square = SQUARES[fit](pixels.reshape(*pixels.shape[:2], channels), size)
    return square.transpose(2, 0, 1).copy()


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
        image = Image.fromarray(_scaled_to_255(np.asarray(image)))
    if image.mode == "LAB":
        image = image.convert("RGB")  # from which Pillow goes on to grey
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(above)
    return image if image.mode == mode else image.convert(mode)


def _scaled_to_255(values: NDArray[Any]) -> NDArray[np.uint8]:
    is_float = values.dtype.kind == "f"
    values = np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)
    largest = values.max()
    white = next((white for white in ((1, 255, 65_535) if is_float else (65_535,)) if largest <= white), largest)
    return (values * (255 / white)).clip(0, 255).round().astype(np.uint8)


def cropped(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle square of a picture, scaled to `size` by `size` pixels."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return scaled(pixels[top : top + side, left : left + side], size, size)


def padded(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A whole picture, scaled to fit into `size` by `size` pixels, in the middle of black."""
    height, width = (max(1, round(side * size / max(pixels.shape[:2]))) for side in pixels.shape[:2])
    top, left = (size - height) // 2, (size - width) // 2
    square = np.zeros((size, size, pixels.shape[2]), np.uint8)
    square[top : top + height, left : left + width] = scaled(pixels, height, width)
    return square


def stretched(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A whole picture, scaled to `size` by `size` pixels without keeping its proportions."""
    return scaled(pixels, size, size)


def scaled(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture, (h, w, c), at another size: each pixel is a weighted mean of those that it stands for."""
    if pixels.shape[:2] == (height, width):
        return pixels
    x = torch.from_numpy(pixels.copy()).unsqueeze(0).permute(0, 3, 1, 2)
    return F.interpolate(x, (height, width), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()


SQUARES: dict[Fit, Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]] = {
    "crop": cropped,
    "pad": padded,
    "stretch": stretched,
}
