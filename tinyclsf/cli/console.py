"""What a person sees on stderr while a model trains: the header, a row an epoch, and a bar where there is a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinyclsf.callbacks import Callback
from tinyclsf.metrics import Epoch
from tinyclsf.trainer import Trainer

Mode = Literal["auto", "bar", "plain", "none"]
_REFRESH_SECONDS = 0.1
_COLUMN = 30  # a longer value, a path for one, runs over the column of sources


class Watch(Callback):
    """Shows training as it goes: `bar` redraws a line on the terminal, `plain` prints one an epoch, `none` nothing."""

    def __init__(self, mode: Mode) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.mode = ("bar" if self.console.is_terminal else "plain") if mode == "auto" else mode
        # Redrawn from on_batch_end, not by a thread that would take the interpreter from the training loop.
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("batches, loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self._next = 0.0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar.live.is_started:  # stopping a bar that never ran prints an empty line
            self._bar.stop()

    def header(self, rows: list[tuple[str, str, str]]) -> None:
        """Print the settings in force: name, value and where it came from."""
        if self.mode == "none":
            return
        name_width = max(len(name) for name, _, _ in rows)
        value_width = max(len(value) for _, value, _ in rows if len(value) <= _COLUMN)
        for name, value, source in rows:
            line = Text(f"  {name:<{name_width}}  {value:<{value_width}}")
            self.console.print(line.append(f"  {source}" if source else "", style="dim"))

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.mode == "bar":
            self.console.print("  epoch  train loss  valid loss  valid accuracy  seconds", style="bold")
            self._bar.add_task("", total=trainer.batches, epoch=f"1/{trainer.epochs}", loss="")
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


def percent(share: float | None) -> str:
    """A share as a person reads it, 97.22 %, or a dash where there is none."""
    return "-" if share is None else f"{share * 100:.2f} %"
