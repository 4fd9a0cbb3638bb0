"""Every picture that is drawn, and here the charts of a trained model: its curves, its confusions and its reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinyclsf.drawing.samples import draw_samples
from tinyclsf.drawing.style import (
    INK,
    PLAIN,
    POINTS,
    RIGHT,
    WRONG,
    add_title,
    checked_axes,
    figure_of,
    look,
    new_figure,
    save_figure,
    settle,
    shortened,
    text_width,
)
from tinyclsf.metrics import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tinyclsf.metrics import Bin

__all__ = [
    "add_title",
    "draw_confusion",
    "draw_curves",
    "draw_reliability",
    "draw_samples",
    "draw_single_curves",
    "save_figure",
]

_PANELS = {"train loss": "train_loss", "validation loss": "valid_loss", "validation accuracy": "valid_accuracy"}
# Their numbers have no common factor, so that many lines are all different.
_COLOURS = (RIGHT, WRONG, "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)))
_MOST_TICKED = 10  # epochs that each have a tick
_LINES_A_ROW = 3  # of the legend
_STRONGEST = 0.75  # of a cell's colour: a number in it can still be read in dark and in light ink
_MOST_NUMBERED = 15  # classes whose cells have room for numbers
_MOST_NAMED = 100  # classes that are all named along an axis
_MOST_CELLS = 1_000  # along an axis: each has two dots or more
_MOST_LEVEL = 10  # bars that have room for a number written level
_LONGEST_NAME = 1.6  # inches


def draw_curves(runs: Mapping[str, Sequence[Epoch]], *, axes: Any = None) -> Figure:
    """Train loss, validation loss and validation accuracy by epoch, a line for each run.

    What is no finite number is a gap in the line; where no run has an accuracy there is no plot of it.
    axes: as many as there are plots, to draw into; without them a new figure.
    """
    panels = _known_panels(runs)
    rows = math.ceil(len(runs) / _LINES_A_ROW) if len(runs) > 1 else 0
    width, height = 3.4 * len(panels), 2.9 + 0.2 * rows
    with look():
        figure = None if axes is not None else new_figure(width, height, label="losses and accuracy by epoch", fitted=True)
        if figure is not None:
            axes = figure.subplots(1, len(panels))
        for ax, title in zip(checked_axes(axes, panels), panels, strict=True):
            lines = _draw_panel(ax, title, runs)
        if rows:
            place: Any = {"loc": "best"} if figure is None else {"loc": "outside lower center", "ncols": _LINES_A_ROW}
            legend = (figure or ax).legend(lines, [" "] * len(lines), frameon=False, handlelength=4, **place)
            for text, name in zip(legend.get_texts(), runs, strict=True):
                text.set(text=shortened(name, width / _LINES_A_ROW - 1), **PLAIN)
        if figure is not None:
            settle(figure)
    return figure_of(ax)


def draw_single_curves(runs: Mapping[str, Sequence[Epoch]]) -> list[Figure]:
    """What `draw_curves` draws beside each other as figures of their own, and without the names of the runs."""
    figures = []
    with look():
        for title in _known_panels(runs):
            figures.append(new_figure(3.4, 2.6, label=f"{title} by epoch", fitted=True))
            _draw_panel(figures[-1].subplots(), title, runs)
            settle(figures[-1])
    return figures


def draw_confusion(confusion: Sequence[tuple[int, int, int]], classes: Sequence[str], *, ax: Axes | None = None) -> Figure:
    """How many images of each true class (row) were taken for each class (column); the colour is their share of the row.

    Of more than 1,000 classes, several that follow each other share a row and a column. Where these cross, what is wrong among
    them is not shown.
    confusion: true class, predicted class and number of images, for each pair of classes that has any.
    ax: where to draw; without it a new figure, which has a key to the colours too.
    """
    number = len(classes)
    every, together = range(0, number, math.ceil(number / _MOST_NAMED)), math.ceil(number / _MOST_CELLS)
    names = [shortened(classes[at], _LONGEST_NAME) for at in every]
    cell = 0.45 if number <= _MOST_NUMBERED else max(0.14, 6.5 / number) if number <= _MOST_NAMED else 14 / number
    side, size = max(cell * number, 1.5), min(9.0, POINTS * 0.8 * max(cell, 0.14))
    margin = max(text_width(name, size) for name in names) + 0.45
    width, height = margin + side + 1.15, margin + side + 0.15
    with look():
        if ax is None:
            figure = new_figure(width, height, label="confusion matrix: true classes against predicted ones")
            ax = figure.add_axes((margin / width, margin / height, side / width, side / height))
            _draw_key(figure, (margin + side + 0.2) / width, margin / height, 0.24 / width, min(side, 3) / height)
        cells = _cells(np.array(confusion), number, together)
        end = len(cells) * together - 0.5
        ax.imshow(cells, interpolation="none", extent=(-0.5, end, end, -0.5))
        upright = max(text_width(name, size) for name in names) > 0.9 * cell
        turned: Any = {"rotation": 90, "rotation_mode": "anchor", "ha": "right", "va": "center"} if upright else {}
        ax.set_xticks(every, names, fontsize=size, **turned, **PLAIN)
        ax.set_yticks(every, names, fontsize=size, **PLAIN)
        ax.tick_params(length=0)
        per_cell = f", {together} to a cell" if together > 1 else ""
        ax.set_xlabel(f"predicted class{per_cell}")
        ax.set_ylabel(f"true class{per_cell}")
        ax.spines[:].set(visible=True, alpha=0.5)
        if number <= _MOST_NUMBERED:
            for row, column, images in confusion:
                ax.text(column, row, str(images), ha="center", va="center", fontsize=8)
    return figure_of(ax)


def draw_reliability(bins: Sequence[Bin], *, axes: Any = None) -> Figure:
    """Above, how often the model is right by how sure it is, beside the dashed line of a well calibrated one; below,
    how many images there are.

    axes: the two to draw into; without them a new figure.
    """
    filled = [each for each in bins if each.images]
    low, across = [each.low for each in filled], [each.high - each.low for each in filled]
    accuracies = [each.accuracy or 0.0 for each in filled]
    with look():
        figure = None if axes is not None else new_figure(4.4, 4.9, label="accuracy and images by confidence", fitted=True)
        if figure is not None:
            axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above, below = checked_axes(axes, ("accuracy", "images"))
        above.bar(low, accuracies, across, align="edge", color=(RIGHT, 0.3), edgecolor=RIGHT)
        above.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="well calibrated")
        confidences = [each.confidence or 0.0 for each in filled]
        above.plot(confidences, accuracies, color=INK, marker="o", linestyle="", markersize=4, label="mean confidence")
        # Above the plot, as a bar may be anywhere in it.
        above.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        below.bar(low, [each.images for each in filled], across, align="edge", color=(INK, 0.3), edgecolor=INK)
        below.set(xlabel="confidence", ylabel="images", xlim=(0, 1))
        for each in filled:
            place = (each.low + each.high) / 2, each.images
            text: Any = {"ha": "center", "va": "bottom", "fontsize": 7, "rotation": 90 if len(bins) > _MOST_LEVEL else 0}
            below.annotate(f"{each.images:,}", place, (0, 2), textcoords="offset points", **text)
        below.yaxis.set_major_formatter("{x:,.0f}")
        for ax in (above, below):
            ax.xaxis.set_major_formatter(_percent)
            ax.grid(True, axis="y")
            ax.set_axisbelow(True)
        above.yaxis.set_major_formatter(_percent)
        if figure is not None:
            settle(figure)
    return figure_of(above)


def _known_panels(runs: Mapping[str, Sequence[Epoch]]) -> list[str]:
    known = any(row.valid_accuracy is not None for history in runs.values() for row in history)
    return [title for title in _PANELS if known or title != "validation accuracy"]


def _draw_panel(ax: Axes, title: str, runs: Mapping[str, Sequence[Epoch]]) -> list[Any]:
    lines = []
    styles = zip(cycle(_COLOURS), cycle(_MARKERS), cycle(_DASHES), strict=False)
    for history, (colour, marker, dash) in zip(runs.values(), styles, strict=False):
        values = [getattr(row, _PANELS[title]) for row in history] or [None]
        finite = [value if value is not None and math.isfinite(value) else math.nan for value in values]
        every = max(1, len(history) // 8)
        lines += ax.plot(
            [row.epoch for row in history] or [1],
            finite,
            color=colour,
            marker=marker,
            linestyle=dash,
            markevery=every,
            markersize=4,
        )
    ax.set_title(title)
    ax.set_xlabel("epoch")
    ax.grid(True)
    epochs = [row.epoch for history in runs.values() for row in history] or [1]
    first, last = min(epochs), max(epochs)
    space = max(0.5, 0.03 * (last - first))  # for the markers
    ax.set_xlim(max(first - space, 0.1), last + space)
    if last - first < _MOST_TICKED:
        ax.set_xticks(range(first, last + 1))
    else:
        ax.locator_params(axis="x", integer=True)
    if title == "validation accuracy":
        ax.yaxis.set_major_formatter(_percent)
    return lines


def _cells(confusion: NDArray[np.int64], number: int, together: int) -> NDArray[np.float64]:
    (true, guess, images), side = confusion.T, math.ceil(number / together)
    rows, columns = true // together, guess // together
    totals = np.bincount(rows, images, side)
    shown = (true == guess) | (rows != columns)
    counts = np.bincount((rows * side + columns)[shown], images[shown], side**2).reshape(side, side)
    shares = counts / np.maximum(totals, 1)[:, None]
    right = np.eye(side, dtype=bool)
    return np.where(right[..., None], _tinted(shares, RIGHT), _tinted(shares, WRONG))


def _tinted(shares: NDArray[np.float64], colour: str) -> NDArray[np.float64]:
    rgb = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return np.stack([*(np.full_like(shares, part) for part in rgb), _STRONGEST * shares**0.4], axis=-1)


def _draw_key(figure: Figure, left: float, bottom: float, width: float, height: float) -> None:
    shares = np.linspace(0, 1, 101)[:, None]
    ax = figure.add_axes((left, bottom, width, height))
    ax.imshow(
        np.concatenate([_tinted(shares, RIGHT), _tinted(shares, WRONG)], axis=1),
        interpolation="none", origin="lower", aspect="auto", extent=(0, 2, 0, 1),
    )  # fmt: skip
    ax.set_xticks([0.5, 1.5], ["right", "wrong"], rotation=90)
    ax.set_yticks([0, 0.1, 0.25, 0.5, 1])
    ax.yaxis.set_major_formatter(_percent)
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.set_ylabel("share of the true class")
    ax.tick_params(length=0)
    ax.spines[:].set(visible=True, alpha=0.5)


def _percent(share: float, _: object) -> str:
    return f"{share * 100:.6g} %"
