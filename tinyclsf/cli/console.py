"""What a person sees on stderr of any command: warnings, and how far long work has come."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyclsf.errors import TinyclsfWarning, printable
from tinyclsf.machine import launch
from tinyclsf.progress.display import Mode, Progress, on_terminal
from tinyclsf.runs.folder import is_occupied

if TYPE_CHECKING:
    from typing_extensions import Self


class Watch(Progress):
    """Shows progress, a bar on a terminal and lines elsewhere, and each TinyclsfWarning, which it keeps.

    Inside its `with` block it listens to long work too.
    """

    def __init__(self, mode: Mode, *, every: int | None = None, verbose: bool = False) -> None:
        super().__init__(("bar" if on_terminal() else "plain") if mode == "auto" else mode, every=every, verbose=verbose)
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        self._inside.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", TinyclsfWarning)
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, TinyclsfWarning):
                self.warn(str(message))
            else:
                show_others(message, category, *where, **more)

        warnings.showwarning = show
        return super().__enter__()

    def warn(self, message: str) -> None:
        """Print a warning, whatever is shown or not, and keep it; of several processes the first one does."""
        self.warnings.append(message)
        if launch.rank() == 0:
            self.screen.line(f"warning: {printable(message)}", style="yellow")


def warn_if_training(watch: Watch, folder: Path) -> None:
    """Warn that a run's weights will change, where it is being trained now."""
    if is_occupied(folder):
        watch.warn(f"{folder} is still being trained; these are its best weights so far")
