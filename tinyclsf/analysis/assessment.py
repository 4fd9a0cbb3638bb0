"""How good predictions are: overall and for each class, how well they are calibrated, and which ones are wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset

from tinyclsf.analysis.by_class import Cell, ClassFigures, by_class, confusion_of
from tinyclsf.drawing.samples import as_pictures
from tinyclsf.errors import DataError, join_names, printable
from tinyclsf.loop.evaluation import Predictions, Tta
from tinyclsf.machine.arguments import check_type
from tinyclsf.machine.csv_text import csv_bytes
from tinyclsf.machine.storage import write_whole
from tinyclsf.metrics import Bin, has_labels, measured, no_samples, percent, wilson_interval
from tinyclsf.runs.trained_run import paths_of
from tinyclsf.training import LossFunc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 15
MOST_SHOWN = 20  # classes of which a table or page shows each one
_WORST = 10  # that it shows first of more
_MOST_DRAWN = 50  # classes whose confusion matrix a notebook has room for
_PICTURES = 12  # mistakes that it shows
_AT_ONCE = 1 << 22  # outputs that become float64 together
_LARGEST = 1e30  # beyond it a loss leaves float32


class Assessment(NamedTuple):
    """Figures of predictions; `interval` is the 95 % Wilson interval, and `top5` is None for five classes or fewer.

    The fields from `balanced_accuracy` to `classes` are those of `ByClass`. `mistakes` are the wrong predictions, highest loss
    first; `pictures` show the first of them, if `assess` was given the images. `confusion` has the cells of the confusion
    matrix that are not 0, row by row.
    """

    images: int
    loss: float
    accuracy: float
    interval: tuple[float, float]
    top5: float | None
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float] | None
    classes: tuple[ClassFigures, ...]
    confusion: tuple[Cell, ...]
    calibration_error: float
    reliability: tuple[Bin, ...]
    mistakes: tuple[Mistake, ...]
    pictures: tuple[NDArray[np.uint8], ...]

    @property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """The number of images by true class (row) and predicted class (column), zeros too: (classes, classes)."""
        matrix = np.zeros((len(self.classes), len(self.classes)), np.int64)
        for cell in self.confusion:
            matrix[cell.true, cell.predicted] = cell.images
        return matrix

    def plot_confusion(self, ax: Axes | None = None) -> Figure:
        """Draw the confusion matrix, as `draw_confusion` does, and return the figure.

        ax: where to draw; without it a new figure.
        """
        from tinyclsf.drawing.figures import draw_confusion

        return draw_confusion(self.confusion, [each.name for each in self.classes], ax=ax)

    def __repr__(self) -> str:
        rows = [f"{name} {value}" for name, value in self._figures]
        known = [each for each in self.classes if each.recall is not None]
        worst = sorted(known, key=lambda each: each.recall or 0.0)[:3]
        rows.append(f"lowest recall {join_names([f'{printable(each.name)} {percent(each.recall)}' for each in worst])}")
        return "\n".join([*rows, f"{len(self.mistakes):,} of {self.images:,} images are wrong"])

    @property
    def _figures(self) -> list[tuple[str, str]]:
        return [
            ("accuracy", measured(self.accuracy, self.interval)),
            ("loss", f"{self.loss:.4f}"),
            *([("top-5 accuracy", percent(self.top5))] if self.top5 is not None else []),
            ("balanced accuracy", measured(self.balanced_accuracy, self.balanced_accuracy_interval)),
            ("macro F1", measured(self.macro_f1, self.macro_f1_interval)),
            ("calibration error", percent(self.calibration_error)),
        ]

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, paragraph, pictures, table
        from tinyclsf.drawing.style import as_html

        names = [each.name for each in self.classes]
        shown = self.worst_classes or self.classes
        which = [paragraph(f"the {len(shown)} worst of {len(names):,} classes")] if self.worst_classes else []
        rows = [
            [
                each.name,
                f"{each.images:,}",
                percent(each.recall),
                _ends(each.interval),
                percent(each.precision),
                percent(each.f1),
            ]
            for each in shown
        ]
        few = len(names) <= _MOST_DRAWN
        confusion = as_html(self.plot_confusion()) if few else paragraph("plot_confusion() draws which were taken for which")
        worst, told = self.mistakes[:_PICTURES], []
        for each in worst:
            where = f"image {each.index}" if each.path is None else Path(each.path).name
            told.append([f"✗ {names[each.predicted]}", f"is {names[each.true]}", f"{percent(each.confidence, 1)} sure", where])
        return page(
            f"{self.images:,} images of {len(names):,} classes",
            table((), self._figures, names=2),
            *which,
            table(("class", "images", "recall", "95 % interval", "precision", "F1"), rows),
            confusion,
            paragraph(f"{len(self.mistakes):,} of {self.images:,} images are wrong{', the worst first' * bool(worst)}"),
            pictures(zip(self.pictures or [None] * len(worst), told, strict=True)),
        )

    @property
    def worst_classes(self) -> list[ClassFigures]:
        """The ten classes with the lowest recall, among those with images; none if there are few enough to show all."""
        if len(self.classes) <= MOST_SHOWN:
            return []
        known = [each for each in self.classes if each.recall is not None]
        return sorted(known, key=lambda each: each.recall or 0.0)[:_WORST]

    @property
    def confidence(self) -> float:
        """The mean probability of the predicted class."""
        return math.fsum(each.images * (each.confidence or 0.0) for each in self.reliability) / self.images


class Mistake(NamedTuple):
    """A wrong prediction; the path is None if the image is not a file.

    Units: `confidence` is the probability of the predicted class, `loss` the image's cross-entropy in nats.
    """

    index: int  # type: ignore[assignment]  # it hides tuple.index
    path: str | None
    true: int
    predicted: int
    confidence: float
    loss: float


def assess(
    predictions: Predictions,
    classes: Sequence[str],
    loss_func: LossFunc = F.cross_entropy,
    *,
    dataset: Dataset[Any] | None = None,
) -> Assessment:
    """Compute all figures of predictions for images of these classes.

    dataset: the images of the predictions, in the same order; with it the worst mistakes have pictures, and paths.
    Raises: DataError if there is no image, a label is not a class, or an output is too large to compute a loss.
    """
    check_type("predictions", predictions, Predictions, wanted="Predictions")
    check_type("classes", classes, list, tuple, wanted="a list of names")
    logits, labels = predictions
    _check(logits, labels, classes)
    confusion = confusion_of(predictions)
    judged = _judged(predictions)
    wrong = _mistakes(judged, labels, None if dataset is None else paths_of(dataset))
    again = None if isinstance(dataset, IterableDataset) else dataset  # a stream gives no image a second time
    seen = [] if again is None else [again[each.index][0] for each in wrong[:_PICTURES]]
    right = judged.predicted == labels
    images, correct = len(labels), int(right.sum())
    calibration_error, reliability = _calibration(judged.confidence, right)
    return Assessment(
        images=images,
        loss=loss_func(logits, labels).item(),
        accuracy=correct / images,
        interval=wilson_interval(correct, images),
        top5=int((judged.ahead < 5).sum()) / images if len(classes) > 5 else None,
        **by_class(confusion, classes)._asdict(),
        confusion=confusion,
        calibration_error=calibration_error,
        reliability=reliability,
        mistakes=tuple(wrong),
        pictures=tuple(as_pictures(image[None])[0] for image in seen),
    )


def _ends(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else " to ".join(map(percent, interval))


class _Judged(NamedTuple):
    """Of each image the predicted class, its probability, the cross-entropy in nats, and how many classes are more likely than
    the true one; of equal outputs the first counts as larger, as in the accuracy.
    """

    predicted: Tensor
    confidence: Tensor
    losses: Tensor
    ahead: Tensor


def _judged(predictions: Predictions) -> _Judged:
    found = []
    rows = max(1, _AT_ONCE // predictions.logits.shape[1])
    for logits, labels in zip(*(torch.split(each, rows) for each in predictions), strict=True):
        # In float32 a model that is sure gives a probability of exactly 1.
        predicted, exact = logits.argmax(dim=1), logits.double()
        confidence = exact.softmax(dim=1).gather(1, predicted[:, None]).flatten()
        own = logits.gather(1, labels[:, None])
        ahead = (logits > own) | ((logits == own) & (torch.arange(logits.shape[1]) < labels[:, None]))
        found.append((predicted, confidence, F.cross_entropy(exact, labels, reduction="none"), ahead.sum(dim=1)))
    return _Judged(*map(torch.cat, zip(*found, strict=True)))


def _mistakes(judged: _Judged, labels: Tensor, paths: Sequence[str] | None) -> list[Mistake]:
    wrong = (judged.predicted != labels).nonzero().flatten()
    worst_first = wrong[judged.losses[wrong].argsort(descending=True, stable=True)]
    columns = [each[worst_first].tolist() for each in (labels, *judged[:3])]
    return [
        Mistake(index, None if paths is None else paths[index], *row)
        for index, *row in zip(worst_first.tolist(), *columns, strict=True)
    ]


def write_mistakes(path: Path, mistakes: Sequence[Mistake], classes: Sequence[str], tta: Tta = "none") -> None:
    """Write mistakes as a table, `image,true,predicted,confidence,loss`; an image that is no file goes by its index.

    Those with test-time augmentation have a column `tta` too.
    Raises: StorageError if it cannot be written.
    """
    named, augmented = ([], []) if tta == "none" else (["tta"], [tta])
    rows: list[list[object]] = [["image", "true", "predicted", "confidence", "loss", *named]]
    for each in mistakes:
        image = each.index if each.path is None else each.path
        figures = f"{each.confidence:.6f}", f"{each.loss:.6f}"
        rows.append([image, classes[each.true], classes[each.predicted], *figures, *augmented])
    write_whole(path, lambda file: file.write(csv_bytes(rows)))


def _check(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    if len(labels) == 0:
        raise no_samples()
    if not has_labels(logits, labels) or logits.shape != (len(labels), len(classes)):
        raise DataError(
            f"there are outputs of shape {tuple(logits.shape)} and labels {labels.dtype} of shape {tuple(labels.shape)}; "
            f"wanted an output for each of {len(classes)} classes and one whole number for each image"
        )
    outside = ((labels < 0) | (labels >= len(classes))).nonzero()
    if len(outside):
        first = int(outside[0])
        raise DataError(f"label {first} is {int(labels[first])}; wanted 0 to {len(classes) - 1} for {len(classes)} classes")
    strange = (~(logits.abs() < _LARGEST).all(dim=1)).nonzero()
    if len(strange):
        raise DataError(
            f"the model's outputs for image {int(strange[0])} are not numbers below {_LARGEST:g}; "
            "look at that image, or train again with a lower learning rate"
        )


def _calibration(confidence: Tensor, right: Tensor) -> tuple[float, tuple[Bin, ...]]:
    """The expected calibration error over equally wide bins of the confidence, and the bins.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    bin_of = torch.bucketize(confidence, torch.arange(1, BINS, dtype=torch.float64) / BINS)
    bins = [_bin(number, confidence[bin_of == number], right[bin_of == number]) for number in range(BINS)]
    gaps = [each.images * abs(each.confidence - each.accuracy) for each in bins if None not in each]  # type: ignore[operator]
    return math.fsum(gaps) / len(right), tuple(bins)


def _bin(number: int, confidence: Tensor, right: Tensor) -> Bin:
    low, high, images = number / BINS, (number + 1) / BINS, len(right)
    if images == 0:
        return Bin(low, high, images, None, None)
    return Bin(low, high, images, confidence.mean().item(), int(right.sum()) / images)
