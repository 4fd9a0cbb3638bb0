"""What looks on while a run goes on: it hears what was built, and each moment of training."""

from __future__ import annotations

import sys

from tinyclsf.experiments.building import Built
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.metrics import Epoch, percent
from tinyclsf.trainer import Callback, Trainer


class Watcher(Callback):
    """A callback that also hears what a run works with; as it is, it shows nothing."""

    def on_built(self, experiment: Experiment, built: Built) -> None:
        """Before training, once everything is built."""


class EpochLines(Watcher):
    """Print a line on stderr for every epoch."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        print(epoch_line(row, trainer.epochs), file=sys.stderr, flush=True)


def epoch_line(row: Epoch, epochs: int) -> str:
    """An epoch's figures as a line."""
    losses = f"train loss {row.train_loss:.4f}, valid loss {row.valid_loss:.4f}"
    return f"epoch {row.epoch}/{epochs}: {losses}, valid accuracy {percent(row.valid_accuracy)}, {row.seconds:.1f} s"


def position(trainer: Trainer) -> str:
    """How far training has come, in words."""
    done = len(trainer.history)
    if done == trainer.epoch:
        return f"after epoch {done}" if done else "before training began"
    return f"in epoch {trainer.epoch}, after {trainer.batch} of {trainer.batches or 'its'} batches"
