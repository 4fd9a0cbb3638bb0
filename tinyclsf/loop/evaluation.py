"""A model's figures and logits over a loader, each sample counted once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import distributed
from tinyclsf.machine.devices import moved
from tinyclsf.metrics import (
    Score,
    check_labels_of_loss,
    has_accuracy,
    hits,
    labelled,
    loss_of,
    mean_over,
    no_samples,
    wilson_interval,
)
from tinyclsf.modules import Lambda
from tinyclsf.training import Batches, LossFunc

Tta = Literal["none", "flip"]  # test-time augmentation
_FIRST = 5  # images of which predictions show the probabilities


class Evaluation(NamedTuple):
    """Figures of a model over a number of samples; accuracy is None if the targets are not class labels."""

    loss: float
    accuracy: float | None
    samples: int


class Predictions(NamedTuple):
    """A model's logits (n, classes) and the labels (n,) of the images, on the CPU."""

    logits: Tensor
    labels: Tensor

    def __repr__(self) -> str:
        lines = [f"logits {tuple(self.logits.shape)}, labels {tuple(self.labels.shape)}"]
        if self.logits.ndim == 2:
            first = self.logits[:_FIRST].float().softmax(dim=1)
            four: Any = {"float": "{:.4f}".format}  # digits
            rows = np.array2string(first.numpy(), formatter=four, threshold=10 * _FIRST, max_line_width=120)
            sums = ", ".join(f"{total:.4f}" for total in first.sum(dim=1).tolist())
            lines += [f"probabilities of the first {len(first)}:", rows, f"their sums: {sums}"]
        return "\n".join([*lines, f"labels of the first {_FIRST}: {self.labels[:_FIRST].tolist()}"])


def score(split: str, predictions: Predictions, loss_func: LossFunc) -> Score:
    """Loss and accuracy over the predictions for a split.

    Raises: DataError if there is no loss because of a label that is no class.
    """
    correct, count, where = int(hits(*predictions)), len(predictions.labels), f"the {split} split"
    loss = loss_of(loss_func, *predictions, where).item()
    check_labels_of_loss(loss, labelled(*predictions), where)
    return Score(split, count, loss, correct / count, wilson_interval(correct, count))


def evaluate(model: nn.Module, loss_func: LossFunc, dl: Batches, device: torch.device) -> Evaluation:
    """The loss and accuracy over a loader's (xb, yb); in several processes over what the loaders of all of them give.

    Raises: DataError if the loader gives no batch, or a label that the model has no output for.
    """
    losses, counts, targets = [], [], []
    correct: Tensor | None = torch.zeros((), dtype=torch.int64, device=device)
    for number, (out, yb) in enumerate(outputs(model, dl, device), start=1):
        losses.append(loss_of(loss_func, out, yb, f"evaluated batch {number}"))
        counts.append(len(yb))
        targets.append(labelled(out, yb))
        if correct is not None:
            correct = correct + hits(out, yb) if has_accuracy(out, yb) else None
    values = torch.stack(losses).tolist() if losses else []
    for number, (value, each) in enumerate(zip(values, targets, strict=True), start=1):
        check_labels_of_loss(value, each, f"evaluated batch {number}")
    local = math.fsum(value * count for value, count in zip(values, counts, strict=True))
    right = 0 if correct is None else int(correct)
    loss, samples, right_in_all, unlabelled = distributed.summed([local, sum(counts), right, correct is None])
    return Evaluation(mean_over(loss, int(samples)), None if unlabelled else right_in_all / samples, int(samples))


def predict(model: nn.Module, dl: Batches, device: torch.device) -> Predictions:
    """The logits for a loader's (xb, yb), in its order, with the labels it gave.

    Raises: DataError if the loader gives no batch.
    """
    logits, labels = _Rows(), _Rows()
    for out, yb in outputs(model, dl, device):
        logits.add(out)
        labels.add(yb)
    return Predictions(logits.gathered(), labels.gathered())


def with_tta(model: nn.Module, tta: Tta) -> nn.Module:
    """The model; with "flip" one that gives the logarithm of the mean probabilities of each image and its mirror image.

    The logarithm stands for logits: its softmax is the mean, and a loss takes it as it takes the model's own outputs.
    Raises: ConfigurationError if there is no such test-time augmentation.
    """
    if tta not in get_args(Tta):
        raise ConfigurationError(f"tta is {tta!r}; wanted {' or '.join(get_args(Tta))}")
    if tta == "none":
        return model

    def both(x: Tensor) -> Tensor:
        shares = torch.stack([model(each).log_softmax(dim=1) for each in (x, x.flip(-1))])
        return shares.logsumexp(dim=0) - math.log(2)

    return Lambda(both)


@torch.no_grad()
def outputs(model: nn.Module, dl: Batches, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """A model's outputs with the labels, batch by batch, on the device."""
    for xb, yb in dl:
        yield model(moved(xb, device)), moved(yb, device)


def until(stopped: Callable[[], bool], dl: Batches) -> Iterator[Any]:
    """The batches of a loader, up to the one in which training was stopped."""
    for batch in dl:
        yield batch
        if stopped():
            return


class _Rows:
    """The rows of all batches in one growing tensor on the CPU: kept apart they pin the heap in pieces, 20 MB for MNIST."""

    def __init__(self) -> None:
        self._data = torch.empty(0)
        self._count = 0

    def add(self, rows: Tensor) -> None:
        end = self._count + len(rows)
        if end > len(self._data):
            grown = torch.empty(2 * end, *rows.shape[1:], dtype=rows.dtype)
            if self._count:
                grown[: self._count] = self._data[: self._count]
            self._data = grown
        self._data[self._count : end] = rows
        self._count = end

    def gathered(self) -> Tensor:
        if self._count == 0:
            raise no_samples()
        return self._data[: self._count]
