"""The loop of `training.py` with device, precision, schedule, callbacks, and a state to resume from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tinyclsf.batches.loaders import batches_of, on_device
from tinyclsf.finetuning import put_in_training
from tinyclsf.history import History
from tinyclsf.loop.evaluation import Evaluation, Predictions, evaluate, predict, until
from tinyclsf.loop.position import Position, check_epochs
from tinyclsf.loop.state import callback_states, load_callback_states, load_states, states_of
from tinyclsf.loop.state_checks import check_state
from tinyclsf.loop.steps import MovingAverage, Steps, check_trainable
from tinyclsf.loop.training_loss import not_finite
from tinyclsf.machine import distributed
from tinyclsf.machine.arguments import naming_arguments
from tinyclsf.machine.devices import (
    bring_state,
    choose_device,
    choose_memory_format,
    choose_precision,
    compiled,
    computing_in,
    moved,
    multiplying_in,
    place,
)
from tinyclsf.machine.torch_errors import translated
from tinyclsf.metrics import Epoch, labelled, loss_of
from tinyclsf.progress.display import Progress
from tinyclsf.training import Batches, LossFunc


class Callback:
    """Methods that `Trainer.fit` calls, and a state to resume from; a subclass overrides those that it needs.

    A plugin has these attributes on its class, or on the function that makes the callback:
    watches: it changes nothing in training.
    every_process: under `torchrun` every process has one. Otherwise only the first process has it, and there `Trainer.evaluate`
        and `Trainer.state_dict`, which all processes compute together, are an error. A checkpoint holds the state of the first
        process's callback, and on resuming each process loads it.
    """

    watches = False
    every_process = False

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each training batch; keep it fast, because it runs at every step."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        """After the validation of an epoch, with the figures of the epoch."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, or when training was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed fit needs: numbers, text, None, tensors, and lists, tuples and dictionaries of those."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned; called before `on_fit_start`."""


class Trainer:
    """Train, evaluate and predict with one model on one device.

    model: the model to train; it is moved to the device in place.
    loss_func: gives the mean loss of a batch; a module is moved, and put in training and evaluation mode, as the model is.
    opt: an optimizer of all or some of the model's parameters.
    device: "auto" takes CUDA, then MPS, then the CPU.
    memory_format: "auto" is channels_last if a model has 2-D convolutions.
    precision: the number type of training; "auto" is bfloat16 on CUDA that supports it, but float32 for models of fewer than
        100,000 parameters. "tf32" is float32 on CUDA, but products of matrices round to 10 bits. Evaluation is in float32; its
        convolutions on CUDA use TF32 unless `torch.backends.cudnn.allow_tf32` is False.
    compile: compile the model for training with `torch.compile`, on CUDA with graphs if `accumulate` is 1.
    schedule: stepped after every step of the optimizer; `callbacks.EpochSchedule` steps one after every epoch.
    augment: changes each training batch (xb, yb) on the device: images as stored, and their labels. Where it has `set_epoch`,
        that is called with the number of each epoch, from 1.
    accumulate: add up the gradients of this many batches before each step.
    clip_norm: clip the gradient norm to this value.
    ema_decay: the decay of a moving average of the weights, lower in the first steps; the average is evaluated and kept.
    callbacks: called in this order.

    A part of the model whose parameters are all frozen, by `requires_grad_(False)`, stays in evaluation mode.
    With "contiguous" and no extras, training on the CPU ends with exactly the same parameters as `fit`. Steps do not wait for
    the loss: losses and hits stay on the device until they are read.
    Raises: ConfigurationError if the device is missing, a value is out of range, or the model cannot be trained this way.
    """

    @naming_arguments
    def __init__(
        self,
        model: nn.Module,
        loss_func: LossFunc,
        opt: Optimizer,
        *,
        device: str | torch.device = "auto",
        memory_format: Literal["auto", "channels_last", "contiguous"] = "auto",
        precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"] = "auto",
        compile: bool = False,
        schedule: LRScheduler | None = None,
        augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        check_trainable(model, opt, schedule)
        self.device = choose_device(device)
        self.memory_format = choose_memory_format(memory_format, model, self.device)
        self.precision = choose_precision(precision, self.device, model)
        # Parameters are moved in place, so the optimizer goes on holding the right ones.
        self.model = model
        for module in (model, loss_func):
            if isinstance(module, nn.Module):
                place(module, self.device, self.memory_format)
                distributed.take_from_first([*module.parameters(), *module.buffers()])
        bring_state(opt)
        self.averaged = None if ema_decay is None else MovingAverage(model, ema_decay)
        self.loss_func = loss_func
        self.opt = opt
        self.schedule = schedule
        self.augment = augment
        self.callbacks = list(callbacks)
        self._called: Sequence[Callback | Progress] = ()  # in the present fit
        self.epochs = 0
        self.batches: int | None = None  # in an epoch of the present fit; None where the loader has no length
        self.loss = torch.zeros(())  # of the last training batch
        self.stopping = False
        self._position = Position(self.device)
        self._steps = Steps(opt, self.device, self.precision, accumulate, clip_norm, lambda: self.stopping)
        self._images = 0  # in the last batch
        self._computing = computing_in(self.precision, self.device)
        self._multiplying = multiplying_in(self.precision)
        self._forward: Callable[[Tensor], Tensor] = compiled(model, self.device, accumulate) if compile else model

    @property
    def evaluated_model(self) -> nn.Module:
        """The model to evaluate and save: with `ema_decay` the averaged one."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def epoch(self) -> int:
        """The current or last epoch, from 1; 0 before the first."""
        return self._position.epoch

    @property
    def batch(self) -> int:
        """How many batches of that epoch are done."""
        return self._position.batch

    @property
    def history(self) -> History:
        """One row of figures for each finished and validated epoch."""
        return self._position.history

    @property
    def first_process(self) -> bool:
        """Whether this is the first process, which writes the files; without `torchrun` it is the only one."""
        return distributed.rank() == 0

    @property
    def running_loss(self) -> float:
        """The mean training loss over this process's samples of the epoch so far; reading it waits for the device."""
        return self._position.train_loss.read()

    @property
    def steps(self) -> int:
        """How many steps the optimizer has made in this fit, and in the fit that it resumed."""
        return self._steps.made

    @property
    def between_steps(self) -> bool:
        """Whether no gradient waits for a step; only then `state_dict` is complete."""
        return self._steps.pending == 0

    @naming_arguments
    def fit(
        self,
        epochs: int,
        train_dl: Batches,
        valid_dl: Batches,
        *,
        resume: Mapping[str, Any] | None = None,
        progress: bool | Progress | None = None,
    ) -> History:
        """Train, validate after each epoch, and return one row of figures per epoch.

        `resume` is the `state_dict` of a stopped fit: it continues there, up to `epochs` in all, as if it had not stopped; only
        the random numbers of a loader's `persistent_workers` begin anew.
        `progress` is shown in a notebook and on a terminal; True shows it everywhere, False nowhere. A notebook's stop button
        ends training after the current step.
        Raises: ConfigurationError if epochs is not a positive whole number; DataError if a loader gives no batch, or the model
        has no output for a label; TrainingError if a loss is not a finite number, or memory runs out; ModelFileError if the
        state does not fit.
        """
        shown = Progress.of(progress)
        self._called = self.callbacks if shown.mode == "none" else [*self.callbacks, shown]
        try:
            self.epochs = check_epochs(epochs)
            self.batches = batches_of(train_dl)
            self._position = Position(self.device, on_device(train_dl, self.device))
            self._steps.begin()
            if resume is not None:
                self.take_up(resume)
            where = translated(lambda: f"epoch {self.epoch} after step {self.steps}, with batches of {self._images} images")
            with where, shown.stop_button(self):
                self._run(on_device(valid_dl, self.device))
        finally:
            shown.close()
            self.stopping = False
            self._position.train_dl = train_dl  # a copy of it on the device is of no use any more
        return self.history

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Load the `state_dict` of a stopped fit without training; `fit` does this itself with `resume`.

        Raises: ModelFileError if the state does not fit; ConfigurationError if it is from another number of processes.
        """
        state = {"loss": None, **state}  # before a loss could learn there was none
        check_state(state, self._stateful())
        load_states(state, self._stateful())
        load_callback_states(state["callbacks"], self.callbacks)
        self._steps.made = state["steps"]
        if self.averaged is not None:
            self.averaged.warms_up = state.get("average_warms_up", False)
        self._position.load_state_dict(state)

    def stop(self) -> None:
        """End training after the current step or epoch; before `fit`, end the next one at its start."""
        self.stopping = True

    @naming_arguments
    def evaluate(self, dl: Batches) -> Evaluation:
        """Compute loss and accuracy over a loader of (xb, yb), each sample counted once, those of all processes together.

        Raises: DataError if the loader gives no batch, or the model has no output for a label.
        """
        self._set_mode(training=False)
        return evaluate(self.evaluated_model, self.loss_func, dl, self.device)

    @naming_arguments
    def predict(self, dl: Batches) -> Predictions:
        """Compute the logits for a loader of (xb, yb), in its order, together with its labels.

        Raises: DataError if the loader gives no batch.
        """
        self._set_mode(training=False)
        return predict(self.evaluated_model, dl, self.device)

    def state_dict(self) -> dict[str, Any]:
        """The state that training can continue from: tensors, numbers, text, and lists, tuples and dictionaries of those.

        It is complete when `between_steps` is true. With several processes, each has to ask for it at the same step.
        Raises: TrainingError if a loss was not a finite number; PluginError, ConfigurationError if a state has other types.
        """
        states = {**states_of(self._stateful()), "callbacks": callback_states(self.callbacks)}
        if self.averaged is not None:
            states["average_warms_up"] = self.averaged.warms_up
        return {**states, "steps": self.steps, **self._position.state_dict()}

    def _run(self, valid_dl: Batches) -> None:
        for callback in self._called:
            callback.on_fit_start(self)
        while len(self.history) < self.epochs and not distributed.any_of(self.stopping):
            if (row := self._run_epoch(valid_dl)) is None:
                break
            self.history.append(row)
            for callback in self._called:
                callback.on_epoch_end(self, row)
        for callback in self._called:
            callback.on_fit_end(self)

    def _run_epoch(self, valid_dl: Batches) -> Epoch | None:
        """Train and validate; None if that was stopped on the way, after a step or in the validation."""
        start = time.perf_counter()
        self._set_mode(training=True)
        self._watching = [each for each in self._called if type(each).on_batch_end is not Callback.on_batch_end]
        batches = self._position.begin_epoch()
        if (tell_epoch := getattr(self.augment, "set_epoch", None)) is not None:
            tell_epoch(self.epoch)
        for xb, yb in batches:
            self._train_batch(xb, yb)
            del xb, yb  # so that the next batch takes its place, which is in the processor's cache
            if self._steps.stopped:
                return None
        if self._steps.finish():
            self._after_step()
        if distributed.any_of(self.stopping):
            return None
        train_loss = self._position.train_loss.mean()
        # Such as the statistics of batch norm; the model that is saved is that of the first process.
        distributed.take_from_first(dict.fromkeys([*self.model.buffers(), *self.evaluated_model.buffers()]))
        random_before = self._position.random_state()
        valid = self.evaluate(until(self._stops_alone, valid_dl))
        if self._stops_alone():  # and no random number counts as drawn since
            self._position.set_random_state(random_before)
            return None
        if not math.isfinite(valid.loss):
            raise not_finite(f"validation loss of epoch {self.epoch}", valid.loss, self.opt.param_groups[0]["lr"])
        return Epoch(self.epoch, train_loss, valid.loss, valid.accuracy, time.perf_counter() - start)

    def _train_batch(self, xb: Tensor, yb: Tensor) -> None:
        number = self.batch + 1
        self._images = len(xb)
        if xb.device != self.device or yb.device != self.device:
            xb, yb = moved(xb, self.device), moved(yb, self.device)
        if self.augment is not None:
            xb, yb = self.augment(xb, yb)
        with self._multiplying:
            with self._computing:
                out = self._forward(xb)
                loss = loss_of(self.loss_func, out, yb, f"training batch {number} of epoch {self.epoch}")
            stepped = self._steps.add(loss, self._images)
        # Only now: an error or Ctrl-C before leaves a state that goes on with this batch.
        self.loss, self._position.batch = loss.detach(), number
        self._position.train_loss.add(self.loss, self._images, self.opt.param_groups[0]["lr"], labelled(out, yb))
        if stepped:
            self._after_step()
        for callback in self._watching:
            callback.on_batch_end(self)
        if not self.model.training:  # a callback has evaluated it
            self._set_mode(training=True)

    def _after_step(self) -> None:
        if self.schedule is not None:
            self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def _stops_alone(self) -> bool:
        return self.stopping and distributed.size() == 1  # several have to ask each other

    def _set_mode(self, *, training: bool) -> None:
        for module in (self.model, self.evaluated_model, self.loss_func):
            if isinstance(module, nn.Module):
                module.train(training)
        if training:
            put_in_training(self.model)

    def _stateful(self) -> dict[str, Any]:
        of_steps = {"optimizer": self.opt, "schedule": self.schedule, "scaler": self._steps.scaler}
        learns = isinstance(self.loss_func, nn.Module) and any(each.requires_grad for each in self.loss_func.parameters())
        return {"model": self.model, "average": self.averaged, **of_steps, "loss": self.loss_func if learns else None}
