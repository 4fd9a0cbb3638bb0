"""What a person sees on stderr as a model is trained: the header, a row an epoch, and a bar where there is a terminal."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinyclsf.cli.console import REFRESH_SECONDS, Mode, Watch
from tinyclsf.cli.fit_output import settings_rows
from tinyclsf.experiments.building import Built
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.experiments.watching import Watcher, epoch_line, position
from tinyclsf.metrics import Epoch, percent
from tinyclsf.trainer import Trainer

_COLUMN = 30  # a longer value, a path for one, runs over the column of sources
_BAR = 24  # leaves room for the ^C that a terminal shows, which would break the line and keep it from being cleared


class FitWatch(Watch, Watcher):
    """Shows training too: `bar` has a table and a bar on the terminal, `plain` a line an epoch, `none` nothing but warnings."""

    def __init__(self, mode: Mode, *, quiet: bool = False) -> None:
        super().__init__(mode, quiet=quiet)
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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar.live.is_started:
            self._bar.stop()
        super().__exit__(kind, error, trace)

    def on_built(self, experiment: Experiment, built: Built) -> None:
        """Print the settings in force: name, value and where it came from."""
        if self.mode == "none":
            return
        rows = settings_rows(experiment, built)
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
        self._next = time.monotonic() + REFRESH_SECONDS
        where = f"{trainer.epoch}/{trainer.epochs}"
        self._bar.update(self._bar.task_ids[0], completed=trainer.batch, epoch=where, loss=f"{trainer.running_loss:.4f}")
        self._bar.refresh()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if self.mode == "bar":
            where, accuracy = f"{row.epoch}/{trainer.epochs}", percent(row.valid_accuracy)
            line = f"  {where:>5}  {row.train_loss:>10.4f}  {row.valid_loss:>10.4f}  {accuracy:>14}  {row.seconds:>7.1f}"
            self.console.print(line)
        elif self.mode == "plain":
            self.console.print(epoch_line(row, trainer.epochs))
            sys.stderr.flush()
