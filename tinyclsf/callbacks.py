"""What may happen around training: four moments that a callback can act at, and those callbacks that steer and keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from tinyclsf import distributed
from tinyclsf.checkpoint import save_checkpoint
from tinyclsf.errors import ConfigurationError
from tinyclsf.metrics import Epoch, best_of
from tinyclsf.model_files import save_weights

if TYPE_CHECKING:
    from tinyclsf.trainer import Trainer


class Callback:
    """Four moments of `Trainer.fit`, and what has to survive a stop; a subclass overrides those that it needs."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each training batch; what costs time here costs it at every step."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        """After an epoch's validation, with the epoch's figures."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, or where training was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit has to hand back: numbers, text, None, tensors, and lists, tuples and dictionaries of those."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, before `on_fit_start`."""


class BestModel(Callback):
    """Save the weights of the best epoch: highest validation accuracy, then lowest validation loss.

    Raises: StorageError if the file cannot be written; the weights saved before then stay whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if row is best_of(trainer.history):
            save_weights(trainer.evaluated_model, self.path, notes={"epoch": str(row.epoch)})


class EarlyStopping(Callback):
    """End training once so many epochs in a row were no better than the best, which is chosen as by `BestModel`.

    Raises: ConfigurationError if patience is below 1.
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ConfigurationError(f"patience is {patience}; wanted at least 1 epoch")
        self.patience = patience

    def on_fit_start(self, trainer: Trainer) -> None:
        self._stop_if_in_vain(trainer)

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self._stop_if_in_vain(trainer)

    def _stop_if_in_vain(self, trainer: Trainer) -> None:
        best = best_of(trainer.history)
        if best is not None and len(trainer.history) - best.epoch >= self.patience:
            trainer.stop()


class Checkpoints(Callback):
    """Save the state of training after every epoch, where it is stopped, and after every so many batches.

    A batch whose gradient waits for others is saved with the step that they make together. In several processes all take
    part, and process 0 writes.
    Raises: ConfigurationError if `every` is below 1; StorageError if the file cannot be written: what was saved stays whole.
    """

    def __init__(self, folder: Path, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ConfigurationError(f"a checkpoint every {every} batches cannot be; wanted at least 1")
        self.folder = folder
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


class EpochSchedule(Callback):
    """Step a learning-rate schedule after every epoch, one that waits for a plateau by the validation loss."""

    def __init__(self, schedule: LRScheduler) -> None:
        self.schedule = schedule

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(row.valid_loss)
        else:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state)


def _position(trainer: Trainer) -> tuple[int, int]:
    return len(trainer.history), trainer.batch if len(trainer.history) < trainer.epoch else 0
