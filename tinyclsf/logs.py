"""Callbacks that write a run's figures to files: a line an epoch as JSON or CSV, and curves for TensorBoard."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tinyclsf.callbacks import Callback
from tinyclsf.errors import ConfigurationError, StorageError
from tinyclsf.metrics import Epoch
from tinyclsf.storage import write_whole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from tinyclsf.trainer import Trainer

_WRITE_EVERY = 100  # batches whose losses are fetched from the device at once


def csv(folder: Path, model_name: str) -> CsvLines:
    """Write every epoch's figures to `metrics.csv` in the run folder."""
    return CsvLines(folder / "metrics.csv")


def tensorboard(folder: Path, model_name: str) -> TensorBoard:
    """Write curves to `tensorboard` in the run folder; `tensorboard --logdir runs` draws those of all runs.

    `<model>/Train_Loss` is of every training batch, `<model>/Test_Loss` and `<model>/Test_Accuracy` are the validation figures
    of every epoch; all three are drawn over the batches of the whole run.
    Raises: ConfigurationError if the package tensorboard is missing.
    """
    return TensorBoard(folder / "tensorboard", model_name)


class _Lines(Callback, ABC):
    """A text file with a line for each row of the history: just those when a fit starts, then one more an epoch."""

    head = ""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def line(self, row: Epoch) -> str:
        """The row as text, with its line end."""

    def on_fit_start(self, trainer: Trainer) -> None:
        # A run that was killed may have written rows later than the checkpoint that it goes on from.
        wanted = "".join([self.head, *map(self.line, trainer.history)]).encode()
        with _storing(self.path):
            found = self.path.read_bytes() if self.path.exists() else b""
        if found != wanted:
            write_whole(self.path, lambda file: file.write(wanted))

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        with _storing(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self.line(row))
            file.flush()


class JsonLines(_Lines):
    """Write every epoch's figures to a file, a JSON object a line; a resumed run goes on below the rows that it resumes from.

    Raises: StorageError if the file cannot be written.
    """

    def line(self, row: Epoch) -> str:
        return json.dumps(row._asdict()) + "\n"


class CsvLines(_Lines):
    """Write every epoch's figures to a file, comma-separated under a header; an accuracy that is None is an empty field.

    A resumed run goes on below the rows that it resumes from.
    Raises: StorageError if the file cannot be written.
    """

    head = ",".join(Epoch._fields) + "\n"

    def line(self, row: Epoch) -> str:
        return ",".join("" if value is None else str(value) for value in row) + "\n"


class TensorBoard(Callback):
    """Write curves for TensorBoard: `<model>/Train_Loss` a batch, `<model>/Test_Loss` and `<model>/Test_Accuracy` an epoch.

    The two named Test are the validation figures: a test split is for the end. All are drawn over the batches of the whole
    run, so that what a resumed run writes replaces what came after its checkpoint. No batch waits for the device.
    Raises: ConfigurationError if the package tensorboard is missing; StorageError if a file cannot be written.
    """

    def __init__(self, folder: Path, model_name: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                f"writing {folder} needs the package tensorboard; pip install 'tinyclsf[tensorboard]'"
            ) from error
        self.folder = folder
        self.model_name = model_name
        self.batches = 0  # of the whole run
        self._loss: float | None = None  # of the last batch that was written
        self._losses: list[Tensor] = []  # of those since
        self._make_writer = SummaryWriter
        self._writer: SummaryWriter | None = None

    def state_dict(self) -> dict[str, Any]:
        """The count of batches and the loss of the last; all of their losses are on the disk by then."""
        self._write_losses()
        return {"batches": self.batches, "loss": self._loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches, self._loss = state["batches"], state["loss"]

    def on_fit_start(self, trainer: Trainer) -> None:
        self._losses = []
        loss = self._loss if trainer.epoch > 0 else None  # of the batch that a resumed run goes on from
        with _storing(self.folder):
            self._writer = self._make_writer(str(self.folder), purge_step=None if loss is None else self.batches)
        if loss is not None:
            # What stands at that batch goes too, as its epoch's figures may be later than the checkpoint.
            self._write("Train_Loss", [loss])
            if len(trainer.history) == trainer.epoch:
                self._write_row(trainer.history[-1])

    def on_batch_end(self, trainer: Trainer) -> None:
        self.batches += 1
        self._losses.append(trainer.loss)
        if len(self._losses) == _WRITE_EVERY:
            self._write_losses()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self._write_losses()
        self._write_row(row)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._write_losses()
        if self._writer is not None:
            with _storing(self.folder):
                self._writer.close()
            self._writer = None

    def _write_losses(self) -> None:
        if self._losses:
            losses = torch.stack(self._losses).tolist()
            self._write("Train_Loss", losses)
            self._loss, self._losses = losses[-1], []

    def _write_row(self, row: Epoch) -> None:
        self._write("Test_Loss", [row.valid_loss])
        if row.valid_accuracy is not None:
            self._write("Test_Accuracy", [row.valid_accuracy])

    def _write(self, name: str, values: list[float]) -> None:
        """Add points to a curve, the last of them at the present batch, and flush them to the file."""
        assert self._writer is not None, "figures come after on_fit_start"
        with _storing(self.folder):
            for batch, value in enumerate(values, start=self.batches - len(values) + 1):
                self._writer.add_scalar(f"{self.model_name}/{name}", value, batch)
            self._writer.flush()


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; what was there before is unchanged") from error
