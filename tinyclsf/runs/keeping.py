"""Callbacks that keep what training brings: the best weights, the state to go on from, and the figures of every epoch."""

from __future__ import annotations

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import distributed
from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.json_text import json_text
from tinyclsf.machine.storage import StrPath
from tinyclsf.metrics import Epoch, best_of
from tinyclsf.runs.checkpoints import save_checkpoint
from tinyclsf.runs.lines import LineEachEpoch
from tinyclsf.runs.models import save_weights
from tinyclsf.trainer import Callback, Trainer


class BestModel(Callback):
    """Save the weights of the best epoch: highest validation accuracy, then lowest validation loss.

    path: the safetensors file; `weights_epoch` reads the epoch of its weights.
    Raises: StorageError if the file cannot be written; the weights saved before stay unchanged.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = as_path("path", path)

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if row is best_of(trainer.history):
            save_weights(trainer.evaluated_model, self.path, notes={"epoch": str(row.epoch)})


class Checkpoints(Callback):
    """Save the state of training after every epoch, when it is stopped, and after every so many batches.

    While batches are accumulated, it is saved after their step. With several processes, all take part and process 0 writes.
    folder: the folder of `checkpoint.pt` and the checkpoint before it.
    every: the number of batches; None saves only after epochs.
    Raises: ConfigurationError if `every` is below 1; StorageError if the file cannot be written: saved files stay unchanged.
    """

    def __init__(self, folder: StrPath, every: int | None = None) -> None:
        if every is not None and (type(every) is not int or every < 1):
            raise ConfigurationError(f"a checkpoint every {every!r} batches cannot be; wanted a whole number of at least 1")
        self.folder = as_path("folder", folder)
        self.every = every
        self._saved = 0, 0
        self._since = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        self._saved, self._since = _position(trainer), 0

    def on_batch_end(self, trainer: Trainer) -> None:
        self._since += 1
        if self.every is not None and self._since >= self.every and trainer.between_steps:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self._save(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        if _position(trainer) != self._saved:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        state = trainer.state_dict()
        if distributed.rank() == 0:
            save_checkpoint(state, self.folder)
        self._saved, self._since = _position(trainer), 0


def history_lines(path: StrPath) -> LineEachEpoch:
    """A callback that writes every epoch's figures to a file, a JSON object a line."""
    return LineEachEpoch(path, lambda row: json_text(row) + "\n")


def _position(trainer: Trainer) -> tuple[int, int]:
    return len(trainer.history), trainer.batch if len(trainer.history) < trainer.epoch else 0
