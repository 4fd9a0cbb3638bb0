"""The training loss of an epoch, left on the device until somebody reads it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tinyclsf.errors import TrainingError
from tinyclsf.machine import distributed
from tinyclsf.metrics import Labelled, check_labels_of_loss, mean_over

_READ_EVERY = 1024  # batches; a loss that is no number is found at the latest then


class TrainingLoss:
    """The loss of an epoch as the model trains, summed over samples in the order of the batches, whenever it is read."""

    def __init__(self, epoch: int, total: float = 0.0, count: int = 0, batches: int = 0) -> None:
        self.epoch = epoch
        self.total = total
        self.count = count
        self.batches = batches
        self._waiting: list[tuple[Tensor, int, float, Labelled | None]] = []

    def add(self, loss: Tensor, count: int, lr: float, targets: Labelled | None = None) -> None:
        """Take in a batch's mean loss over so many samples, at a learning rate, and its labels for where there is no loss."""
        self._waiting.append((loss, count, lr, targets))
        if len(self._waiting) == _READ_EVERY:
            self._take_in()

    def read(self) -> float:
        """The mean over this process's samples so far; it waits for the device.

        Raises: TrainingError if a loss is not a finite number; DataError if that is for a label's sake, or there is no sample.
        """
        self._take_in()
        return mean_over(self.total, self.count)

    def totals(self) -> tuple[float, int, int]:
        """The loss summed over samples, the samples and the batches so far; it waits for the device.

        Raises: as `read`, but not where there is no sample yet.
        """
        self._take_in()
        return self.total, self.count, self.batches

    def mean(self) -> float:
        """The mean over the samples of all processes."""
        total, samples, _ = self.totals()
        total, count = distributed.summed([total, samples])
        return mean_over(total, int(count))

    def _take_in(self) -> None:
        if self._waiting:
            losses = torch.stack([loss for loss, *_ in self._waiting]).tolist()
            for value, (_, count, lr, targets) in zip(losses, self._waiting, strict=True):
                self.batches += 1
                if not math.isfinite(value):
                    check_labels_of_loss(value, targets, f"training batch {self.batches} of epoch {self.epoch}")
                    raise not_finite(f"training loss of epoch {self.epoch}, batch {self.batches}", value, lr)
                self.total += value * count
                self.count += count
            self._waiting.clear()


def not_finite(what: str, value: float, lr: float) -> TrainingError:
    """The error for a loss that is nan or infinite."""
    return TrainingError(
        f"the {what} is {value} at learning rate {lr:g}; "
        "lower the learning rate, or look for values in the data that are not finite"
    )
