"""From the loss of a batch to a step of the optimizer: accumulation, clipping, loss scaling, and the mean over processes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import distributed


class Steps:
    """Backward passes gathered into optimizer steps, each by the mean loss over the samples of its batches.

    precision: what training computes in on the device; float16 needs its losses scaled.
    accumulate: how many batches a step takes; the last of an epoch takes what is left.
    clip_norm: the largest norm of a step's gradient, or None.
    stopping: says whether this process is asked to stop; several tell each other at each step.
    Raises: ConfigurationError if accumulate is below 1, or clip_norm not above 0.
    """

    def __init__(
        self,
        opt: Optimizer,
        device: torch.device,
        precision: str,
        accumulate: int,
        clip_norm: float | None,
        stopping: Callable[[], bool],
    ) -> None:
        if accumulate < 1:
            raise ConfigurationError(f"accumulate is {accumulate}; wanted at least 1 batch a step")
        if clip_norm is not None and not clip_norm > 0:
            raise ConfigurationError(f"clip_norm is {clip_norm}; wanted a norm above 0, or None")
        self.opt = opt
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.device = device
        # Small gradients vanish in float16: they are computed of a loss that is scaled up.
        self.scaler = torch.amp.GradScaler(device.type) if precision == "float16" else None
        self._scale: float | None = None  # after the last step of this run, as to ask for it waits for the device
        self.made = 0
        self.pending = 0  # batches whose gradients wait for a step
        self._count = 0  # of their samples
        self._unit = 1.0  # samples that a loss is counted in; 0 until the first batch of float16
        self._stopping = stopping
        self._any_stops = False  # of several processes, at their last step
        self._by_samples = accumulate > 1 or distributed.size() > 1

    def begin(self) -> None:
        """Begin a run: no steps yet, and nothing left of one that an error or an interruption ended within a step."""
        self.opt.zero_grad()
        self.made = self.pending = self._count = 0
        self._any_stops = False
        if self.scaler is not None:
            state, self.scaler = self.scaler.state_dict(), torch.amp.GradScaler(self.device.type)
            self.scaler.load_state_dict(state)
            self._scale, self._unit = None, 0.0

    def add(self, loss: Tensor, count: int) -> bool:
        """Take in a batch's mean loss over so many samples; True if the optimizer made its step."""
        if self._by_samples:
            loss = loss * (count / (self._unit or self._find_unit(count)))
            self._count += count
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        self.pending += 1
        return self.pending == self.accumulate and self.finish()

    def finish(self) -> bool:
        """Step with what has been gathered; False if that is nothing, or more than float16 can hold, so that it is dropped."""
        if self.pending == 0:
            return False
        if self._by_samples:
            self._average()
        if self.scaler is not None:
            self.scaler.unscale_(self.opt)
        if self.clip_norm is not None:
            clip_grad_norm_(self._parameters(), self.clip_norm)
        if self.scaler is None:
            self.opt.step()
            stepped = True
        else:
            before = self.scaler.get_scale() if self._scale is None else self._scale
            self.scaler.step(self.opt)  # not where a gradient is infinite; the scale falls then, and never else
            self.scaler.update()
            self._scale = self.scaler.get_scale()
            stepped = self._scale >= before
        self.opt.zero_grad()
        self.pending = self._count = 0
        self.made += stepped
        return stepped

    @property
    def stopped(self) -> bool:
        """Whether training ends here, in all processes; never while a gradient waits for its step."""
        return self.pending == 0 and (self._stopping() if distributed.size() == 1 else self._any_stops)

    def _find_unit(self, count: int) -> float:
        """About the samples of a batch, the same in all processes: a loss summed over samples soon leaves float16.

        A power of two rounds nothing, so that a resumed run, whose first batch may be a short one, goes on bit for bit.
        """
        samples = distributed.summed([count])[0] / distributed.size()
        self._unit = 2.0 ** math.ceil(math.log2(samples))
        return self._unit

    def _average(self) -> None:
        """Make of the gradient of a sum over samples that of the mean over the samples of all processes."""
        parameters = self._parameters()
        count, stopping = distributed.sum_gradients(parameters, [self._count, self._stopping()])
        self._any_stops = stopping > 0
        torch._foreach_div_([parameter.grad for parameter in parameters if parameter.grad is not None], count / self._unit)

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.opt.param_groups for parameter in group["params"]]


def check_trainable(model: nn.Module, opt: Optimizer, schedule: LRScheduler | None) -> None:
    """Find out before training what could not train the model, or would end it with an error after a while.

    Raises: ConfigurationError if the model has nothing to train, the optimizer holds nothing of that, or the schedule cannot be
    stepped after every step.
    """
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if not trained:
        raise ConfigurationError(
            f"model {type(model).__name__} has no parameter that requires a gradient, so there is nothing to train; "
            "call requires_grad_() on what is to be trained"
        )
    if not any(id(parameter) in trained for group in opt.param_groups for parameter in group["params"]):
        raise ConfigurationError(
            f"optimizer {type(opt).__name__} holds no parameter of model {type(model).__name__} that requires a gradient; "
            "make it with model.parameters() of this very model"
        )
    if isinstance(schedule, ReduceLROnPlateau):
        raise ConfigurationError(
            "schedule is a ReduceLROnPlateau, which needs the validation loss of an epoch and cannot be stepped after every "
            "step; leave schedule out and give callbacks=[EpochSchedule(schedule)]"
        )


class MovingAverage(AveragedModel):
    """A copy of a model that follows it.

    decay: the share of the copy that stays at each step, once it is warm. Before that less stays, (1 + n) / (10 + n) after
    n steps: else the first, random weights would be in it for long.
    Raises: ConfigurationError if decay is not between 0 and 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigurationError(f"ema_decay is {decay}; wanted a share between 0 and 1, as 0.999, or None")
        super().__init__(model)
        self.decay = decay
        self.warms_up = True  # fits that were begun before there was a warm-up go on without
        self._updates: int | None = None  # as n_averaged has it, which to ask would wait for the device
        self.register_load_state_dict_post_hook(self._forget_updates)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Come nearer to the model, after a step of its optimizer; buffers, such as those of batch norm, are the model's."""
        updates = int(self.n_averaged) if self._updates is None else self._updates
        decay = min(self.decay, (1 + updates) / (10 + updates)) if self.warms_up else self.decay
        pairs = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        averaged: list[tuple[Tensor, Tensor]] = [pair for pair in pairs if updates and pair[0].is_floating_point()]
        copied = [*zip(self.module.buffers(), model.buffers(), strict=True), *(pairs if not averaged else ())]
        # One call for all of them: one for each takes the host longer than a step takes the device.
        if averaged:
            torch._foreach_lerp_([own for own, _ in averaged], [other for _, other in averaged], 1 - decay)
        if copied:
            torch._foreach_copy_([own for own, _ in copied], [other for _, other in copied])
        self.n_averaged += 1
        self._updates = updates + 1

    def _forget_updates(self, *_: object) -> None:
        self._updates = None
