"""What a notebook shows of a value."""

from __future__ import annotations

import base64
import io
import re
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LIMIT = 300_000  # letters that a saved notebook gets of one value
ODD = "<b>&\"' $x_ \x1b\u202e"  # a name that would be markup, a formula, or steer what shows it


def shown(value: Any) -> Element:
    """The HTML of a value, which is whole, small, loads nothing, and has no colour of its own but in pictures and charts."""
    html = value._repr_html_()
    assert len(html.encode()) < LIMIT
    assert not re.search(r"<script|javascript:|\son\w+=|\x1b|\u202e", html)
    root = fromstring(html)
    for style in root.iter("style"):
        rules = re.findall(r"([^{}]+){([^{}]*)}", style.text or "")
        assert all(part.strip().startswith(".tinyclsf") for selectors, _ in rules for part in selectors.split(","))
        assert not re.search(r"#[0-9a-f]{3}|rgb\(|\b(black|white)\b", style.text or "")
    for element in root.iter():
        for name, link in element.items():
            assert not name.endswith(("href", "src")) or link.startswith(("data:image/", "#"))
    return root


def said(value: Any) -> str:
    """The words of what is shown, but for the charts."""
    root = shown(value)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "style" or child.tag.endswith("svg"):
                parent.remove(child)
    return " ".join(" ".join(root.itertext()).split())


def rows_of_table(value: Any, number: int = 0) -> list[list[str]]:
    """The cells of a table that is shown."""
    table = list(shown(value).iter("table"))[number]
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def charts(value: Any) -> int:
    """How many charts are shown."""
    return len(list(shown(value).iter("{http://www.w3.org/2000/svg}svg")))


def pictures(value: Any) -> list[tuple[NDArray[np.uint8], list[str]]]:
    """The pixels of pictures that are shown, none where there is none, each with the lines of its caption."""
    found = []
    for figure in shown(value).iter("figure"):
        urls = [image.get("src", "") for image in figure.iter("img")]
        pixels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))) for url in urls]
        found.append((pixels[0] if pixels else np.zeros(0, np.uint8), list(figure.itertext())))
    return found
