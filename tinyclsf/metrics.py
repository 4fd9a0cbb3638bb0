"""Figures about a classifier, each weighted by the number of samples behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinyclsf.errors import DataError
from tinyclsf.machine.arguments import naming_arguments

if TYPE_CHECKING:
    from torch import Tensor


class Epoch(NamedTuple):
    """One row of a training history; epochs count from 1.

    `train_loss` is the mean over the epoch's samples, measured while the weights change; `valid_loss` and `valid_accuracy`
    (0..1, or None if the targets are not class labels) are measured after the epoch.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float | None
    seconds: float


# Said beside figures on validation images, where the data has no others for them.
NO_TEST_SPLIT = "there is no test split: the images that chose the best epoch also score it, so the accuracy may be too high"
SET_ASIDE = f"{NO_TEST_SPLIT}; set a test split aside with -d test_ratio=0.2"


class Score(NamedTuple):
    """How good a model is on images that it was not trained on: the name of their split, and figures over all of them.

    Units: `accuracy` and its 95 % interval (Wilson) are shares, 0..1.
    """

    split: str
    images: int
    loss: float
    accuracy: float
    interval: tuple[float, float]


class Bin(NamedTuple):
    """The images with a confidence above `low` and at most `high`: mean confidence and accuracy; None without images."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


def quality(row: Epoch) -> tuple[float, float]:
    """How good an epoch was, to be compared: highest validation accuracy, then lowest validation loss."""
    return (-math.inf if row.valid_accuracy is None else row.valid_accuracy, -row.valid_loss)


def best_of(history: Sequence[Epoch]) -> Epoch | None:
    """The best epoch, the first where several are, or None before there is one."""
    return max(history, key=quality, default=None)


@naming_arguments
def accuracy(out: Tensor, yb: Tensor) -> Tensor:
    """The share of rows whose largest output is the label's.

    Shapes: out (n, classes), yb (n,) int64; returns a float32 scalar in 0..1.
    """
    return (out.argmax(dim=1) == yb).float().mean()


def hits(out: Tensor, yb: Tensor) -> Tensor:
    """How many rows' largest output is the label's: out (n, classes), yb (n,) int64; returns an int64 scalar."""
    return (out.argmax(dim=1) == yb).sum()


def has_labels(out: Tensor, yb: Tensor) -> bool:
    """Whether these are rows of outputs and class labels."""
    return getattr(out, "ndim", 0) == 2 and getattr(yb, "ndim", 0) == 1 and not yb.is_floating_point()


def has_accuracy(out: Tensor, yb: Tensor) -> bool:
    """Whether an accuracy can be told: there are class labels and two outputs at least, as of one the sign may be the class."""
    return has_labels(out, yb) and out.shape[1] > 1


class Labelled(NamedTuple):
    """Class labels, and how many classes there are."""

    labels: Tensor
    classes: int

    def check(self, where: str) -> None:
        """Hold the labels to the classes.

        Raises: DataError that names the first one outside, and where it is.
        """
        outside = ((self.labels < 0) | (self.labels >= self.classes)).nonzero()
        if len(outside):
            first = int(outside[0])
            raise DataError(
                f"label {first} of {where} is {int(self.labels[first])}; "
                f"wanted 0 to {self.classes - 1} for {self.classes} classes"
            )


def labelled(out: Tensor, yb: Tensor) -> Labelled | None:
    """The labels of a batch, or None where the targets are no class labels."""
    return Labelled(yb, out.shape[1]) if has_labels(out, yb) else None


def loss_of(loss_func: Callable[[Tensor, Tensor], Tensor], out: Tensor, yb: Tensor, where: str) -> Tensor:
    """The loss of a batch.

    Raises: DataError if it cannot be told because of a label that is no class; whatever else the loss raises.
    """
    try:
        return loss_func(out, yb)
    except (IndexError, RuntimeError):
        check_labels_of_loss(math.nan, labelled(out, yb), where)
        raise


def check_labels_of_loss(loss: float, targets: Labelled | None, where: str) -> None:
    """Where a loss is no finite number, hold the labels to the classes: PyTorch leaves out those of -100, though all are.

    Raises: DataError if a label is no class.
    """
    if targets is not None and not math.isfinite(loss):
        targets.check(where)


def weighted_mean(batches: Sequence[tuple[float, int]]) -> float:
    """The mean over samples from the mean and the number of samples of each batch.

    Raises: DataError if there is no sample at all.
    """
    return mean_over(math.fsum(mean * count for mean, count in batches), sum(count for _, count in batches))


def mean_over(total: float, count: int) -> float:
    """A sum over samples divided by their number.

    Raises: DataError if there is no sample at all.
    """
    if count == 0:
        raise no_samples()
    return total / count


def no_samples() -> DataError:
    """The error for a loader that gives nothing."""
    return DataError(
        "the loader gave no batch: the data set is empty, "
        "or it is an iterator that was already used up and cannot start afresh for the next epoch"
    )


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a person reads it, 97.22 %, or a dash where there is none."""
    return "-" if share is None else f"{share * 100:.{digits}f} %"


def measured(share: float, interval: tuple[float, float] | None) -> str:
    """A share with its interval, where it has one."""
    return percent(share) + (f" (95 % interval {' to '.join(map(percent, interval))})" if interval else "")


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score: honest near 0 and 1 and for few samples.

    Raises: ValueError if count is below 1 or successes is not in 0..count.
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= successes <= count or count < 1:
        raise ValueError(f"{successes} successes of {count} is not a share")
    z = 1.959963984540054  # the normal deviate that leaves 2.5 % on either side
    share = successes / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # Where none or all are successes a bound is 0 or 1, which rounding would miss.
    return centre - half if successes else 0.0, centre + half if successes < count else 1.0
