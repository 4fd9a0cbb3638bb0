"""Labelled grids of images: the pixels that are shown, the words and frames around them, and where they go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tinyclsf.drawing.samples import as_pictures, draw_samples, show_samples
from tinyclsf.drawing.style import INK, RIGHT, WRONG
from tinyclsf.errors import ConfigurationError, DataError, StorageError

WAYS = """
import sys
import numpy as np
import matplotlib
from tinyclsf.drawing.samples import show_samples

grey = np.zeros((1, 4, 4))
for backend in ("agg", "tkagg", "module://screen"):
    matplotlib.use(backend, force=False)
    matplotlib.rcParams["backend"] = backend
    print(backend, show_samples(grey, [0], ["a"]))
print(show_samples(grey, [0], ["a"], out="given.png"))
"""
SCREEN = """
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

class Manager(FigureManagerBase):
    @classmethod
    def pyplot_show(cls, *, block=None):
        from matplotlib import pyplot
        print("shown:", [ax.get_title() for ax in pyplot.gcf().axes])

class FigureCanvas(FigureCanvasAgg):
    manager_class = Manager
"""


def shown(figure: Figure) -> list[Any]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes]


def texts(path: Path) -> list[str | None]:
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_pixels_are_shown_as_they_are() -> None:
    grey = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 1, 5, 4)
    for images in (grey, grey[:, 0], torch.from_numpy(grey), grey.astype(np.int64)):
        first, second = shown(draw_samples(images, ["a", "b"], columns=2))
        np.testing.assert_array_equal(first, grey[0, 0])
        np.testing.assert_array_equal(second, grey[1, 0])
    ax = draw_samples(grey, ["a", "b"], columns=2).axes[0]
    assert (ax.images[0].get_cmap().name, ax.images[0].get_clim()) == ("gray", (0, 255))
    colour = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(1, 6, 5, 4)
    np.testing.assert_array_equal(as_pictures(colour[:, :3])[0], colour[0, :3].transpose(1, 2, 0))
    np.testing.assert_array_equal(as_pictures(colour)[0], colour[0, :3].transpose(1, 2, 0))  # of more, the first three
    np.testing.assert_array_equal(as_pictures(colour[:, :2])[0], colour[0, :2].mean(0).round())


def test_floats_are_shown_by_what_white_is() -> None:
    def greys(values: list[float], white: float | None = None) -> list[int]:
        found: list[int] = as_pictures(np.array(values).reshape(1, 1, -1), white)[0, 0].tolist()
        return found

    assert greys([0.0, 0.2, 0.8]) == [0, 51, 204]
    assert greys([0.0, 51.0, 100.0]) == [0, 130, 255]
    assert greys([0.0, 51.0, 100.0], 255.0) == [0, 51, 100]
    assert greys([-1.0, 0.2, 1.0]) == [0, 153, 255]
    assert greys([0.0, 0.5, 2.0], 1.0) == [0, 128, 255]
    assert greys([np.nan, 0.2, 1.0]) == [0, 51, 255]
    assert greys([7.5, 7.5]) == [0, 0]
    half = torch.full((1, 1, 2, 2), 0.2, dtype=torch.bfloat16, requires_grad=True)
    assert as_pictures(half).tolist() == [[[51, 51], [51, 51]]]


def test_right_and_wrong_are_told_by_sign_line_and_colour() -> None:
    figure = draw_samples(np.zeros((3, 4, 4)), ["cat", "dog\nis $cat_", "cow"], columns=3, marks=[True, False, None])
    assert [ax.get_title() for ax in figure.axes] == ["✓ cat", "✗ dog\nis $cat_", "cow"]
    frames = [ax.spines["left"] for ax in figure.axes]
    assert [to_hex(frame.get_edgecolor()) for frame in frames] == [RIGHT, WRONG, INK]
    assert [frame.get_linestyle() for frame in frames] == ["-", "--", "-"]
    assert not any(ax.title.get_parse_math() for ax in figure.axes)


def test_small_images_are_squares_and_large_ones_smooth() -> None:
    for size, interpolation in ((100, "none"), (101, "auto")):
        ax = draw_samples(np.zeros((1, size, 3)), ["a"], columns=1).axes[0]
        assert ax.images[0].get_interpolation().replace("antialiased", "auto") == interpolation


@pytest.mark.parametrize("shape", [(28, 28), (10, 100), (100, 10), (1, 1)])
def test_cells_and_their_titles_do_not_overlap(shape: tuple[int, int]) -> None:
    names = ["a name that is much too long", "another\nof them, on two lines"] * 3
    figure = draw_samples(np.zeros((6, *shape)), names, columns=3, marks=[False] * 6)
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    for at, box in enumerate(boxes):
        assert box is not None
        assert not any(box.overlaps(other) for other in boxes[:at] if other is not None)
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0)
        assert figure.bbox.containsy(box.y1)
    tops = [ax.get_position().y1 for ax in figure.axes]
    lefts = [ax.get_position().x0 for ax in figure.axes]
    assert tops[0] == tops[2] > tops[3] == tops[5]  # row by row
    assert lefts[0] == lefts[3] < lefts[1] == lefts[4]


def test_images_are_drawn_into_axes_that_are_given() -> None:
    figure = Figure()
    axes = figure.subplots(1, 3)
    assert draw_samples(np.zeros((2, 4, 4)), ["a", "b"], columns=2, axes=axes[1:]) is figure
    assert [ax.get_title() for ax in axes] == ["", "a", "b"]


def test_a_grid_is_written_with_names_and_predictions(tmp_path: Path) -> None:
    images, labels = torch.zeros(5, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 2, 0, 1])
    classes = ["cat", "a\nb", "<cow>"]
    assert show_samples(images, labels, classes, (2, 2), out=str(tmp_path / "a.svg")) == tmp_path / "a.svg"
    assert texts(tmp_path / "a.svg") == ["cat", "a\N{REPLACEMENT CHARACTER}b", "<cow>", "cat"]
    show_samples(images, labels, classes, (2, 2), predictions=np.array([0, 1, 0, 2, 0]), out=tmp_path / "a.svg")
    assert texts(tmp_path / "a.svg") == ["✓ cat", "✓ a\N{REPLACEMENT CHARACTER}b", "✗ cat", "is <cow>", "✗ <cow>", "is cat"]
    show_samples(images[:1], labels[:1], classes, (9, 9), out=tmp_path / "a.svg")
    assert texts(tmp_path / "a.svg") == ["cat"]
    with pytest.raises(StorageError, match="give a name in a folder that can be written to"):
        show_samples(images, labels, classes, out=tmp_path / "no" / "a.svg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 1, 4, 4))}, "there are no images; wanted at least one"),
        (
            {"images": np.zeros((4, 4))},
            "images are float64 of shape (4, 4); wanted (n, channels, height, width) or (n, height, width), of numbers",
        ),
        (
            {"images": np.zeros((3, 0, 4, 4))},
            "images are of shape (3, 0, 4, 4) and so have no pixels; wanted (n, channels, height, width) or (n, height, width)",
        ),
        (
            {"images": np.zeros((3, 28, 28, 3))},
            "images are of shape (3, 28, 28, 3), channels last; wanted (n, channels, height, width) or (n, height, width): "
            "move them with images.transpose(0, 3, 1, 2)",
        ),
        ({"labels": [0, 1]}, "there are 2 labels for 3 images; wanted one for each"),
        ({"labels": [0, 1, 2]}, "label 2 is 2 and there are 2 class names; wanted 0 to 1"),
        ({"labels": [0, -1, 1]}, "label 1 is -1 and there are 2 class names; wanted 0 to 1"),
        ({"labels": [0.0, 1.0, 1.0]}, "labels are float64 of shape (3,); wanted a class number for each image, (n,)"),
        (
            {"predictions": np.zeros((3, 2))},
            "predictions are float64 of shape (3, 2); wanted a class number for each image, (n,)",
        ),
        ({"predictions": [0, 1]}, "there are 2 predictions for 3 images; wanted one for each"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    given = {"images": np.zeros((3, 1, 4, 4)), "labels": [0, 1, 1], "class_names": ["a", "b"], "out": tmp_path / "a.png"}
    with pytest.raises(DataError) as error:
        show_samples(**{**given, **change})
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("grid", [(0, 4), (3,), (2.5, 1), (1, 100)])
def test_a_grid_has_whole_rows_and_columns(grid: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        show_samples(np.zeros((1, 4, 4)), [0], ["a"], grid, out="a.png")
    assert str(error.value) == f"grid is {grid}; wanted rows and columns, each 1 to 99, as (3, 4)"


def test_without_a_screen_it_is_a_file_and_else_a_window(tmp_path: Path) -> None:
    (tmp_path / "screen.py").write_text(SCREEN)
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}
    found = subprocess.run(
        [sys.executable, "-c", WAYS],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**hidden, "PYTHONPATH": "."},
    )
    assert found.stderr == ""
    assert found.stdout.splitlines() == [
        *("picture  samples.png", "agg samples.png"),
        *("picture  samples.png", "tkagg samples.png"),
        *("shown: ['a']", "module://screen None"),
        "given.png",
    ]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["given.png", "samples.png"]
