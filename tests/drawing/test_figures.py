"""The charts: the numbers that they show, that lines and cells can be told apart, and that nothing is cut off."""

from __future__ import annotations

import math
import pickle
import sys
from types import ModuleType
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tinyclsf.drawing.figures import add_title, draw_confusion, draw_curves, draw_reliability, draw_samples
from tinyclsf.drawing.style import RIGHT, WRONG, as_svg, look
from tinyclsf.errors import ConfigurationError
from tinyclsf.metrics import Bin, Epoch

LONG = "a run of so long a name that there is no room for it anywhere at all in a figure of this size"


def history(*accuracies: float | None, first: int = 1) -> list[Epoch]:
    return [Epoch(epoch, 1 / epoch, 2 / epoch, accuracy, 1.0) for epoch, accuracy in enumerate(accuracies, first)]


def data(line: Any) -> tuple[list[float], list[float]]:
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def assert_whole(figure: Figure) -> None:
    """Everything that is drawn lies within the figure."""
    with look():
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
        box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


def test_curves_show_losses_and_accuracy_by_epoch() -> None:
    figure = draw_curves({"_a $x$": history(0.5, 0.75), "b": history(0.25, None, 0.5, first=4)})
    train, valid, accuracy = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["train loss", "validation loss", "validation accuracy"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch"] * 3
    assert [data(line) for line in train.lines] == [([1, 2], [1, 0.5]), ([4, 5, 6], [1 / 4, 1 / 5, 1 / 6])]
    assert [data(line) for line in valid.lines] == [([1, 2], [2, 1]), ([4, 5, 6], [2 / 4, 2 / 5, 2 / 6])]
    assert data(accuracy.lines[0]) == ([1, 2], [0.5, 0.75])
    np.testing.assert_equal(accuracy.lines[1].get_ydata(), [0.25, math.nan, 0.5])
    assert accuracy.yaxis.get_major_formatter()(0.975, 0) == "97.5 %"
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["_a $x$", "b"]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    assert_whole(figure)


def test_curves_of_many_runs_are_all_different_without_their_colour() -> None:
    figure = draw_curves({f"{number} {LONG}": history(0.5, 0.75) for number in range(30)})
    lines = figure.axes[0].lines
    assert len({(line.get_marker(), str(line._dash_pattern), line.get_color()) for line in lines}) == 30  # type: ignore[attr-defined]
    assert len({(line.get_marker(), str(line._dash_pattern)) for line in lines}) == 30  # type: ignore[attr-defined]
    assert_whole(figure)


def test_epochs_are_whole_numbers() -> None:
    one = draw_curves({"a": history(0.5)})
    assert one.axes[0].get_xticks().tolist() == [1]
    assert one.axes[0].lines[0].get_marker() == "o"
    assert draw_curves({"a": history(*[0.5] * 5), "b": history(0.5)}).axes[0].get_xticks().tolist() == [1, 2, 3, 4, 5]
    many = draw_curves({"a": history(*[0.5] * 15)}).axes[0].get_xticks()
    assert many.tolist() == many.astype(int).tolist()
    assert one.legends == []  # a single line needs no name


def test_curves_without_accuracy_or_finite_numbers() -> None:
    figure = draw_curves({"a": [Epoch(1, math.inf, math.nan, None, 1.0), Epoch(2, 0.5, -math.inf, None, 1.0)]})
    assert [ax.get_title() for ax in figure.axes] == ["train loss", "validation loss"]
    np.testing.assert_equal(figure.axes[0].lines[0].get_ydata(), [math.nan, 0.5])
    np.testing.assert_equal(figure.axes[1].lines[0].get_ydata(), [math.nan, math.nan])
    assert_whole(figure)
    assert_whole(draw_curves({"a": []}))
    assert_whole(draw_curves({"a": [Epoch(1, 1e300, 1e-300, 0.0, 1.0)]}))


def test_a_confusion_matrix_has_numbers_and_colours_by_the_share_of_the_row() -> None:
    figure = draw_confusion([(0, 0, 3), (0, 1, 1), (2, 1, 8), (2, 2, 8)], ["$cat_", "dog", "cow"])
    ax = figure.axes[0]
    numbers = {text.get_position(): text.get_text() for text in ax.texts}
    assert numbers == {(0, 0): "3", (1, 0): "1", (1, 2): "8", (2, 2): "8"}  # (column, row)
    cells = np.asarray(ax.images[0].get_array())
    shares = np.array([[0.75, 0.25, 0], [0, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(cells[..., 3], 0.75 * shares**0.4)
    np.testing.assert_allclose(cells[0, 0, :3], to_rgb(RIGHT))
    np.testing.assert_allclose(cells[0, 1, :3], to_rgb(WRONG))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["$cat_", "dog", "cow"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["$cat_", "dog", "cow"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert_whole(figure)


@pytest.mark.parametrize("number", [2, 15, 16, pytest.param(101, marks=pytest.mark.stress)])
def test_a_confusion_matrix_of_any_size_can_be_read(number: int) -> None:
    figure = draw_confusion([(at, at, 1) for at in range(number)], [f"{at} {LONG}" for at in range(number)])
    ax = figure.axes[0]
    assert len(ax.texts) == (number if number <= 15 else 0)
    assert_whole(figure)
    for labels, side in ((ax.get_xticklabels(), "x"), (ax.get_yticklabels(), "y")):
        assert len(labels) == (number if number <= 100 else 51)
        starts = [getattr(label.get_window_extent(), f"{side}0") for label in labels]
        ends = [getattr(label.get_window_extent(), f"{side}1") for label in labels]
        pairs = zip(ends, starts[1:], strict=False) if side == "x" else zip(ends[1:], starts, strict=False)
        assert all(end <= start for end, start in pairs)  # neighbours do not overlap


def test_where_there_are_very_many_classes_several_share_a_cell() -> None:
    confusion = [(0, 0, 3), (1, 2, 1), (2, 1_000, 2), (2_000, 2_000, 4), (2_000, 0, 1)]  # three to a cell
    ax = draw_confusion(confusion, [str(at) for at in range(2_001)]).axes[0]
    (image,) = ax.images
    shares = np.zeros((667, 667))
    shares[0, 0], shares[0, 333], shares[666, 666], shares[666, 0] = 3 / 6, 2 / 6, 4 / 5, 1 / 5
    np.testing.assert_allclose(np.asarray(image.get_array())[..., 3], 0.75 * shares**0.4)
    assert tuple(image.get_extent()) == (-0.5, 2_000.5, 2_000.5, -0.5)  # ticks go by class
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class, 3 to a cell", "true class, 3 to a cell")
    assert [label.get_text() for label in ax.get_yticklabels()] == [str(at) for at in range(0, 2_001, 21)]


def test_reliability_shows_accuracy_confidence_and_the_number_of_images() -> None:
    bins = [
        Bin(0.0, 0.25, 0, None, None),
        Bin(0.25, 0.5, 4, 0.4, 0.25),
        Bin(0.5, 0.75, 0, None, None),
        Bin(0.75, 1.0, 12_345, 0.9, 0.0),
    ]
    figure = draw_reliability(bins)
    above, below = figure.axes
    bars: list[Any] = list(above.patches)
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in bars] == [(0.25, 0.25, 0.25), (0.75, 0.25, 0.0)]
    diagonal, points = above.lines
    assert data(diagonal) == ([0, 1], [0, 1])
    assert data(points) == ([0.4, 0.9], [0.25, 0.0])
    counts: list[Any] = list(below.patches)
    assert [(bar.get_x(), bar.get_height()) for bar in counts] == [(0.25, 4), (0.75, 12_345)]
    assert [text.get_text() for text in below.texts] == ["4", "12,345"]
    assert (above.get_ylabel(), below.get_xlabel(), below.get_ylabel()) == ("accuracy", "confidence", "images")
    assert_whole(figure)


def test_the_legend_of_the_reliability_lies_above_all_bars() -> None:
    bins = [Bin(at / 15, (at + 1) / 15, 9, (at + 0.5) / 15, 1.0) for at in range(15)]
    figure = draw_reliability(bins)
    above = figure.axes[0]
    legend = above.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= above.get_window_extent().y1
    assert_whole(figure)


def test_charts_are_drawn_into_axes_that_are_given() -> None:
    figure = Figure(figsize=(9, 9))
    axes = figure.subplots(2, 3)
    runs = {"a": history(0.5, 0.75), "_b": history(0.25)}
    assert draw_curves(runs, axes=axes[0]) is figure
    assert [ax.get_title() for ax in axes[0]] == ["train loss", "validation loss", "validation accuracy"]
    assert [text.get_text() for text in axes[0][2].get_legend().get_texts()] == ["a", "_b"]
    assert draw_confusion([(0, 0, 1)], ["a"], ax=axes[1][0]) is figure
    assert axes[1][0].get_xlabel() == "predicted class"
    assert draw_reliability([Bin(0.5, 1.0, 1, 0.75, 0.5)], axes=axes[1][1:]) is figure
    assert [ax.get_ylabel() for ax in axes[1][1:]] == ["accuracy", "images"]
    assert len(figure.axes) == 6
    with pytest.raises(ConfigurationError) as error:
        draw_curves(runs, axes=axes[1][0])
    assert str(error.value) == "there are 1 axes; wanted 3, for train loss, validation loss and validation accuracy"


def test_a_notebook_shows_a_figure_in_its_own_colours_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = draw_curves({"<b>&": history(0.5)})
    assert figure._repr_html_() == as_svg(figure)
    shown = ModuleType("IPython.display")
    given: list[Any] = []
    shown.display = lambda *args, **options: given.append((*args, options))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    figure._ipython_display_()  # type: ignore[attr-defined]
    assert given == [({"text/html": as_svg(figure), "text/plain": "<Figure size 1020x290 with 3 Axes>"}, {"raw": True})]
    assert pickle.loads(pickle.dumps(figure))._repr_html_() == as_svg(figure)


def test_a_notebook_shows_a_figure_of_much_as_a_photograph() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 224, 224), np.uint8)
    for figure in (draw_samples(images, ["<b>"] * 12, columns=4), draw_samples(images[:1, :, :64, :64], ["a"], columns=1)):
        shown = figure._repr_html_()
        assert shown is not None
        assert len(shown) < 300_000
        assert fromstring(shown).tag == ("img" if len(figure.axes) == 12 else "{http://www.w3.org/2000/svg}svg")


def test_losses_that_hardly_differ_are_written_whole() -> None:
    rows = [Epoch(epoch, 5.0175 + 1e-5 * epoch, 5.0175 - 1e-5 * epoch, 0.5, 1.0) for epoch in (1, 2, 3)]
    figure = draw_curves({"a": rows})
    assert_whole(figure)
    for ax in figure.axes[:2]:
        assert ax.yaxis.get_offset_text().get_text() == ""
        assert {label.get_text()[:4] for label in ax.get_yticklabels()} == {"5.01"}


@pytest.mark.parametrize(
    "figure", [draw_confusion([(0, 0, 3)], ["a"]), draw_samples(np.zeros((1, 4, 4)), ["3\nis 5"], columns=1)]
)
def test_a_title_is_put_above_all_and_moves_nothing(figure: Figure) -> None:
    def inches() -> list[Any]:
        return [ax.get_position().bounds * np.tile(figure.get_size_inches(), 2) for ax in figure.axes]

    before, height = inches(), figure.get_figheight()
    add_title(figure, "with --tta flip")
    np.testing.assert_allclose(inches(), before)
    assert_whole(figure)
    [title] = figure.texts
    assert title.get_text() == "with --tta flip"
    assert title.get_window_extent().y0 >= height * figure.dpi


def test_a_figure_is_the_same_whenever_it_is_drawn() -> None:
    reliability = draw_reliability([Bin(0.5, 1.0, 1, 0.75, 0.5)])
    for figure in (draw_curves({"a": history(0.5, 0.75), "b": history(0.5)}), draw_confusion([(0, 0, 1)], ["a"]), reliability):
        assert as_svg(figure) == as_svg(figure)


def test_reliability_with_many_bins_or_no_image() -> None:
    assert_whole(
        draw_reliability(
            [Bin(at / 15, (at + 1) / 15, 10**at, (at + 0.5) / 15, at / 15) for at in range(8)]
            + [Bin(14 / 15, 1.0, 1, 1.0, 1.0)]
        )
    )
    assert draw_reliability([Bin(0.0, 1.0, 0, None, None)]).axes[0].patches[:] == []
