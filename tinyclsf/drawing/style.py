"""The one door to matplotlib: how all figures look, and their way to a file, into a page or on a screen.

A figure is made without pyplot, which is imported only where a window is shown, and no global setting of matplotlib is changed.
"""

from __future__ import annotations

import html
import io
import math
import re
import warnings
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tinyclsf.errors import ConfigurationError, join_names
from tinyclsf.machine.storage import StrPath, check_target, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2328"  # what is drawn in no other colour; inside a page it becomes the colour of the page's text
# Blue and orange, which the colour-blind can tell; what they mark is never told by them alone.
RIGHT, WRONG = "#0072b2", "#d55e00"
PLAIN: Any = {"parse_math": False}  # for names, as a $ in them would start a formula
FAINT = 0.15
FORMATS = ("png", "svg", "pdf")
POINTS = 72  # an inch
DPI = 150

_LARGEST, _MOST_PIXELS = 150_000, 600_000  # letters of an SVG in a notebook, and pixels of what takes its place
_NO_DATE: Mapping[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
_FONT = "DejaVu Sans"
# They have the letters that DejaVu Sans, which matplotlib brings, lacks; those that are installed are used.
_FALLBACKS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "Microsoft YaHei", "Malgun Gothic", "Yu Gothic", "PingFang SC", "Hiragino Sans"),
    *("Apple SD Gothic Neo", "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji", "Segoe UI Emoji"),
)
_TITLE = 0.3  # inches
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@contextmanager
def look() -> Iterator[None]:
    """Draw, measure and save with one and the same settings, whatever a person's own are, and be silent on missing letters."""
    import matplotlib

    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    sizes = ("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    settings: Any = {
        **dict.fromkeys(ink, INK),
        **dict.fromkeys(sizes, "medium"),
        "axes.facecolor": "none",
        "axes.formatter.useoffset": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.family": _fonts(),
        "font.size": 9,
        "grid.alpha": FAINT,
        "pdf.fonttype": 42,
        "savefig.bbox": None,
        "savefig.facecolor": "auto",
        "svg.fonttype": "none",
        "svg.hashsalt": "tinyclsf",
        "text.usetex": False,
    }
    with matplotlib.rc_context(settings), _letters_may_be_missing():
        yield


def new_figure(width: float, height: float, *, label: str, fitted: bool = False, window: bool = False) -> Figure:
    """An empty figure of so many inches; the axes of a fitted one make room for their labels, one for a window is pyplot's.

    A notebook shows it by itself, in its own font and colour.
    """
    from matplotlib.figure import Figure

    settings: Any = {"figsize": (width, height), "label": label, "layout": "constrained" if fitted else None}
    if window:
        from matplotlib import pyplot

        figure: Figure = pyplot.figure(**settings)
    else:
        figure = Figure(**settings)
    figure._repr_html_ = partial(as_html, figure)  # type: ignore[method-assign]
    # IPython would add a PNG, of any size, as soon as pyplot was imported.
    figure._ipython_display_ = partial(_display, figure)  # type: ignore[attr-defined]
    return figure


def checked_axes(axes: Any, plots: Sequence[str]) -> list[Axes]:
    """Axes to draw into, one or several, as a list.

    Raises: ConfigurationError if they are not as many as there are plots.
    """
    import numpy as np

    found = list(np.ravel(axes))
    if len(found) != len(plots):
        raise ConfigurationError(f"there are {len(found)} axes; wanted {len(plots)}, for {join_names(plots)}")
    return found


def figure_of(ax: Axes) -> Figure:
    """The figure that axes are in."""
    figure = ax.get_figure(root=True)
    assert figure is not None  # but for axes that were removed
    return figure


def settle(figure: Figure) -> None:
    """Give the axes of a fitted figure their places for good; each drawing would move them by a little."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def drawable(text: str) -> str:
    """A name as a figure can show it: what cannot be printed is a replacement character."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def text_width(text: str, size: float = 9) -> float:
    """How wide a line of text will be, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_fonts(), size=size)
    with _letters_may_be_missing():
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / POINTS


def shortened(text: str, width: float, size: float = 9) -> str:
    """A line of text that is at most so many inches wide, cut with an ellipsis where it has to be."""
    text = drawable(text)
    if text_width(text, size) <= width:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if text_width(text[:middle].rstrip() + "…", size) <= width:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…"


def add_title(figure: Figure, title: str) -> None:
    """Put a line above all that is in a figure, which becomes so much higher."""
    width, height = figure.get_size_inches()
    whole = height + _TITLE
    for ax in figure.axes:
        left, bottom, across, up = ax.get_position().bounds
        ax.set_position((left, bottom * height / whole, across, up * height / whole))
    figure.set_size_inches(width, whole)
    with look():
        figure.text(0.1 / width, 1 - 0.08 / whole, title, va="top", **PLAIN)


def check_path(path: StrPath) -> str:
    """The format that a figure's file is to have, by the ending of its name: found before long work, not after it.

    Raises: ConfigurationError if figures are not written in such; StorageError if the file cannot be written.
    """
    ending = Path(path).suffix[1:].lower()
    if ending not in FORMATS:
        raise ConfigurationError(f"a figure cannot be written to {path}; wanted a name that ends in .png, .svg or .pdf")
    check_target(path)
    return ending


def save_figure(figure: Figure, path: StrPath) -> Path:
    """Write a figure to a file, whole or not at all, in the format that the ending names; the same figure gives the same bytes.

    Raises: ConfigurationError if it is none of png, svg and pdf; StorageError if it cannot be written.
    """
    form = check_path(path)
    content, target = _rendered(figure, form), Path(path)
    write_whole(target, lambda file: file.write(content))
    return target


def as_svg(figure: Figure) -> str:
    """A figure as an `<svg>` element for a page: as wide as there is room, in the page's font and colour, on no ground.

    Nothing in it reaches beyond it, neither ids nor styles, so that a page may hold many. The same figure gives the same text.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(_rendered(figure, "svg", transparent=True))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', ElementTree.tostring(root, "unicode")))
    prefix = f"f{zlib.crc32(ElementTree.tostring(root)):08x}-"
    for element in root.iter():
        for name, value in list(element.items()):
            element.set(name, _for_a_page(name, value, prefix))
        if element.get("id", "").removeprefix(prefix) not in used:
            element.attrib.pop("id", None)
    width = root.attrib.pop("width")
    root.attrib.pop("height")
    style = f"max-width: {width}; stroke-linejoin: round; stroke-linecap: butt"
    root.attrib.update({"width": "100%", "role": "img", "aria-label": drawable(str(figure.get_label())), "style": style})
    return ElementTree.tostring(root, "unicode")


def as_html(figure: Figure) -> str:
    """A figure for a notebook: as `as_svg` gives it, or a JPEG where many points or photographs would make that large."""
    svg = as_svg(figure)
    if len(svg) <= _LARGEST:
        return svg
    width, height = figure.get_size_inches()
    file = io.BytesIO()
    with look():
        figure.savefig(file, format="jpeg", dpi=min(DPI, math.sqrt(_MOST_PIXELS / (width * height))))
    url = f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
    return f'<img alt="{html.escape(str(figure.get_label()))}" src="{url}"/>'


def has_screen() -> bool:
    """Whether matplotlib has a window or a notebook to show a figure in."""
    from matplotlib import get_backend, pyplot

    try:
        if not pyplot.get_fignums():
            pyplot.switch_backend(get_backend())
    except ImportError:  # a backend that was asked for and finds no display
        return False
    return get_backend().lower() not in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def show_windows() -> None:
    """Show the figures that were made for windows."""
    from matplotlib import pyplot

    with look():
        pyplot.show()


def _display(figure: Figure) -> None:
    display = import_module("IPython.display").display  # which calls this, so it is there
    display({"text/html": as_html(figure), "text/plain": repr(figure)}, raw=True)


def _rendered(figure: Figure, form: str, **more: Any) -> bytes:
    file = io.BytesIO()
    with look():
        figure.savefig(file, format=form, dpi=DPI, metadata=_NO_DATE[form], **more)
    return file.getvalue()


def _for_a_page(attribute: str, value: str, prefix: str) -> str:
    if attribute == "style":
        value = re.sub("font-family: [^;]*", "font-family: inherit", value)
        value = re.sub(f"(fill|stroke): {INK}", r"\1: currentColor", value)
    if attribute == "id":
        return prefix + value
    return re.sub(r"^#|(?<=url\()#", f"#{prefix}", value)


@contextmanager
def _letters_may_be_missing() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@cache
def _fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [_FONT, *(name for name in _FALLBACKS if name in installed)]
