"""Lines, rows and a bar on stderr."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bars,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_WIDE = 60  # columns; in fewer there are numbers alone
_BAR = 24  # leaves room for the ^C that a terminal shows, which would break the line and keep it from being cleared


class Terminal:
    """Draws on stderr, with a bar that is redrawn only when it is told to, by no thread of its own."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        wide = self.console.width >= _WIDE
        bar = SpinnerColumn(), TextColumn("{task.description}"), *([BarColumn(bar_width=_BAR)] if wide else [])
        note = MofNCompleteColumn(), TextColumn("{task.fields[note]}"), *([TimeRemainingColumn()] if wide else [])
        self._bars = Bars(*bar, *note, console=self.console, auto_refresh=False, transient=True)
        self._widths: list[int] = []
        self._shown: tuple[str, TaskID] | None = None

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None where it is none, and lines may have any length."""
        return self.console.width if self.console.is_terminal else None

    def line(self, text: str, style: str = "") -> None:
        """Print a line; a style is for its first word."""
        first, space, rest = text.partition(" ") if style else ("", "", text)
        self.console.print(Text(first, style=style).append(space + rest, style="default" if style else ""))

    def row(self, cells: Sequence[str], *, head: bool = False) -> None:
        """Print a row of a table, as wide as its head."""
        if head:
            self._widths = [*map(len, cells)]
        text = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, self._widths, strict=True))
        self.console.print(Text(f"  {text}", style="bold" if head else ""))

    def bar(self, what: str, done: int, total: int | None, note: str = "") -> None:
        """Draw the bar anew; other work has a bar of its own, whose remaining time begins anew too."""
        if self._shown is None or self._shown[0] != what:
            self.clear()
            self._shown = what, self._bars.add_task(what, total=total, completed=done, note=note)
            self._bars.start()
        self._bars.update(self._shown[1], completed=done, total=total, note=note, refresh=True)

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._bars.remove_task(self._shown[1])
            self._bars.stop()
            self._shown = None
