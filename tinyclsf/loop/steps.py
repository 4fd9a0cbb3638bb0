"""From the loss of a batch to a step of the optimizer: accumulation, clipping, loss scaling, and the mean over processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import distributed


class Optimization:
    """Backward passes gathered into optimizer steps, each by the mean loss over the samples of its batches.

    A step takes `accumulate` batches, or what is left of an epoch. In several processes it is the mean over the samples of all;
    they tell each other at each step whether one of them is `stopping`, and `all_stop` says so.
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
        # Small gradients vanish in float16: they are computed of a loss that is scaled up.
        self.scaler = torch.amp.GradScaler(device.type) if precision == "float16" else None
        self.steps = 0
        self.pending = 0  # batches whose gradients wait for a step
        self.all_stop = False
        self._stopping = stopping
        self._count = 0
        self._by_samples = accumulate > 1 or distributed.size() > 1

    def begin(self) -> None:
        """Begin a run: no steps yet, and nothing left of one that an error or an interruption ended within a step."""
        self.opt.zero_grad()
        self.steps = self.pending = self._count = 0
        self.all_stop = False

    def add(self, loss: Tensor, count: int) -> bool:
        """Take in a batch's mean loss over so many samples; True if the optimizer made its step."""
        if self._by_samples:
            loss = loss * count
            self._count += count
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        self.pending += 1
        return self.pending == self.accumulate and self.finish()

    def finish(self) -> bool:
        """Step with what has been gathered; False if that is nothing, or more than float16 can hold, so that it is dropped."""
        if self.pending == 0:
            return False
        if self.scaler is not None:
            self.scaler.unscale_(self.opt)
        if self._by_samples:
            self._divide()
        if self.clip_norm is not None:
            clip_grad_norm_(self._parameters(), self.clip_norm)
        stepped = self._step()
        self.opt.zero_grad()
        self.pending = self._count = 0
        self.steps += stepped
        return stepped

    def _step(self) -> bool:
        if self.scaler is None:
            self.opt.step()
            return True
        scale = self.scaler.get_scale()
        self.scaler.step(self.opt)  # not where a gradient is infinite; the scale falls then, and never else
        self.scaler.update()
        return self.scaler.get_scale() >= scale

    def _divide(self) -> None:
        """Make of the gradient of a sum over samples that of their mean; PyTorch has averaged the sums of all processes."""
        count, stopping = distributed.summed([self._count, self._stopping()])  # in one message, as a message takes its time
        self.all_stop = stopping > 0
        for parameter in self._parameters():
            if parameter.grad is not None:
                parameter.grad.div_(count / distributed.size())

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.opt.param_groups for parameter in group["params"]]
