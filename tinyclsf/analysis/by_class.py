"""Figures of each class, and figures that give each class the same weight, whatever its number of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tinyclsf.loop.evaluation import Predictions
from tinyclsf.metrics import wilson_interval

_RESAMPLES = 1000
_AT_ONCE = 1 << 22  # numbers drawn


class Cell(NamedTuple):
    """A cell of the confusion matrix: how many images of a class were predicted as one, both by their numbers."""

    true: int
    predicted: int
    images: int


class ClassFigures(NamedTuple):
    """One class: its number of images, how many images were predicted as it, and how many of these were correct.

    `precision` is the share of the predicted images that are correct, `recall` the share of its own images that were
    recognised, with its 95 % interval (Wilson), and `f1` their harmonic mean; None if there is no image to compute it from.
    """

    name: str
    images: int
    predicted: int
    correct: int
    precision: float | None
    recall: float | None
    interval: tuple[float, float] | None
    f1: float | None


class ByClass(NamedTuple):
    """Balanced accuracy, the mean recall of the classes with images; macro F1, the mean F1 of those with images or predictions.

    Their intervals are of 95 %; that of macro F1 is None if no image is wrong, or all are: then resampling gives no interval.
    """

    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float] | None
    classes: tuple[ClassFigures, ...]


def confusion_of(predictions: Predictions) -> tuple[Cell, ...]:
    """The cells of the confusion matrix that are not 0, row by row."""
    logits, labels = predictions
    number = logits.shape[1]
    pairs, counts = torch.unique(labels.long() * number + logits.argmax(dim=1), return_counts=True)
    found = zip((pairs // number).tolist(), (pairs % number).tolist(), counts.tolist(), strict=True)
    return tuple(Cell(*each) for each in found)


def by_class(confusion: Sequence[tuple[int, int, int]], names: Sequence[str]) -> ByClass:
    """The figures of a confusion matrix of at least one image, as `confusion_of` gives it."""
    true, guess, counts = torch.tensor(confusion).T
    images, predicted, correct = _sums(true, guess, counts[None], len(names))
    rows = zip(names, images[0].tolist(), predicted[0].tolist(), correct[0].tolist(), strict=True)
    classes = tuple(_class_figures(*each) for each in rows)
    macro_f1 = _macro_f1(correct, images + predicted).item()
    return ByClass(*_balanced_accuracy(classes), macro_f1, _macro_f1_interval(true, guess, counts, len(names)), classes)


def _sums(true: Tensor, guess: Tensor, counts: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """The images of each class, those predicted as it, and those of both: (n, number) from cells with counts (n, cells)."""
    none, right = torch.zeros(len(counts), number, dtype=torch.int64), true == guess
    correct = none.index_add(1, true[right], counts[:, right])
    return none.index_add(1, true, counts), none.index_add(1, guess, counts), correct


def _class_figures(name: str, images: int, predicted: int, correct: int) -> ClassFigures:
    recall, interval = (correct / images, wilson_interval(correct, images)) if images else (None, None)
    precision = correct / predicted if predicted else None
    f1 = 2 * correct / (images + predicted) if images + predicted else None
    return ClassFigures(name, images, predicted, correct, precision, recall, interval, f1)


def _balanced_accuracy(classes: Sequence[ClassFigures]) -> tuple[float, tuple[float, float]]:
    """The mean recall, and its interval from those of the classes, which are of different images.

    Source: Zou, Huang and Zhang 2009, "A note on confidence interval estimation for a linear function of binomial proportions".
    """
    known = [(each.recall, *each.interval) for each in classes if each.recall is not None and each.interval is not None]
    mean = math.fsum(recall for recall, _, _ in known) / len(known)
    below = math.hypot(*(recall - low for recall, low, _ in known)) / len(known)
    above = math.hypot(*(high - recall for recall, _, high in known)) / len(known)
    return mean, (mean - below, mean + above)


def _macro_f1(correct: Tensor, sizes: Tensor) -> Tensor:
    """The mean F1 of the classes that there are; correct and sizes, of images and predictions together, are (n, classes)."""
    return (2 * correct.double() / sizes.clamp(min=1)).sum(dim=1) / (sizes > 0).sum(dim=1)


def _macro_f1_interval(true: Tensor, guess: Tensor, counts: Tensor, number: int) -> tuple[float, float] | None:
    """From the images drawn again and again with replacement, by a seed of their own: the middle 95 % of what that gives.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", the percentile interval.
    """
    right = true == guess
    if right.all() or not right.any():
        return None
    generator, total = np.random.default_rng(0), int(counts.sum())
    shares, found = counts.double().numpy() / total, []
    for piece in torch.split(torch.arange(_RESAMPLES), max(1, _AT_ONCE // (len(counts) + number))):
        drawn = torch.from_numpy(generator.multinomial(total, shares, size=len(piece)))
        images, predicted, correct = _sums(true, guess, drawn, number)
        found.append(_macro_f1(correct, images + predicted))
    low, high = torch.cat(found).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
