"""What may happen around training: four moments that a callback can act at, and the few callbacks that ship."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from tinyclsf.checkpoint import save_weights
from tinyclsf.errors import StorageError
from tinyclsf.metrics import Epoch

if TYPE_CHECKING:
    from tinyclsf.trainer import Trainer


class Callback:
    """Four moments of `Trainer.fit`; a subclass overrides those that it needs."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each training batch; what costs time here costs it at every step."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        """After an epoch's validation, with the epoch's figures."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch."""


class JsonLines(Callback):
    """Append every epoch's figures to a file, a JSON object a line.

    Raises: StorageError if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row._asdict()) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}; what was there before is unchanged") from error


class BestModel(Callback):
    """Save the weights of the best epoch: highest validation accuracy, then lowest validation loss.

    Raises: StorageError if the file cannot be written; the weights saved before then stay whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.row: Epoch | None = None

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if self.row is None or _rank(row) > _rank(self.row):
            save_weights(trainer.model, self.path, notes={"epoch": str(row.epoch)})
            self.row = row


class EpochSchedule(Callback):
    """Step a learning-rate schedule after every epoch, one that waits for a plateau by the validation loss."""

    def __init__(self, schedule: LRScheduler) -> None:
        self.schedule = schedule

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(row.valid_loss)
        else:
            self.schedule.step()


def _rank(row: Epoch) -> tuple[float, float]:
    return (-math.inf if row.valid_accuracy is None else row.valid_accuracy, -row.valid_loss)
