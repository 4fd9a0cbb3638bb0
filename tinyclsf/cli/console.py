"""What a person sees on stderr of any command: warnings, and how far long work has come."""

from __future__ import annotations

import contextlib
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinyclsf.errors import TinyclsfWarning, printable
from tinyclsf.machine.progress import listening
from tinyclsf.runs.folder import is_occupied

if TYPE_CHECKING:
    from typing_extensions import Self

Mode = Literal["auto", "bar", "plain", "none"]
REFRESH_SECONDS = 0.1


class Watch:
    """Shows work on data and warnings: `bar` redraws a line on the terminal, `plain` prints lines, `none` nothing but warnings.

    A quiet one shows not even those. Inside its `with` block it listens to long work on the data, and shows and keeps each
    TinyclsfWarning.
    """

    def __init__(self, mode: Mode, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self.mode = ("bar" if self.console.is_terminal else "plain") if mode == "auto" else mode
        self._next = 0.0
        shown = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._work = Progress(*shown, console=self.console, auto_refresh=False, transient=True)
        self._started: dict[str, tuple[TaskID, float]] = {}
        self.warnings: list[str] = []
        self._inside = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._inside.enter_context(listening(self.work))
        self._inside.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", TinyclsfWarning)
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, TinyclsfWarning):
                self.warn(str(message))
            else:
                show_others(message, category, *where, **more)

        warnings.showwarning = show
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._work.live.is_started:  # stopping a bar that never ran prints an empty line
            self._work.stop()
        self._inside.close()

    def warn(self, message: str) -> None:
        """Print a warning, whatever is shown or not, and keep it."""
        self.warnings.append(message)
        self.console.print(Text("warning: ", style="yellow").append(printable(message), style="default"))

    def work(self, what: str, done: int, total: int) -> None:
        """Show how far work on the data has come: a bar on a terminal, elsewhere a line as it begins; and a line as it ends."""
        amount = f" {total:,}" if total > 1 else ""
        if what not in self._started:
            self._started[what] = (self._work.add_task(what, total=total), time.monotonic())
            if self.mode == "plain":
                self.console.print(f"{what}:{amount} ...")
        task, start = self._started[what]
        if self.mode == "bar" and time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_SECONDS
            self._work.start()
            self._work.update(task, completed=done, refresh=True)
        if done >= total:
            self._work.remove_task(task)
            del self._started[what]
            if not self._started and self._work.live.is_started:
                self._work.stop()
            if self.mode != "none":
                self.console.print(f"{what}:{amount} done in {time.monotonic() - start:.1f} s")


def warn_if_training(watch: Watch, folder: Path) -> None:
    """Warn that a run's weights will change, where it is being trained now."""
    if is_occupied(folder):
        watch.warn(f"{folder} is still being trained; these are its best weights so far")
