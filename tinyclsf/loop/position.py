"""Where a fit is, and how one that was stopped goes on from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

import torch

from tinyclsf.batches.loaders import batches_from
from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.history import History
from tinyclsf.loop.training_loss import TrainingLoss
from tinyclsf.machine import distributed
from tinyclsf.machine.randomness import RandomState, random_state, set_random_state
from tinyclsf.metrics import Epoch
from tinyclsf.training import Batches


class Position:
    """Where a fit is: the figures of the epochs that are done, and how far the one after them has come.

    The random generators of the CPU, the device and `train_dl` are part of that.
    """

    def __init__(self, device: torch.device, train_dl: Batches = ()) -> None:
        self.device = device
        self.train_dl = train_dl
        self.epoch = 0
        self.batch = 0  # done in this epoch
        self.history = History()
        self.train_loss = TrainingLoss(self.epoch)
        self._random_at_epoch_start: RandomState = {}
        self._random_to_resume: RandomState | None = None  # where a resumed fit has to go on within an epoch

    def begin_epoch(self) -> Iterator[Any]:
        """The batches of the next epoch, or those that are left of the one that a resumed fit was stopped in."""
        if self._random_to_resume is None:
            self.epoch, self.batch = len(self.history) + 1, 0
            self.train_loss = TrainingLoss(self.epoch)
            self._random_at_epoch_start = self.random_state()
            return iter(self.train_dl)
        self.set_random_state(self._random_at_epoch_start)
        batches = batches_from(self.train_dl, self.batch)
        if self.batch:  # or an order may not be drawn yet
            self.set_random_state(self._random_to_resume)
        self._random_to_resume = None
        return batches

    def random_state(self) -> RandomState:
        """The states of all generators that training draws from."""
        return random_state(self.device, self.train_dl)

    def set_random_state(self, state: RandomState) -> None:
        """Bring those generators to a state that they were in."""
        set_random_state(state, self.device, self.train_dl)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs, from every process."""
        unfinished = len(self.history) < self.epoch
        return {
            "history": [tuple(row) for row in self.history],
            "batch": self.batch if unfinished else 0,
            "train_loss": distributed.gathered(self.train_loss.totals()) if unfinished else None,
            "random": distributed.gathered(self.random_state()),
            "random_at_epoch_start": distributed.gathered(self._random_at_epoch_start) if unfinished else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where a fit was stopped, in a position that is new.

        Raises: ModelFileError if no generator can be brought to a state that is there.
        """
        own = distributed.rank()
        self.history = History(Epoch(*row) for row in state["history"])
        self.epoch = len(self.history)
        try:
            for states in (state["random_at_epoch_start"], state["random"]):
                if states is not None:
                    self.set_random_state(states[own])
        except Exception as error:  # whatever is odd about a state that was in a file, it is not ours
            raise ModelFileError(f"the random numbers of the state cannot be gone on with: {error}") from error
        if state["random_at_epoch_start"] is not None:
            self.epoch, self.batch = self.epoch + 1, state["batch"]
            self.train_loss = TrainingLoss(self.epoch, *state["train_loss"][own])
            self._random_at_epoch_start = state["random_at_epoch_start"][own]
            self._random_to_resume = state["random"][own]


def check_epochs(epochs: object) -> int:
    """The number of epochs as Python's own.

    Raises: ConfigurationError if it is no positive whole number.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, Integral) or epochs < 1:
        raise ConfigurationError(f"epochs is {epochs!r}; wanted a whole number of at least 1")
    return int(epochs)
