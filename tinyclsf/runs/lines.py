"""A text file of a run with a line for each epoch."""

from __future__ import annotations

from collections.abc import Callable

from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.storage import StrPath, storing, write_whole
from tinyclsf.metrics import Epoch
from tinyclsf.trainer import Callback, Trainer


class LineEachEpoch(Callback):
    """Write a line for every epoch; a resumed run goes on below the rows that it resumes from.

    path: the text file.
    line: makes the line of an epoch, with its end.
    head: what stands above all lines.
    Raises: StorageError if the file cannot be written.
    """

    def __init__(self, path: StrPath, line: Callable[[Epoch], str], *, head: str = "") -> None:
        self.path = as_path("path", path)
        self.line = line
        self.head = head

    def on_fit_start(self, trainer: Trainer) -> None:
        # A run that was killed may have written rows later than the checkpoint that it goes on from.
        wanted = "".join([self.head, *map(self.line, trainer.history)]).encode()
        with storing(self.path):
            found = self.path.read_bytes() if self.path.exists() else b""
        if found != wanted:
            write_whole(self.path, lambda file: file.write(wanted))

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        with storing(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self.line(row))
            file.flush()
