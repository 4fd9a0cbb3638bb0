"""The loop of `training.py` for real work: device, precision, schedule, callbacks, and a state to stop in and go on from."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tinyclsf.batches.loaders import batches_from, batches_of, on_device
from tinyclsf.errors import ConfigurationError
from tinyclsf.loop.evaluation import Evaluation, Predictions, evaluate, predict
from tinyclsf.loop.state import callback_states, check_state, load_callbacks, load_parts, part_states
from tinyclsf.loop.steps import Optimization
from tinyclsf.loop.training_loss import TrainingLoss, not_finite
from tinyclsf.machine import distributed
from tinyclsf.machine.devices import PRECISIONS, choose_device, choose_memory_format, choose_precision, place
from tinyclsf.machine.randomness import RandomState, random_state, set_random_state
from tinyclsf.machine.torch_errors import explained
from tinyclsf.metrics import Epoch
from tinyclsf.training import Batches, LossFunc


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


class Trainer:
    """Trains, evaluates and predicts with one model on one device.

    `device="auto"` takes CUDA, then MPS, then the CPU. `memory_format="auto"` is channels_last where a model has 2-D
    convolutions; with "contiguous", and no schedule, training on the CPU ends with the very parameters of `fit`.
    `precision` is what training computes in ("auto" is bfloat16 on CUDA that has it); evaluation is in float32, as the saved
    model will be. `schedule` is stepped after every optimizer step, `callbacks.EpochSchedule` steps one after every epoch.
    `augment(xb, yb)` changes each training batch of images as stored, and its labels, on the device. A step takes
    `accumulate` batches and clips its gradient to `clip_norm`. With `ema_decay` a moving average of the weights, of which it
    is the share that stays at each step, is what is evaluated and kept. A loss that is a module is put in training and
    evaluation mode with the model. No step waits for the device: losses and hits stay there until they are read.
    Raises: ConfigurationError if the device is not there, or a value is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_func: LossFunc,
        opt: Optimizer,
        *,
        device: str | torch.device = "auto",
        memory_format: Literal["auto", "channels_last", "contiguous"] = "auto",
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        compile: bool = False,
        schedule: LRScheduler | None = None,
        augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ConfigurationError(f"ema_decay is {ema_decay}; wanted a share between 0 and 1, as 0.999, or None")
        self.device = choose_device(device)
        self.memory_format = choose_memory_format(memory_format, model, self.device)
        self.precision = choose_precision(precision, self.device)
        # Parameters are moved in place, so the optimizer goes on holding the right ones.
        self.model = model
        place(model, self.device, self.memory_format)
        self.averaged: AveragedModel | None = None
        if ema_decay is not None:
            self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))  # type: ignore[no-untyped-call]
        self.loss_func = loss_func
        self.opt = opt
        self.schedule = schedule
        self.augment = augment
        self.callbacks = list(callbacks)
        self.epoch = 0
        self.epochs = 0
        self.batch = 0  # done in this epoch
        self.batches: int | None = None  # in an epoch of the present fit; None where the loader has no length
        self.loss = torch.zeros(())  # of the last training batch
        self.history: list[Epoch] = []
        self.stopping = False
        self._optimization = Optimization(opt, self.device, self.precision, accumulate, clip_norm, lambda: self.stopping)
        self._train_loss = TrainingLoss(epoch=0)
        self._train_dl: Batches = ()
        self._images = 0  # in the last batch
        self._random_at_start: RandomState = {}
        self._resume_random: RandomState | None = None  # where a resumed fit has to go on within an epoch
        self._forward: Callable[[Tensor], Tensor] = distributed.shared(model, self.device)
        if compile:
            self._forward = torch.compile(self._forward)

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is evaluated and worth keeping: the averaged one, where weights are averaged."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def running_loss(self) -> float:
        """The mean training loss over this epoch's samples so far; reading it waits for the device."""
        return self._train_loss.read()

    @property
    def steps(self) -> int:
        """How many steps the optimizer has made in this fit, and in the one that it goes on from."""
        return self._optimization.steps

    @property
    def between_steps(self) -> bool:
        """Whether no gradient waits for a step, so that `state_dict` says all."""
        return self._optimization.pending == 0

    def fit(self, epochs: int, train_dl: Batches, valid_dl: Batches, *, resume: Mapping[str, Any] | None = None) -> list[Epoch]:
        """Train for some epochs, validate after each, and return a row of figures for every epoch.

        `resume` is a `state_dict` of a fit that was stopped: this one goes on from there, to so many epochs in all, and ends
        where that one would have ended.
        Raises: DataError if a loader gives no batch; TrainingError if a loss is not a finite number, or memory is short;
        ModelFileError if the state does not fit.
        """
        self.epochs = epochs
        self.batches = batches_of(train_dl)
        self.epoch, self.batch, self.history = 0, 0, []
        self._optimization.begin()
        self._resume_random = None
        self._train_dl = train_dl = on_device(train_dl, self.device)
        valid_dl = on_device(valid_dl, self.device)
        try:
            if resume is not None:
                self._load_state(resume)
            with explained(self._where):
                self._run(epochs, train_dl, valid_dl)
        finally:
            self.stopping = False
        return self.history

    def stop(self) -> None:
        """End training after the present step, or the present epoch where that has ended; `state_dict` then says where.

        Before `fit` it ends the next one at its start.
        """
        self.stopping = True

    def evaluate(self, dl: Batches) -> Evaluation:
        """The loss and accuracy over a loader's (xb, yb), each sample counted once.

        In several processes each evaluates what its loader gives, and the figures are those over all.
        Raises: DataError if the loader gives no batch.
        """
        self._set_mode(training=False)
        return evaluate(self.evaluated_model, self.loss_func, dl, self.device)

    def predict(self, dl: Batches) -> Predictions:
        """The logits for a loader's (xb, yb), in its order, with the labels it gave.

        Raises: DataError if the loader gives no batch.
        """
        self._set_mode(training=False)
        return predict(self.evaluated_model, dl, self.device)

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on: tensors, numbers, text, and lists, tuples and dictionaries of those.

        It holds together where `between_steps` is true. In several processes each has to ask for it at the same step.
        Raises: TrainingError if a training loss was not a finite number.
        """
        unfinished = len(self.history) < self.epoch
        if unfinished:
            self._train_loss.read()
        return {
            **part_states(self._parts()),
            "callbacks": callback_states(self.callbacks),
            "history": [tuple(row) for row in self.history],
            "steps": self.steps,
            "batch": self.batch if unfinished else 0,
            "train_loss": distributed.gathered(self._train_loss.sums()) if unfinished else None,
            "random": distributed.gathered(random_state(self.device, self._train_dl)),
            "random_at_epoch_start": distributed.gathered(self._random_at_start) if unfinished else None,
        }

    def _run(self, epochs: int, train_dl: Batches, valid_dl: Batches) -> None:
        for callback in self.callbacks:
            callback.on_fit_start(self)
        while len(self.history) < epochs and not distributed.any_of(self.stopping):
            row = self._run_epoch(train_dl, valid_dl)
            if row is None:
                break
            self.history.append(row)
            for callback in self.callbacks:
                callback.on_epoch_end(self, row)
        for callback in self.callbacks:
            callback.on_fit_end(self)

    def _run_epoch(self, train_dl: Batches, valid_dl: Batches) -> Epoch | None:
        """Train and validate; None if that was stopped on the way, after a step or before the validation."""
        start = time.perf_counter()
        if not self._train_epoch(self._begin_epoch(train_dl)) or distributed.any_of(self.stopping):
            return None
        train_loss = self._train_loss.mean()
        distributed.make_buffers_equal(self.model, self.evaluated_model)
        random_before = random_state(self.device, train_dl)
        valid = self.evaluate(self._while_going(valid_dl))
        if self._stopped_alone():
            set_random_state(random_before, self.device, train_dl)
            return None
        if not math.isfinite(valid.loss):
            raise not_finite(f"validation loss of epoch {self.epoch}", valid.loss, self.opt.param_groups[0]["lr"])
        return Epoch(self.epoch, train_loss, valid.loss, valid.accuracy, time.perf_counter() - start)

    def _begin_epoch(self, train_dl: Batches) -> Iterator[Any]:
        """The batches of the next epoch, or those that are left of the one that a resumed fit was stopped in."""
        if self._resume_random is None:
            self.epoch, self.batch = len(self.history) + 1, 0
            self._train_loss = TrainingLoss(self.epoch)
            self._random_at_start = random_state(self.device, train_dl)
            return iter(train_dl)
        set_random_state(self._random_at_start, self.device, train_dl)
        batches = batches_from(train_dl, self.batch)
        set_random_state(self._resume_random, self.device, train_dl)
        self._resume_random = None
        return batches

    def _train_epoch(self, batches: Iterator[Any]) -> bool:
        """Train on all batches; False if training was stopped before the last."""
        self._set_mode(training=True)
        device, forward, loss_func, augment = self.device, self._forward, self.loss_func, self.augment
        optimization, tally, group = self._optimization, self._train_loss, self.opt.param_groups[0]
        watching = [each for each in self.callbacks if type(each).on_batch_end is not Callback.on_batch_end]
        autocast = self._autocast()
        for xb, yb in batches:
            self.batch += 1
            self._images = len(xb)
            if xb.device != device or yb.device != device:
                xb, yb = xb.to(device, non_blocking=True), yb.to(device, non_blocking=True)
            if augment is not None:
                xb, yb = augment(xb, yb)
            with autocast:
                loss = loss_func(forward(xb), yb)
            self.loss = loss.detach()
            tally.add(self.loss, self._images, group["lr"])
            if optimization.add(loss, self._images):
                self._after_step()
            for callback in watching:
                callback.on_batch_end(self)
            if not self.model.training:  # a callback has evaluated it
                self._set_mode(training=True)
            if self._stopped_after_step():
                return False
        if optimization.finish():
            self._after_step()
        return True

    def _after_step(self) -> None:
        if self.schedule is not None:
            self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def _stopped_after_step(self) -> bool:
        if distributed.size() == 1:
            return self.stopping and self.between_steps
        return self.between_steps and self._optimization.all_stop

    def _stopped_alone(self) -> bool:
        """Whether evaluation may end early: only a single process can without asking the others."""
        return self.stopping and distributed.size() == 1

    def _while_going(self, dl: Batches) -> Iterator[Any]:
        for batch in dl:
            yield batch
            if self._stopped_alone():
                return

    def _set_mode(self, *, training: bool) -> None:
        for module in (self.model, self.evaluated_model, self.loss_func):
            if isinstance(module, nn.Module):
                module.train(training)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[self.precision])

    def _where(self) -> str:
        return f"epoch {self.epoch} after step {self.steps}, with batches of {self._images} images"

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, or is not there."""
        return {
            "model": self.model,
            "average": self.averaged,
            "optimizer": self.opt,
            "schedule": self.schedule,
            "scaler": self._optimization.scaler,
        }

    def _load_state(self, state: Mapping[str, Any]) -> None:
        parts = self._parts()
        check_state(state, parts)
        load_parts(state, parts)
        load_callbacks(state, self.callbacks)
        self.history = [Epoch(*row) for row in state["history"]]
        self.epoch = len(self.history)
        self._optimization.steps = state["steps"]
        now = state["random"][distributed.rank()]
        set_random_state(now, self.device, self._train_dl)
        if state["random_at_epoch_start"] is None:
            return
        self.epoch, self.batch = self.epoch + 1, state["batch"]
        self._train_loss = TrainingLoss(self.epoch, *state["train_loss"][distributed.rank()])
        self._random_at_start = state["random_at_epoch_start"][distributed.rank()]
        self._resume_random = now
