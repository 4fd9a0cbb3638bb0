"""Callbacks that change training: early stopping, a learning-rate schedule by epochs, and unfreezing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from tinyclsf.errors import ConfigurationError
from tinyclsf.loop.state import load_numbers
from tinyclsf.metrics import Epoch, best_of
from tinyclsf.trainer import Callback, Trainer


class EarlyStopping(Callback):
    """Stop training after some epochs in a row without a new best epoch, as `BestModel` defines it.

    patience: how many epochs.
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


class EpochSchedule(Callback):
    """Step a learning-rate schedule after every epoch; `ReduceLROnPlateau` gets the validation loss."""

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
        load_numbers(self.schedule, state)


class Unfreeze(Callback):
    """Unfreeze parameters after some epochs.

    parameters: those that are frozen until then.
    after: how many epochs.
    Raises: ConfigurationError if after is below 1.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], after: int) -> None:
        if after < 1:
            raise ConfigurationError(f"after is {after}; wanted at least 1 epoch")
        self.parameters = list(parameters)
        self.after = after

    def on_fit_start(self, trainer: Trainer) -> None:
        self._unfreeze(len(trainer.history))

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self._unfreeze(row.epoch)

    def _unfreeze(self, done: int) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(done >= self.after)
