"""Figures of predictions against scikit-learn or by hand, and the table of mistakes."""

from __future__ import annotations

import csv
import math
import os
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tests.support.notebooks import ODD, charts, pictures, rows_of_table
from tests.support.streams import Stream
from tinyclsf.analysis import assessment, by_class
from tinyclsf.analysis.assessment import Assessment, Mistake, assess, write_mistakes
from tinyclsf.analysis.by_class import ClassFigures
from tinyclsf.data import Images
from tinyclsf.errors import DataError, StorageError
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.metrics import Bin, wilson_interval
from tinyclsf.recipes import mse


def drawn(n: int, classes: int, *, missing: int | None = None) -> Predictions:
    """Logits that know a little of the labels; no image is of the missing class."""
    generator = torch.Generator().manual_seed(n)
    labels = torch.randint(classes, (n,), generator=generator)
    labels[labels == missing] = 0
    return Predictions(torch.randn(n, classes, generator=generator) + 2 * F.one_hot(labels, classes), labels)


def of(rows: list[list[float]], labels: list[int]) -> Predictions:
    return Predictions(torch.tensor(rows, dtype=torch.float32), torch.tensor(labels))


def names(classes: int) -> list[str]:
    return [f"class {number}" for number in range(classes)]


@pytest.mark.parametrize(("n", "classes", "missing"), [(500, 10, None), (200, 7, 3), (40, 100, 5)])
def test_figures_are_those_of_sklearn(n: int, classes: int, missing: int | None) -> None:
    predictions = drawn(n, classes, missing=missing)
    y, out = predictions.labels.numpy(), predictions.logits.double().numpy()
    predicted, every = out.argmax(axis=1), list(range(classes))
    found = assess(predictions, names(classes))
    assert found.images == n
    assert found.accuracy == accuracy_score(y, predicted)
    assert found.interval == wilson_interval(int((y == predicted).sum()), n)
    assert found.loss == pytest.approx(log_loss(y, F.softmax(torch.tensor(out), 1).numpy(), labels=every), abs=1e-6)
    assert found.top5 == top_k_accuracy_score(y, out, k=5, labels=every)
    matrix = confusion_matrix(y, predicted, labels=every)
    assert found.confusion_matrix.tolist() == matrix.tolist()
    assert found.confusion == tuple((true, guess, matrix[true, guess]) for true, guess in np.argwhere(matrix).tolist())
    each_class = precision_recall_fscore_support(y, predicted, labels=every, zero_division=np.nan)
    for column, name in enumerate(("precision", "recall", "f1", "images")):
        shares = [math.nan if getattr(each, name) is None else getattr(each, name) for each in found.classes]
        assert shares == pytest.approx(each_class[column], nan_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn tells of classes that are only predicted
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(y, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(y, predicted, average="macro"))
    for number, each in enumerate(found.classes):
        row, column, right = (int(count) for count in (matrix[number].sum(), matrix[:, number].sum(), matrix[number, number]))
        assert each[:4] == (f"class {number}", row, column, right)
        assert each.interval == (wilson_interval(right, row) if row else None)


def test_a_class_without_images_has_no_recall() -> None:
    found = assess(of([[3, 1, 0], [0, 1, 0], [0, 0, 5]], [0, 0, 2]), ["a", "b", "c"])
    assert found.classes[1] == ClassFigures("b", 0, 1, 0, 0.0, None, None, 0.0)
    assert found.top5 is None
    assert assess(drawn(20, 5), names(5)).top5 is None  # all classes are among five
    assert assess(drawn(20, 6), names(6)).top5 is not None


def test_one_image_of_a_single_class() -> None:
    found = assess(of([[-4.0]], [0]), ["only"])
    interval = wilson_interval(1, 1)
    only = ClassFigures("only", 1, 1, 1, 1.0, 1.0, interval, 1.0)
    assert found[:12] == (1, 0.0, 1.0, interval, None, 1.0, interval, 1.0, None, (only,), ((0, 0, 1),), 0.0)
    assert found.reliability[-1] == Bin(14 / 15, 1.0, 1, 1.0, 1.0)


def test_of_equal_outputs_the_first_is_the_larger() -> None:
    predictions = Predictions(torch.zeros(40, 40), torch.arange(40))
    found = assess(predictions, names(40))
    assert (found.accuracy, found.top5) == (1 / 40, 5 / 40)
    assert [each.predicted for each in found.classes] == [40] + [0] * 39
    assert [each.index for each in found.mistakes] == list(range(1, 40))
    assert assess(Predictions(torch.zeros(5, 40), torch.arange(5)), names(40)).top5 == 1.0


def test_calibration_error_by_hand() -> None:
    shares = [[0.95, 0.05], [0.04, 0.96], [0.7, 0.3], [0.72, 0.28], [0.5, 0.5]]
    found = assess(of(np.log(shares).tolist(), [0, 0, 0, 0, 1]), ["a", "b"])
    by_bin = {number: each for number, each in enumerate(found.reliability) if each.images}
    # Of 15 bins the last is above 0.933, the eleventh above 0.667 to 0.733, and 0.5 is in the eighth.
    assert {number: each.images for number, each in by_bin.items()} == {14: 2, 10: 2, 7: 1}
    assert by_bin[14] == pytest.approx((14 / 15, 1.0, 2, 0.955, 0.5), abs=1e-6)
    assert by_bin[10] == pytest.approx((10 / 15, 11 / 15, 2, 0.71, 1.0), abs=1e-6)
    assert by_bin[7] == pytest.approx((7 / 15, 8 / 15, 1, 0.5, 0.0), abs=1e-6)
    assert found.calibration_error == pytest.approx(2 / 5 * 0.455 + 2 / 5 * 0.29 + 1 / 5 * 0.5, abs=1e-6)
    assert found.reliability[0] == (0.0, 1 / 15, 0, None, None)
    assert found.confidence == pytest.approx((0.95 + 0.96 + 0.7 + 0.72 + 0.5) / 5, abs=1e-6)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    found = assess(of([[0.0] * 5], [0]), names(5))  # confidence 0.2 = 3/15
    assert [each.images for each in found.reliability[:4]] == [0, 0, 1, 0]


def test_the_loss_is_the_given_one() -> None:
    predictions = drawn(50, 4)
    assert assess(predictions, names(4), mse).loss == mse(*predictions).item()


def test_mistakes_come_worst_first() -> None:
    predictions = drawn(300, 6)
    files = Images(torch.zeros(300, 1, 1, 1), predictions.labels, [f"{row}.png" for row in range(300)])
    found = assess(predictions, names(6), dataset=files).mistakes
    probabilities = predictions.logits.double().softmax(1).numpy()
    y = predictions.labels.numpy()
    wrong = set(np.flatnonzero(probabilities.argmax(1) != y).tolist())
    assert {each.index for each in found} == wrong
    assert [each.loss for each in found] == sorted((each.loss for each in found), reverse=True)
    for each in found:
        assert (each.path, each.true, each.predicted) == (
            f"{each.index}.png",
            y[each.index],
            probabilities[each.index].argmax(),
        )
        assert each.confidence == pytest.approx(probabilities[each.index].max(), abs=1e-12)
        assert each.loss == pytest.approx(-math.log(probabilities[each.index, each.true]), abs=1e-9)


def test_huge_outputs_have_figures() -> None:
    predictions = of([[1e4, -1e4], [88.0, 70.0]], [1, 1])
    found = assess(predictions, ["a", "b"])
    assert found.loss == (2e4 + 18) / 2
    sure, less = found.mistakes
    assert sure == Mistake(0, None, 1, 0, 1.0, 2e4)
    assert less.confidence == pytest.approx(1 - math.exp(-18), abs=1e-12)
    assert less.confidence < 1  # it would be 1 in float32


def test_no_mistakes() -> None:
    assert assess(of([[1, 0], [0, 1]], [0, 1]), ["a", "b"]).mistakes == ()


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (
            Predictions(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)),
            "the loader gave no batch: the data set is empty, "
            "or it is an iterator that was already used up and cannot start afresh for the next epoch",
        ),
        (of([[0.0, 0.0], [0.0, 0.0]], [1, 2]), "label 1 is 2; wanted 0 to 1 for 2 classes"),
        (of([[0.0, 0.0]], [-100]), "label 0 is -100; wanted 0 to 1 for 2 classes"),
        (
            of([[0.0, 0.0, 0.0]], [0]),
            "there are outputs of shape (1, 3) and labels torch.int64 of shape (1,); "
            "wanted an output for each of 2 classes and one whole number for each image",
        ),
        (
            Predictions(torch.zeros(1, 2), torch.zeros(1, 2)),
            "there are outputs of shape (1, 2) and labels torch.float32 of shape (1, 2); "
            "wanted an output for each of 2 classes and one whole number for each image",
        ),
        *(
            (
                of([[0.0, 1.0], [0.0, strange]], [0, 1]),
                "the model's outputs for image 1 are not numbers below 1e+30; "
                "look at that image, or train again with a lower learning rate",
            )
            for strange in (math.nan, math.inf, -3e38)
        ),
    ],
)
def test_what_has_no_figures_is_an_error(predictions: Predictions, message: str) -> None:
    with pytest.raises(DataError) as error:
        assess(predictions, ["a", "b"])
    assert str(error.value) == message


def test_the_table_of_mistakes_reads_back(tmp_path: Path) -> None:
    odd = ['a,"b".png', "line\nbreak.png", "return\r.png", os.fsdecode(b"not-utf8-\xff.png"), "größe.png"]
    rows = [Mistake(number, path, 0, 1, 0.75, 1.5) for number, path in enumerate(odd)]
    write_mistakes(tmp_path / "errors.csv", [*rows, Mistake(77, None, 1, 0, 0.5, 0.6931471805599453)], ["cat, big", "dog"])
    with (tmp_path / "errors.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        header, *found = csv.reader(file)
    assert header == ["image", "true", "predicted", "confidence", "loss"]
    assert found == [
        *([path, "cat, big", "dog", "0.750000", "1.500000"] for path in odd),
        ["77", "dog", "cat, big", "0.500000", "0.693147"],
    ]
    assert b"not-utf8-\xff.png" in (tmp_path / "errors.csv").read_bytes()


def test_no_mistakes_are_a_header_alone(tmp_path: Path) -> None:
    write_mistakes(tmp_path / "errors.csv", [], ["a"])
    assert (tmp_path / "errors.csv").read_bytes() == b"image,true,predicted,confidence,loss\r\n"
    with pytest.raises(StorageError) as error:
        write_mistakes(tmp_path / "no" / "errors.csv", [], ["a"])
    assert str(error.value) == (
        f"cannot write {tmp_path}/no/errors.csv: No such file or directory; what was there before is unchanged"
    )


def test_figures_are_plain_numbers() -> None:
    found = assess(drawn(50, 6), names(6))
    assert isinstance(found, Assessment)
    assert {type(number) for cell in found.confusion for number in cell} == {int}
    assert {type(each) for each in (found.loss, found.accuracy, found.top5, found.calibration_error)} == {float}
    assert {type(number) for each in found.mistakes for number in each[2:]} == {int, float}


def test_an_assessment_says_its_figures() -> None:
    found = assess(of([[2, 0], [0, 2], [2, 0], [2, 0]], [0, 1, 1, 0]), [ODD, "b"])
    assert repr(found).splitlines() == [
        "accuracy 75.00 % (95 % interval 30.06 % to 95.44 %)",
        "loss 0.6269",
        "balanced accuracy 75.00 % (95 % interval 36.37 % to 95.27 %)",
        "macro F1 73.33 % (95 % interval 20.00 % to 100.00 %)",
        "calibration error 13.08 %",
        "lowest recall b 50.00 % and <b>&\"' $x_ \\x1b\\u202e 100.00 %",
        "1 of 4 images are wrong",
    ]


def test_a_notebook_shows_figures_classes_confusions_and_the_worst_mistakes() -> None:
    predictions = of([[2, 0], [0, 2], [2, 0], [3, 0]], [0, 1, 1, 1])
    found = assess(predictions, [ODD, "b"])
    assert rows_of_table(found)[0] == ["accuracy", "50.00 % (95 % interval 15.00 % to 85.00 %)"]
    assert rows_of_table(found, 1)[2] == ["b", "3", "33.33 %", "6.15 % to 79.23 %", "100.00 %", "50.00 %"]
    assert charts(found) == 1
    odd = "✗ <b>&\"' $x_ \ufffd\ufffd"
    told = [[odd, "is b", "95.3 % sure", "image 3"], [odd, "is b", "88.1 % sure", "image 2"]]
    assert [(picture.size, lines) for picture, lines in pictures(found)] == [(0, lines) for lines in told]
    x = torch.tensor([0, 10, 20, 30], dtype=torch.uint8).view(4, 1, 1, 1)
    seen = pictures(assess(predictions, [ODD, "b"], dataset=Images(x, predictions.labels)))
    assert [np.unique(picture).tolist() for picture, _ in seen] == [[30], [20]]
    assert [lines for _, lines in seen] == told
    files = Images(x, predictions.labels, [f"photos/{number}.png" for number in range(4)])
    assert [lines[3] for _, lines in pictures(assess(predictions, ["a", "b"], dataset=files))] == ["3.png", "2.png"]
    assert [lines[3] for _, lines in pictures(assess(predictions, ["a", "b"], dataset=Stream(files)))] == ["image 3", "image 2"]


def test_predictions_that_are_judged_in_pieces_have_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    found = assess(drawn(300, 7), names(7))
    for module in (assessment, by_class):
        monkeypatch.setattr(module, "_AT_ONCE", 100)
    assert assess(drawn(300, 7), names(7)) == found


def test_what_is_kept_of_many_classes_grows_with_the_images_and_not_with_the_pairs() -> None:
    predictions = drawn(500, 5_000)
    tracemalloc.start()
    found = assess(predictions, names(5_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6  # a matrix of all pairs takes 200
    assert sum(cell.images for cell in found.confusion) == 500
    assert [each.images for each in found.classes] == predictions.labels.bincount(minlength=5_000).tolist()


@pytest.mark.parametrize("classes", [50, 1000])
def test_an_assessment_of_many_classes_and_photographs_is_shown_quickly(classes: int) -> None:
    predictions = drawn(2_000, classes)
    x = torch.randint(256, (1, 3, 224, 224), dtype=torch.uint8).expand(2_000, -1, -1, -1)
    found = assess(predictions, [f"{number} {'long name ' * 9}" for number in range(classes)], dataset=TensorDataset(x, x))
    start = time.process_time()
    assert len(pictures(found)) == 12
    assert time.process_time() - start < 2
    assert len(rows_of_table(found, 1)) == 11
    assert charts(found) == (classes == 50)


def test_confusions_are_drawn_into_axes_that_are_given() -> None:
    figure = Figure()
    found = assess(of([[2, 0], [0, 2]], [0, 1]), ["a", "b"])
    assert found.plot_confusion(figure.subplots()) is figure
    assert found.plot_confusion().axes[0].get_ylabel() == "true class"
