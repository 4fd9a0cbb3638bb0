"""Lines, a table and a bar as one output of a notebook's cell, which is rewritten as they change."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from html import escape

from IPython import get_ipython
from IPython.display import display, update_display

_LINE = "font-family:monospace;white-space:pre-wrap"
_MOST = 200  # lines and rows that are kept: a page is saved with all that it shows


class Notebook:
    """Draws in the cell that runs; a saved notebook has the last state alone."""

    width = None

    def __init__(self) -> None:
        self._cell: int | None = None
        self._id: str | None = None
        self._parts: list[tuple[str, Sequence[str]]] = []  # a line, or a row with its cells
        self._bar: tuple[str, int, int | None, str] | None = None
        self._since = 0, 0.0  # how much was done when this bar began, and when that was

    def line(self, text: str, style: str = "") -> None:
        """Show a line."""
        self._add(text, ())

    def row(self, cells: Sequence[str], *, head: bool = False) -> None:
        """Show a row of a table."""
        tag = "th" if head else "td"
        self._add("  ".join(cells), [f'<{tag} style="text-align:right">{escape(cell)}</{tag}>' for cell in cells])

    def bar(self, what: str, done: int, total: int | None, note: str = "") -> None:
        """Draw the bar anew."""
        self._in_this_cell()
        if self._bar is None or self._bar[0] != what:
            self._since = done, time.monotonic()
        self._bar = what, done, total, note
        self._draw()

    def clear(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar = None
            self._draw()

    def _in_this_cell(self) -> None:
        now = get_ipython().execution_count
        if now != self._cell:
            self._cell, self._id, self._parts, self._bar = now, None, [], None

    def _add(self, text: str, cells: Sequence[str]) -> None:
        self._in_this_cell()
        self._parts = [*self._parts, (text, cells)][-_MOST:]
        self._draw()

    def _draw(self) -> None:
        content = {"text/html": self._html(), "text/plain": "\n".join(text for text, _ in self._parts)}
        if self._id is None:
            self._id = uuid.uuid4().hex
            display(content, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
        else:
            update_display(content, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]

    def _html(self) -> str:
        first = next((number for number, (_, cells) in enumerate(self._parts) if cells), len(self._parts))
        lines = "".join(f'<div style="{_LINE}">{escape(text)}</div>' for text, _ in self._parts[:first])
        rows = [
            "".join(cells) or f'<td colspan="9" style="text-align:left">{escape(text)}</td>'
            for text, cells in self._parts[first:]
        ]
        table = f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>" if rows else ""
        return f'<div style="font-variant-numeric:tabular-nums">{lines}{table}{self._drawn_bar()}</div>'

    def _drawn_bar(self) -> str:
        if self._bar is None:
            return ""
        what, done, total, note = self._bar
        before, start = self._since
        left = ""
        if total and done > before:
            seconds = (time.monotonic() - start) * (total - done) / (done - before)
            left = f", {timedelta(seconds=round(seconds))} left"
        amount = f"{done:,} of {total:,}" if total else f"{done:,}"
        value = f' value="{done}" max="{total}"' if total else ""
        return f"<div>{escape(what)} <progress{value}></progress> {amount} {escape(note)}{left}</div>"
