"""How values show themselves in a notebook: HTML with its pictures inside, right on light and dark, and scoped."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinyclsf.drawing.style import drawable

SMALL = 48  # pixels a side: a picture of no more is shown as squares and kept as it is
_THUMBNAIL, _QUALITY = 112, 75  # a larger one is a JPEG of so many pixels a side
_MOST_ROWS = 20
_MOST_LETTERS = 200
# Colours are shares of the notebook's own ink, so that they are right on any ground.
_STYLE = """
.tinyclsf { line-height: 1.4; max-width: 62rem }
.tinyclsf p { margin: .3em 0 }
.tinyclsf table { border-collapse: collapse; margin: .5em 0; font-size: .92em; font-variant-numeric: tabular-nums }
.tinyclsf th, .tinyclsf td { padding: .15em .7em; text-align: right; color: inherit; vertical-align: top;
  border: 0; border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent) }
.tinyclsf .name { text-align: left !important; overflow-wrap: anywhere }
.tinyclsf .pictures { display: flex; flex-wrap: wrap; gap: .8em; margin: .5em 0; max-width: 55em }
.tinyclsf figure { margin: 0; width: 7em; overflow-wrap: anywhere; font-size: .85em; line-height: 1.3 }
.tinyclsf img { display: block; width: 100%; margin: 0 }
.tinyclsf .squares { image-rendering: pixelated }
"""


def page(title: str, *pieces: str) -> str:
    """The pieces below a title, as one element."""
    return f'<div class="tinyclsf"><style>{_STYLE}</style><p><b>{escaped(title)}</b></p>{"".join(pieces)}</div>'


def paragraph(text: str) -> str:
    """A paragraph with its whole text: the figure may be at its end."""
    return f"<p>{html.escape(drawable(text))}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1, most: int = _MOST_ROWS) -> str:
    """A table whose first columns are names and the others numbers; of more rows than `most` the rest are counted."""

    def line(cells: Sequence[str], tag: str) -> str:
        marks = [' class="name"' if at < names else "" for at in range(len(cells))]
        return f"<tr>{''.join(f'<{tag}{mark}>{escaped(cell)}</{tag}>' for cell, mark in zip(cells, marks, strict=True))}</tr>"

    above = f"<thead>{line(head, 'th')}</thead>" if head else ""
    left = f"<p>and {len(rows) - most:,} more</p>" if len(rows) > most else ""
    return f"<table>{above}<tbody>{''.join(line(row, 'td') for row in rows[:most])}</tbody></table>{left}"


def pictures(captioned: Iterable[tuple[NDArray[np.uint8] | None, Sequence[str]]]) -> str:
    """Pictures, where there are any, above the lines of their captions.

    Shapes: (h, w) or (h, w, 3).
    """
    return f'<div class="pictures">{"".join(_picture(pixels, lines) for pixels, lines in captioned)}</div>'


def picture_url(image: Image.Image, form: str = "PNG") -> str:
    """A picture as the address that holds it."""
    file = io.BytesIO()
    image.save(file, form, quality=_QUALITY)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def escaped(text: str) -> str:
    """A text as HTML says it, cut where nobody would read on; what cannot be printed is a replacement character."""
    short = text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"
    return html.escape(drawable(short))


def _picture(pixels: NDArray[np.uint8] | None, lines: Sequence[str]) -> str:
    caption = "<br/>".join(map(escaped, lines))
    if pixels is None:
        return f"<figure><figcaption>{caption}</figcaption></figure>"
    image = Image.fromarray(pixels)
    if max(image.size) <= SMALL:
        shown = f'<img class="squares" alt="" src="{picture_url(image)}"/>'
    else:
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        shown = f'<img alt="" src="{picture_url(image, "JPEG")}"/>'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"
