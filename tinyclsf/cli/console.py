"""What a person sees on stderr of a run: warnings, the header, a row an epoch, and bars where there is a terminal."""

from __future__ import annotations

import contextlib
import re
import sys
import textwrap
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinyclsf.cli.output import percent
from tinyclsf.errors import DataWarning
from tinyclsf.machine.progress import listening
from tinyclsf.metrics import Epoch
from tinyclsf.runs.folder import is_occupied
from tinyclsf.trainer import Callback, Trainer

Mode = Literal["auto", "bar", "plain", "none"]
_REFRESH_SECONDS = 0.1
_COLUMN = 30  # a longer value, a path for one, runs over the column of sources
_BAR = 24  # leaves room for the ^C that a terminal shows, which would break the line and keep it from being cleared


class Watch(Callback):
    """Shows a run as it goes: `bar` redraws a line on the terminal, `plain` prints one an epoch, `none` nothing but warnings.

    A quiet one shows not even those, as in all processes but the first.

    Inside its `with` block it listens to long work on the data, and shows and keeps each DataWarning.
    """

    def __init__(self, mode: Mode, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self.mode = ("bar" if self.console.is_terminal else "plain") if mode == "auto" else mode
        # Redrawn from on_batch_end, not by a thread that would take the interpreter from the training loop.
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=_BAR),
            MofNCompleteColumn(),
            TextColumn("batches, loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self._next = 0.0
        self._work = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self._started: dict[str, tuple[TaskID, float]] = {}
        self.warnings: list[str] = []
        self._inside = contextlib.ExitStack()

    def __enter__(self) -> Watch:
        self._inside.enter_context(listening(self.work))
        self._inside.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always", DataWarning)
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, DataWarning):
                self.warn(str(message))
            else:
                show_others(message, category, *where, **more)

        warnings.showwarning = show
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for bar in (self._work, self._bar):
            if bar.live.is_started:  # stopping a bar that never ran prints an empty line
                bar.stop()
        self._inside.close()

    def warn(self, message: str) -> None:
        """Print a warning, whatever is shown or not, and keep it."""
        self.warnings.append(message)
        self.console.print(Text("warning: ", style="yellow").append(message, style="default"))

    def work(self, what: str, done: int, total: int) -> None:
        """Show how far work on the data has come: a bar on a terminal, elsewhere a line as it begins; and a line as it ends."""
        amount = f" {total:,}" if total > 1 else ""
        if what not in self._started:
            self._started[what] = (self._work.add_task(what, total=total), time.monotonic())
            if self.mode == "plain":
                self.console.print(f"{what}:{amount} ...")
        task, start = self._started[what]
        if self.mode == "bar" and time.monotonic() >= self._next:
            self._next = time.monotonic() + _REFRESH_SECONDS
            self._work.start()
            self._work.update(task, completed=done, refresh=True)
        if done >= total:
            self._work.remove_task(task)
            del self._started[what]
            if not self._started and self._work.live.is_started:
                self._work.stop()
            if self.mode != "none":
                self.console.print(f"{what}:{amount} done in {time.monotonic() - start:.1f} s")

    def header(self, rows: list[tuple[str, str, str]]) -> None:
        """Print the settings in force: name, value and where it came from."""
        if self.mode == "none":
            return
        name_width = max(len(name) for name, _, _ in rows)
        value_width = max(len(value) for _, value, _ in rows if len(value) <= _COLUMN)
        for name, value, source in rows:
            *first, last = self._wrapped(value, used=name_width + 4, source=source)
            for part in first:
                self.console.print(f"  {name:<{name_width}}  {part}")
                name = ""
            line = Text(f"  {name:<{name_width}}  {last:<{value_width}}")
            self.console.print(line.append(f"  {source}" if source else "", style="dim"))

    def _wrapped(self, value: str, *, used: int, source: str) -> list[str]:
        """A value as the lines that fit beside a name on a terminal; elsewhere it is one."""
        room = self.console.width - used - len(f"  {source}")
        if not self.console.is_terminal or len(value) <= room:
            return [value]
        paired = re.sub("(?<=[^,;]) ", "\N{NO-BREAK SPACE}", value)  # a name stays on the line of its value
        lines = textwrap.wrap(paired, max(room, _COLUMN), break_long_words=False, break_on_hyphens=False)
        return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]

    def on_fit_start(self, trainer: Trainer) -> None:
        done = len(trainer.history)
        ended = trainer.stopping or done >= trainer.epochs
        if trainer.epoch > 0 and self.mode != "none":
            self.console.print(f"nothing is left to train {position(trainer)}" if ended else f"going on {position(trainer)}")
        if self.mode == "bar" and not ended:
            self.console.print("  epoch  train loss  valid loss  valid accuracy  seconds", style="bold")
            where = f"{done + 1}/{trainer.epochs}"
            self._bar.add_task("", total=trainer.batches, completed=trainer.batch, epoch=where, loss="")
            self._bar.start()

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.mode != "bar" or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REFRESH_SECONDS
        where = f"{trainer.epoch}/{trainer.epochs}"
        self._bar.update(self._bar.task_ids[0], completed=trainer.batch, epoch=where, loss=f"{trainer.running_loss:.4f}")
        self._bar.refresh()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        accuracy = percent(row.valid_accuracy)
        where = f"{row.epoch}/{trainer.epochs}"
        if self.mode == "bar":
            line = f"  {where:>5}  {row.train_loss:>10.4f}  {row.valid_loss:>10.4f}  {accuracy:>14}  {row.seconds:>7.1f}"
            self.console.print(line)
        elif self.mode == "plain":
            self.console.print(
                f"epoch {where}: train loss {row.train_loss:.4f}, valid loss {row.valid_loss:.4f}, "
                f"valid accuracy {accuracy}, {row.seconds:.1f} s"
            )
            sys.stderr.flush()


def warn_if_training(watch: Watch, folder: Path) -> None:
    """Warn that a run's weights will change, where it is being trained now."""
    if is_occupied(folder):
        watch.warn(f"{folder} is still being trained; these are its best weights so far")


def position(trainer: Trainer) -> str:
    """How far training has come, in words."""
    done = len(trainer.history)
    if done == trainer.epoch:
        return f"after epoch {done}" if done else "before training began"
    return f"in epoch {trainer.epoch}, after {trainer.batch} of {trainer.batches or 'its'} batches"
