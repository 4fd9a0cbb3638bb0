"""Training in three functions: one batch, all epochs, and the data loaders.

There are no devices, progress bars, files or plugins here; `Trainer` is this loop for use with them.
Source: "What is torch.nn really?", the PyTorch tutorial; with the same seed `fit` ends with the same parameters as its loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from tinyclsf.batches.loaders import loader
from tinyclsf.history import History
from tinyclsf.machine.arguments import naming_arguments
from tinyclsf.metrics import Epoch, check_labels_of_loss, has_accuracy, hits, labelled, loss_of, weighted_mean

LossFunc = Callable[[Tensor, Tensor], Tensor]
Batches = Iterable[Any]  # of (xb, yb); a DataLoader, a WrappedDataLoader, a list


@naming_arguments
def loss_batch(
    model: nn.Module, loss_func: LossFunc, xb: Tensor, yb: Tensor, opt: Optimizer | None = None, *, where: str = "the batch"
) -> tuple[float, int]:
    """Compute the loss of one batch and its number of samples; with an optimizer, also make one training step.

    where: the name of the batch in errors.
    Shapes: xb (n, ...), yb (n,); `loss_func(model(xb), yb)` is the mean over the batch.
    Raises: DataError if there is no loss because the model has no output for a label.
    """
    out = model(xb)
    loss = loss_of(loss_func, out, yb, where)
    if opt is not None:
        loss.backward()  # type: ignore[no-untyped-call]
        opt.step()
        opt.zero_grad()
    value = loss.item()
    check_labels_of_loss(value, labelled(out, yb), where)
    return value, len(xb)


@naming_arguments
def fit(
    epochs: int,
    model: nn.Module,
    loss_func: LossFunc,
    opt: Optimizer,
    train_dl: Batches,
    valid_dl: Batches,
    *,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> History:
    """Train, validate after each epoch, and return one row of figures per epoch.

    epochs: how often to go through `train_dl`.
    model: the model to train, in place.
    loss_func: gives the mean loss of a batch from outputs and targets.
    opt: an optimizer of the model's parameters.
    train_dl: gives the training batches `(xb, yb)`, in every epoch.
    valid_dl: gives the validation batches, after every epoch.
    on_epoch: called with the row after each epoch; by default, print the epoch, counted from 0, and the validation loss.
    Raises: DataError if a loader gives no batch, or the model has no output for a label.
    """
    history = History()
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        model.train()
        train_loss = weighted_mean(
            [
                loss_batch(model, loss_func, xb, yb, opt, where=f"training batch {number} of epoch {epoch}")
                for number, (xb, yb) in enumerate(train_dl, start=1)
            ]
        )
        model.eval()
        valid_loss, valid_accuracy = _validate(model, loss_func, valid_dl, epoch)
        row = Epoch(epoch, train_loss, valid_loss, valid_accuracy, time.perf_counter() - start)
        history.append(row)
        (on_epoch or _print_as_the_tutorial)(row)
    return history


@torch.no_grad()
def _validate(model: nn.Module, loss_func: LossFunc, valid_dl: Batches, epoch: int) -> tuple[float, float | None]:
    """The mean loss, and the accuracy or None, over a loader."""
    losses: list[tuple[float, int]] = []
    correct: list[float] = []
    for number, (xb, yb) in enumerate(valid_dl, start=1):
        out, where = model(xb), f"validation batch {number} of epoch {epoch}"
        losses.append((loss_of(loss_func, out, yb, where).item(), len(xb)))
        check_labels_of_loss(losses[-1][0], labelled(out, yb), where)
        correct.append(int(hits(out, yb)) if has_accuracy(out, yb) else math.nan)
    loss, accuracy = weighted_mean(losses), sum(correct) / sum(count for _, count in losses)
    return loss, None if math.isnan(accuracy) else accuracy


@naming_arguments
def get_data(train_ds: Dataset[Any], valid_ds: Dataset[Any], bs: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """A shuffled training loader, and a validation loader with twice the batch size, because it needs no gradients."""
    return loader(train_ds, bs, shuffle=True), loader(valid_ds, bs * 2)


def _print_as_the_tutorial(row: Epoch) -> None:
    print(row.epoch - 1, row.valid_loss)
