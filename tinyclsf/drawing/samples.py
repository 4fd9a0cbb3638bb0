"""Pictures of a data set in a labelled grid, those that a model gets right and wrong told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinyclsf.drawing.style import (
    DPI,
    INK,
    PLAIN,
    RIGHT,
    WRONG,
    check_path,
    checked_axes,
    drawable,
    figure_of,
    has_screen,
    look,
    new_figure,
    save_figure,
    shortened,
    show_windows,
)
from tinyclsf.errors import ConfigurationError, DataError
from tinyclsf.machine.arguments import naming_arguments
from tinyclsf.machine.storage import StrPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 1.4  # of a picture, in inches
_GAP = 0.2
_LINE = 0.16  # from one line of a title to the next
LARGE = 100  # pixels a side: more are drawn smoothly, fewer as squares
_FLATTEST, _TALLEST = 0.25, 4.0  # height of a picture by its width


@naming_arguments
def show_samples(
    images: Any,
    labels: Any,
    class_names: Sequence[str],
    grid: tuple[int, int] = (3, 4),
    *,
    predictions: Any = None,
    out: StrPath | None = None,
    white: float | None = None,
) -> Path | None:
    """Show the first images with their class names in a grid, on the screen or in a file, and return the file's path.

    - `images`: (n, c, h, w) or (n, h, w), tensors or arrays.
    - `labels`: the class number of each image, (n,).
    - `class_names`: one for each class number.
    - `grid`: rows and columns.
    - `predictions`: the class numbers that a model predicted, (n,); right and wrong ones are marked.
    - `out`: the file to write; by default samples.png, if there is no screen.
    - `white`: the stored value of white; by default 255 for whole numbers and 1 for floats in 0..1; other floats are stretched
      over all greys.
    Raises: DataError for images, labels or predictions that do not fit each other; ConfigurationError for a grid without cells,
    or an `out` that does not end in .png, .svg or .pdf; StorageError if the file cannot be written.
    """
    path = None if out is None else Path(out)
    if path is not None:
        check_path(path)
    if len(grid) != 2 or not all(isinstance(size, int) and 1 <= size <= 99 for size in grid):
        raise ConfigurationError(f"grid is {grid}; wanted rows and columns, each 1 to 99, as (3, 4)")
    rows, columns = grid
    pixels = _checked_images(images)
    true = _class_numbers("label", labels, len(pixels), class_names)
    taken = None if predictions is None else _class_numbers("prediction", predictions, len(pixels), class_names)
    count = min(rows * columns, len(pixels))
    names = [drawable(str(class_names[label])) for label in true[:count]]
    marks: list[bool | None] = [None] * count
    if taken is not None:
        marks = [bool(right) for right in (taken == true)[:count]]
        guesses = [drawable(str(class_names[guess])) for guess in taken[:count]]
        names = [name if right else f"{guess}\nis {name}" for name, guess, right in zip(names, guesses, marks, strict=True)]
    window = path is None and has_screen()
    figure = draw_samples(pixels[:count], names, columns=columns, marks=marks, white=white, window=window)
    if window:
        show_windows()
        return None
    written = save_figure(figure, path or Path("samples.png"))
    if path is None:
        print(f"picture  {written}")
    return written


def draw_samples(
    images: Any,
    titles: Sequence[str],
    *,
    columns: int,
    marks: Sequence[bool | None] | None = None,
    white: float | None = None,
    window: bool = False,
    axes: Any = None,
) -> Figure:
    """A figure of images with a title above each, of one line or several, cut where it is too long.

    - `images`: (n, c, h, w) or (n, h, w), at least one.
    - `titles`: one for each image.
    - `columns`: images in a row.
    - `marks`: for each image whether it is right (a tick, a solid blue frame), wrong (a cross, a dashed orange frame), or None.
    - `white`: as `show_samples` has it.
    - `window`: the figure is for a window, so it is pyplot's.
    - `axes`: one for each image, to draw into; without them a new figure.
    """
    pictures = as_pictures(images, white)
    marks = marks or [None] * len(pictures)
    tall, wide = pictures.shape[1:3]
    with look():
        if axes is None:
            most = max(title.count("\n") + 1 for title in titles)
            axes = _grid(len(pictures), min(columns, len(pictures)), tall / wide, most, window=window)
        axes = checked_axes(axes, titles)
        for ax, picture, title, mark in zip(axes, pictures, titles, marks, strict=True):
            smooth = max(tall, wide) > LARGE
            ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="antialiased" if smooth else "none")
            ax.set(xticks=[], yticks=[])
            _frame(ax, mark)
            sign = {True: "✓ ", False: "✗ ", None: ""}[mark]
            lines = [shortened(line, _WIDTH + _GAP / 2) for line in f"{sign}{title}".split("\n")]
            ax.set_title("\n".join(lines), pad=4, **PLAIN)
    return figure_of(axes[0])


def _grid(number: int, columns: int, proportion: float, lines: int, *, window: bool) -> list[Axes]:
    """The axes of a new figure, for pictures of a proportion of height to width, with so many lines above each."""
    rows = math.ceil(number / columns)
    height = round(_WIDTH * min(max(proportion, _FLATTEST), _TALLEST) * DPI) / DPI  # as all sizes here, whole pixels of a file
    head = _LINE * lines + 0.06
    figure_width, figure_height = columns * (_WIDTH + _GAP) + _GAP, rows * (height + head + _GAP) + _GAP / 2
    figure = new_figure(figure_width, figure_height, label="labelled images", window=window)
    axes = []
    for at in range(number):
        left = _GAP + (at % columns) * (_WIDTH + _GAP)
        bottom = figure_height - (at // columns + 1) * (height + head + _GAP) + _GAP / 2
        place = left / figure_width, bottom / figure_height, _WIDTH / figure_width, height / figure_height
        axes.append(figure.add_axes(place))
    return axes


def as_pictures(images: Any, white: float | None = None) -> NDArray[np.uint8]:
    """Images as pictures are drawn: (n, h, w) in grey, or (n, h, w, 3) in colour, of 0..255.

    Shapes: images (n, c, h, w) or (n, h, w), tensors or arrays; of four channels or more the first three, of two their mean.
    Units: `white` as `show_samples` has it.
    """
    array = _as_array(images)
    values = np.nan_to_num(array.astype(np.float32))
    if values.ndim == 4:
        channels = values.shape[1]
        values = np.moveaxis(values[:, :3], 1, -1) if channels >= 3 else values.mean(axis=1)
    black, white = (0.0, white) if white else _range(values, array.dtype)
    scaled: NDArray[np.float32] = np.rint((values - black) / (white - black) * 255).clip(0, 255)
    return scaled.astype(np.uint8)


def _frame(ax: Any, mark: bool | None) -> None:
    colour = {True: RIGHT, False: WRONG, None: INK}[mark]
    ax.spines[:].set(visible=True, color=colour, linewidth=0.6 if mark is None else 2, linestyle="--" if mark is False else "-")


def _as_array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def _range(values: NDArray[np.float32], dtype: np.dtype[Any]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if dtype.kind in "bf" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if dtype.kind != "f" and low >= 0 and high <= 255:
        return 0.0, 255.0
    return (low, high) if high > low else (low, low + 1)


def _checked_images(images: Any) -> NDArray[Any]:
    array = _as_array(images)
    wanted = "wanted (n, channels, height, width) or (n, height, width)"
    if array.ndim not in (3, 4) or array.dtype.kind not in "buif":
        raise DataError(f"images are {array.dtype} of shape {array.shape}; {wanted}, of numbers")
    if len(array) == 0:
        raise DataError("there are no images; wanted at least one")
    if 0 in array.shape:
        raise DataError(f"images are of shape {array.shape} and so have no pixels; {wanted}")
    if array.ndim == 4 and array.shape[1] > 4 and array.shape[3] in (1, 3, 4):
        raise DataError(
            f"images are of shape {array.shape}, channels last; {wanted}: move them with images.transpose(0, 3, 1, 2)"
        )
    return array


def _class_numbers(what: str, numbers: Any, images: int, class_names: Sequence[str]) -> NDArray[Any]:
    array = _as_array(numbers)
    if array.ndim != 1 or (array.dtype.kind not in "ui" and len(array)):
        raise DataError(f"{what}s are {array.dtype} of shape {array.shape}; wanted a class number for each image, (n,)")
    if len(array) != images:
        raise DataError(f"there are {len(array):,} {what}s for {images:,} images; wanted one for each")
    outside = np.flatnonzero((array < 0) | (array >= len(class_names)))
    if len(outside):
        at = outside[0]
        raise DataError(
            f"{what} {at} is {array[at]} and there are {len(class_names)} class names; wanted 0 to {len(class_names) - 1}"
        )
    return array
