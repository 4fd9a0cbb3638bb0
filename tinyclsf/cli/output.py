"""What a command found, for a person and for a program."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinyclsf.errors import printable, printable_lines
from tinyclsf.metrics import percent

DOCUMENT_VERSION = 1
WIDTH = 100  # columns of a page


@dataclass(frozen=True)
class Output:
    """A command's result as text and as JSON; its exit code is another than 0 where a part of it failed.

    `text` is for a terminal, so that what could steer one is written as an escape; not where it is a file's content, `exact`.
    """

    text: str
    document: dict[str, Any]
    exit_code: int = 0
    exact: bool = False

    def __post_init__(self) -> None:
        if not self.exact:
            object.__setattr__(self, "text", printable_lines(self.text))


def document(command: str, **content: Any) -> dict[str, Any]:
    """The document of a command, which `json_text` writes."""
    return {"version": DOCUMENT_VERSION, "command": command, **content}


def columns(rows: Sequence[Sequence[str]], indent: str = "  ", *, numbers_from: int | None = None) -> list[str]:
    """Rows of text as lines with the columns under each other; those of numbers, from one column on, are set to the right."""
    rows = [[*map(printable, row)] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    edge = len(widths) if numbers_from is None else numbers_from
    return [
        (indent + "  ".join([*map(to_left, row[:edge], widths), *map(to_right, row[edge:], widths[edge:])])).rstrip()
        for row in rows
    ]


def scored(found: Any) -> str:
    """How good a model is on some images, with an accuracy, its interval and their number, as a Score or an Assessment has."""
    low, high = map(percent, found.interval)
    images = "1 image" if found.images == 1 else f"{found.images:,} images"
    return f"accuracy {percent(found.accuracy)} (95 % interval {low} to {high}, {images})"


def notes(sentences: Sequence[str]) -> list[tuple[str, str]]:
    """Sentences beside a figure, as rows of two columns that fit the page; the first column is as wide as "note", or wider."""
    pieces = [textwrap.wrap(each, WIDTH - 12, break_long_words=False, break_on_hyphens=False) for each in sentences]
    return [("" if number else "note", line) for lines in pieces for number, line in enumerate(lines)]


def tta_title(tta: str) -> list[str]:
    """The line above figures that are of predictions with test-time augmentation; none without."""
    return [] if tta == "none" else [f"with --tta {tta}"]


def wrapped(sentence: str, start: str = "", *, indent: int = 2) -> list[str]:
    """A sentence as lines that fit the page, the first below `start` and the others set in."""
    return textwrap.wrap(
        sentence, WIDTH, initial_indent=start, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese letter or an emoji two, an accent that is set on a letter none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def to_left(text: str, width: int) -> str:
    """A text with room after it, so wide in a terminal."""
    return text + " " * (width - cells(text))


def to_right(text: str, width: int) -> str:
    """A text with room before it, so wide in a terminal."""
    return " " * (width - cells(text)) + text


def shortened(text: str, width: int) -> str:
    """A text that is no wider than that in a terminal, its end left out for it."""
    if cells(text) <= width:
        return text
    kept = ""
    for each in text:
        if cells(kept + each) > width - 1:
            break
        kept += each
    return kept + "…"
