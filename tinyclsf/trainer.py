"""The loop of `training.py` for real work: device, memory format, schedule and callbacks around the same steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tinyclsf.callbacks import Callback
from tinyclsf.errors import ConfigurationError, TrainingError
from tinyclsf.metrics import Epoch, has_labels, hits, mean_over, no_samples
from tinyclsf.training import Batches, LossFunc


class Evaluation(NamedTuple):
    """Figures of a model over a number of samples; accuracy is None where the targets are not class labels."""

    loss: float
    accuracy: float | None
    samples: int


class Predictions(NamedTuple):
    """A model's logits (n, classes) and the labels (n,) that the loader gave with the images, on the CPU."""

    logits: Tensor
    labels: Tensor


class Trainer:
    """Trains, evaluates and predicts with one model on one device.

    `device="auto"` takes CUDA, then MPS, then the CPU. `memory_format="auto"` is channels_last where a model has 2-D
    convolutions; with "contiguous", and no schedule, training on the CPU ends with the very parameters of `fit`.
    `schedule` is stepped after every batch, `callbacks.EpochSchedule` steps one after every epoch. `augment` changes each
    training batch of images as stored, on the device. A loss that is a module is put in training and evaluation mode with the
    model. No step waits for the device: losses and hits are added up there.
    Raises: ConfigurationError if the device is not there.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_func: LossFunc,
        opt: Optimizer,
        *,
        device: str = "auto",
        memory_format: Literal["auto", "channels_last", "contiguous"] = "auto",
        schedule: LRScheduler | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.device = choose_device(device)
        self.memory_format = _choose_memory_format(memory_format, model, self.device)
        # Parameters are moved in place, so the optimizer goes on holding the right ones.
        self.model = model.to(self.device)
        if self.memory_format == "channels_last":
            self.model.to(memory_format=torch.channels_last)
        self.loss_func = loss_func
        self.opt = opt
        self.schedule = schedule
        self.augment = augment
        self.callbacks = list(callbacks)
        self.epoch = 0
        self.epochs = 0
        self.batch = 0
        self.batches: int | None = None  # in an epoch of the present fit; None where the loader has no length
        self._train = _Sums(self.device)

    @property
    def running_loss(self) -> float:
        """The mean training loss over this epoch's samples so far; reading it waits for the device."""
        return mean_over(self._train.loss.item(), self._train.count)

    def fit(self, epochs: int, train_dl: Batches, valid_dl: Batches) -> list[Epoch]:
        """Train for some epochs, validate after each, and return a row of figures for every epoch.

        Raises: DataError if a loader gives no batch; TrainingError if a loss is not a finite number.
        """
        self.epochs = epochs
        self.batches = batches_of(train_dl)
        history = []
        for callback in self.callbacks:
            callback.on_fit_start(self)
        for self.epoch in range(1, epochs + 1):
            start = time.perf_counter()
            train_loss = self._train_epoch(train_dl)
            valid = self.evaluate(valid_dl)
            row = Epoch(self.epoch, train_loss, valid.loss, valid.accuracy, time.perf_counter() - start)
            self._check(row)
            history.append(row)
            for callback in self.callbacks:
                callback.on_epoch_end(self, row)
        for callback in self.callbacks:
            callback.on_fit_end(self)
        return history

    def evaluate(self, dl: Batches) -> Evaluation:
        """The loss and accuracy over a loader's (xb, yb), each sample counted once.

        Raises: DataError if the loader gives no batch.
        """
        sums = _Sums(self.device)
        correct: Tensor | None = torch.zeros((), dtype=torch.int64, device=self.device)
        for out, yb in self._outputs(dl):
            sums.add(self.loss_func(out, yb), len(yb))
            if correct is not None:
                correct = correct + hits(out, yb) if has_labels(out, yb) else None
        loss = mean_over(sums.loss.item(), sums.count)
        return Evaluation(loss, None if correct is None else correct.item() / sums.count, sums.count)

    def predict(self, dl: Batches) -> Predictions:
        """The logits for a loader's (xb, yb), in its order, with the labels it gave.

        Raises: DataError if the loader gives no batch.
        """
        logits, labels = _Rows(), _Rows()
        for out, yb in self._outputs(dl):
            logits.add(out)
            labels.add(yb)
        return Predictions(logits.gathered(), labels.gathered())

    def _train_epoch(self, train_dl: Batches) -> float:
        self._set_mode(training=True)
        self._train = _Sums(self.device)
        model, loss_func, opt, schedule, augment = self.model, self.loss_func, self.opt, self.schedule, self.augment
        watching = [each for each in self.callbacks if type(each).on_batch_end is not Callback.on_batch_end]
        for self.batch, (xb, yb) in enumerate(train_dl, start=1):
            xb, yb = self._put(xb), self._put(yb)
            if augment is not None:
                xb = augment(xb)
            loss = loss_func(model(xb), yb)
            loss.backward()  # type: ignore[no-untyped-call]
            opt.step()
            opt.zero_grad()
            if schedule is not None:
                schedule.step()
            self._train.add(loss.detach(), len(xb))
            for callback in watching:
                callback.on_batch_end(self)
        return self.running_loss

    @torch.no_grad()
    def _outputs(self, dl: Batches) -> Iterator[tuple[Tensor, Tensor]]:
        self._set_mode(training=False)
        for xb, yb in dl:
            yield self.model(self._put(xb)), self._put(yb)

    def _set_mode(self, *, training: bool) -> None:
        for module in (self.model, self.loss_func):
            if isinstance(module, nn.Module):
                module.train(training)

    def _put(self, batch: Tensor) -> Tensor:
        return batch.to(self.device, non_blocking=True)

    def _check(self, row: Epoch) -> None:
        for name, loss in (("training", row.train_loss), ("validation", row.valid_loss)):
            if not math.isfinite(loss):
                lr = self.opt.param_groups[0]["lr"]
                raise TrainingError(
                    f"the {name} loss of epoch {row.epoch} is {loss} at learning rate {lr:g}; "
                    "lower the learning rate, or look for values in the data that are not finite"
                )


class _Sums:
    """A loss summed over samples, on the device."""

    def __init__(self, device: torch.device) -> None:
        # MPS has no float64.
        self.loss = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        self.count = 0

    def add(self, loss: Tensor, count: int) -> None:
        self.loss.add_(loss, alpha=count)
        self.count += count


class _Rows:
    """The rows of all batches in one growing tensor on the CPU: kept apart they pin the heap in pieces, 20 MB for MNIST."""

    def __init__(self) -> None:
        self.data = torch.empty(0)
        self.count = 0

    def add(self, rows: Tensor) -> None:
        end = self.count + len(rows)
        if end > len(self.data):
            grown = torch.empty(2 * end, *rows.shape[1:], dtype=rows.dtype)
            if self.count:
                grown[: self.count] = self.data[: self.count]
            self.data = grown
        self.data[self.count : end] = rows
        self.count = end

    def gathered(self) -> Tensor:
        """All rows.

        Raises: DataError if there is none.
        """
        if self.count == 0:
            raise no_samples()
        return self.data[: self.count]


def choose_device(device: str) -> torch.device:
    """The device by its name; "auto" is CUDA, then MPS, then the CPU.

    Raises: ConfigurationError if there is no such device; nothing falls back to the CPU unasked.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigurationError(f"'{device}' is not a device; use auto, cpu, cuda, cuda:0 or mps") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}.get(chosen.type, 0)
    if (chosen.index or 0) >= there:
        raise ConfigurationError(
            f"device {device} was asked for and PyTorch {torch.__version__} finds {there} {chosen.type} devices here; "
            "use --device auto or cpu"
        )
    return chosen


def batches_of(dl: Batches) -> int | None:
    """How many batches a loader gives, or None where it cannot say, as over an `IterableDataset`."""
    try:
        return len(dl)  # type: ignore[arg-type]
    except TypeError:
        return None


def _choose_memory_format(wanted: str, model: nn.Module, device: torch.device) -> str:
    if wanted not in ("auto", "channels_last", "contiguous"):
        raise ConfigurationError(f"'{wanted}' is not a memory format; use auto, channels_last or contiguous")
    if wanted != "auto":
        return wanted
    convolutions = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return "channels_last" if convolutions and device.type in ("cpu", "cuda") else "contiguous"
