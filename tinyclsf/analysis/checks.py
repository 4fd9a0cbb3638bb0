"""Look for what commonly goes wrong before a model is trained, and leave the model and every random generator as they were."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tinyclsf.analysis.copy_checks import check_duplicates, check_near_copies, find_near_copies
from tinyclsf.analysis.data_checks import check_classes, check_inputs, check_labels, in_memory, labels_of, sample_of
from tinyclsf.analysis.model_checks import (
    Finding,
    Sample,
    check_clipped,
    check_evaluation,
    check_first_loss,
    check_gradients,
    check_log_outputs,
    check_outputs,
    check_stuck,
    logits_of,
    stuck_outputs,
    trial_of,
)
from tinyclsf.data import Images, Splits
from tinyclsf.errors import TinyclsfError
from tinyclsf.machine.arguments import check_type
from tinyclsf.machine.randomness import without_trace
from tinyclsf.modules import Classifier
from tinyclsf.training import LossFunc

__all__ = ["Examination", "Finding", "check", "examine", "quick_check", "stuck_outputs"]

_IMAGES = 256
_QUICK_IMAGES, _FEWEST = 64, 8
_QUICK_VALUES, _VALUES = 1 << 16, 1 << 18  # of pixels in a batch: large images make it smaller
_QUICK_WEIGHTS = 1 << 25  # parameters times images of a batch: so does a large model
_QUICK_BYTES = 256 << 20  # of images that are compared with each other, a few tenths of a second
_QUICK_SHARE = 0.001  # of a split in an earlier one: fewer do not move a figure by more than a tenth of a percent


class Examination(NamedTuple):
    """What was checked, and what was found; a figure is None if no image could be read.

    `first_loss` is the cross-entropy in evaluation mode, `guessing` that of a model that ignores the image. `looked_at` and
    `skipped` say in words what was checked and what was not.
    """

    images: int
    first_loss: float | None
    guessing: float
    mean: float | None
    std: float | None
    parameters: int
    frozen: int
    looked_at: tuple[str, ...]
    skipped: tuple[str, ...]
    findings: tuple[Finding, ...]


class _Checks:
    """Runs checks one after the other: one in which a model raises has found nothing, as training will tell."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.looked_at: list[str] = []
        self.skipped: list[str] = []

    def run(self, what: str, look: Callable[..., Finding | None], *arguments: Any, **more: Any) -> None:
        with self.trying(what):
            found = look(*arguments, **more)
            self.findings += [] if found is None else [found]
            self.looked_at.append(what)

    @contextlib.contextmanager
    def trying(self, what: str) -> Iterator[None]:
        try:
            yield
        except TinyclsfError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())
            self.skipped.append(f"{what}: {type(error).__name__}: {reason}"[:200].rstrip(": "))


def check(model: Classifier, splits: Splits, loss_func: LossFunc) -> list[Finding]:
    """Check a model and its data for common mistakes before training, and return the findings.

    Raises: ConfigurationError if the model is not a Classifier, or the data not Splits.
    """
    check_type("model", model, Classifier, wanted="a Classifier")
    check_type("splits", splits, Splits, wanted="Splits")
    return list(examine(model, splits, loss_func).findings)


def quick_check(model: Classifier, splits: Splits, loss_func: LossFunc) -> list[Finding]:
    """The checks that take about as long as a few steps; of images that are not in memory none is fetched."""
    checks = _Checks()
    with without_trace(), checks.trying("the sample"):
        if not in_memory(splits.train):
            blank = torch.zeros(2, *model.image_shape)
            checks.run("outputs", lambda: check_outputs(logits_of(model, blank, 2), torch.zeros(2).long(), loss_func))
            return checks.findings
        weights = sum(each.numel() for each in model.parameters())
        batch = _batch(model, _QUICK_VALUES, min(_QUICK_IMAGES, _QUICK_WEIGHTS // max(1, weights)))
        sample = sample_of(splits.train, batch)
        assert sample is not None
        _check_labels(checks, splits, sample)
        _check_model(checks, model, sample, loss_func, batch)
        present = list(splits.by_name.values())
        # Pictures that are files were compared as they were found.
        plain = all(isinstance(split, Images) and split.paths is None for split in present)
        if plain and sum(split.x.nbytes for split in present if isinstance(split, Images)) <= _QUICK_BYTES:
            checks.run("duplicates", check_duplicates, splits, from_share=_QUICK_SHARE)
    return checks.findings


def examine(model: Classifier, splits: Splits, loss_func: LossFunc, *, images: int = _IMAGES) -> Examination:
    """All checks, on a sample of training images, with the figures that they rest on.

    Raises: DataError as the data set does if an image cannot be read.
    """
    checks, figures = _Checks(), _Figures(0, None, None, None)
    with without_trace():
        sample = None
        with checks.trying("the training images"):
            sample = sample_of(splits.train, images)
            if sample is None:
                checks.skipped.append("the training images: they are a stream")
        if sample is not None:
            _check_labels(checks, splits, sample)
            figures = _check_model(checks, model, sample, loss_func, _batch(model, _VALUES, images), strict=True)
        labels = labels_of(splits.train)
        if labels is not None:
            checks.run(f"the classes of {len(labels):,} training images", check_classes, labels, splits.classes)
        _check_duplicates(checks, splits)
        _check_near_copies(checks, splits)
    parameters = list(model.parameters())
    return Examination(
        *figures[:2],
        math.log(len(splits.classes)),
        *figures[2:],
        sum(each.numel() for each in parameters),
        sum(each.numel() for each in parameters if not each.requires_grad),
        tuple(checks.looked_at),
        tuple(checks.skipped),
        tuple(checks.findings),
    )


class _Figures(NamedTuple):
    images: int
    first_loss: float | None
    mean: float | None
    std: float | None


def _check_model(
    checks: _Checks, model: Classifier, sample: Sample, loss_func: LossFunc, batch: int, *, strict: bool = False
) -> _Figures:
    first = Sample(sample.x[:batch], sample.y[:batch])
    loss = mean = std = None
    with checks.trying("the scale of the inputs"), torch.no_grad():
        mean, std = map(_finite, _scale(trial_of(model).preprocess, torch.split(sample.x, batch)))
        if mean is not None and std is not None:
            checks.run("the scale of the inputs", check_inputs, mean, std, len(sample.x), strict=strict)
    with checks.trying("the outputs"):
        logits = logits_of(model, sample.x, batch)
        with checks.trying("the first loss"):
            loss = _finite(torch.nn.functional.cross_entropy(logits, sample.y))
        checks.run("the first loss", check_first_loss, logits, sample.y)
        if bool(logits.isfinite().all()):
            checks.run("outputs that sum to one", check_outputs, logits, sample.y, loss_func)
            checks.run("evaluation mode", check_evaluation, model, first.x, logits[:batch])
            if strict:
                checks.run("log-softmax", check_log_outputs, logits, sample.y, loss_func)
                checks.run("outputs at 0", check_clipped, logits, model.classes)
                checks.run("outputs that are stuck", check_stuck, model, logits, first)
    checks.run("the gradients of a batch", check_gradients, model, first, loss_func)
    return _Figures(len(sample.x), loss, mean, std)


def _scale(preprocess: nn.Module, batches: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of all values of preprocessed images."""
    found = [(len(x), *torch.std_mean(preprocess(x.clone()).double(), correction=0)) for x in batches]
    images = sum(len(x) for x in batches)
    mean = torch.stack([number * own for number, _, own in found]).sum() / images
    variance = torch.stack([number * (std**2 + (own - mean) ** 2) for number, std, own in found]).sum() / images
    return mean, variance.sqrt()


def _check_labels(checks: _Checks, splits: Splits, sample: Sample) -> None:
    """Look at all labels that are in memory, and else at those of the sample; Splits itself has looked at Images."""
    for name, split in splits.by_name.items():
        labels = sample.y if name == "train" and not in_memory(split) else labels_of(split)
        if labels is not None:
            checks.run(f"{len(labels):,} labels of the {name} split", check_labels, name, labels, splits.classes)


def _check_duplicates(checks: _Checks, splits: Splits) -> None:
    present = list(splits.by_name.values())
    if not all(in_memory(split) for split in present):
        checks.skipped.append("the same picture in two splits: not all pictures are in memory")
        return
    number = sum(len(split) for split in present if isinstance(split, Sized))
    checks.run(f"the same picture in two splits, of {number:,} pictures", check_duplicates, splits)


def _check_near_copies(checks: _Checks, splits: Splits) -> None:
    with checks.trying("near copies"):
        found = find_near_copies(splits)
        if isinstance(found, str):
            checks.skipped.append(f"near copies: {found}")
            return
        checks.findings += check_near_copies(found, splits)
        total = sum(len(split) for split in splits.by_name.values() if isinstance(split, Sized))
        checks.looked_at.append(f"near copies among {len(found.rows):,} of {total:,} pictures")


def _batch(model: Classifier, values: int, most: int) -> int:
    return max(_FEWEST, min(most, values // math.prod(model.image_shape)))


def _finite(number: Tensor) -> float | None:
    return float(number) if bool(number.isfinite()) else None
