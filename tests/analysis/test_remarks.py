"""Remarks on runs: hand-made histories of every course that training may take, noise that is none, and commands that parse."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tinyclsf.analysis.assessment import Assessment, assess
from tinyclsf.analysis.course import Remark
from tinyclsf.analysis.remarks import find_remarks
from tinyclsf.cli.fit import fit
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.loop.training_loss import not_finite
from tinyclsf.metrics import NO_TEST_SPLIT, Epoch, percent

SETTINGS = {"epochs": 5, "lr": 0.1, "weight_decay": 0, "label_smoothing": 0.0, "augment": "none", "patience": None, "seed": 3}
AGAIN = "tinyclsf fit --config runs/a/config.json"
CLASSES = ("cat", "dog", "eel", "fox")


def history_of(train: Sequence[float], valid: Sequence[float] | None = None, accuracy: float | None = 0.8) -> list[Epoch]:
    return [Epoch(epoch, *losses, accuracy, 1.0) for epoch, losses in enumerate(zip(train, valid or train, strict=True), 1)]


def assessment_of(right: int, wrong: int, *, confidence: float | None = None, never: Sequence[int] = ()) -> Assessment:
    """Figures of a model that takes every class as often as another, as sure as it is right or as sure as is said."""
    labels = torch.arange(right + wrong) % len(CLASSES)
    predicted = torch.where(torch.arange(right + wrong) < right, labels, (labels + 1) % len(CLASSES))
    for number in never:
        predicted[predicted == number] = (number + 1) % len(CLASSES)
    sure = right / (right + wrong) if confidence is None else confidence
    other = math.log((1 - sure) / (len(CLASSES) - 1)) if sure < 1 else -50.0
    logits = torch.full((len(labels), len(CLASSES)), other)
    logits[torch.arange(len(labels)), predicted] = math.log(sure)
    return assess(Predictions(logits, labels), CLASSES)


def remarks(history: Sequence[Epoch], assessment: Assessment | None = None, settings: Any = None, **more: Any) -> list[Remark]:
    return find_remarks(history, assessment, {**SETTINGS, **(settings or {})}, name="runs/a", **more)


GOOD = assessment_of(800, 200)
CHANCE = assessment_of(255, 745)


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ([], []),
        ([2.3], [2.3]),
        ([0.9, 0.5, 0.3, 0.2], [0.9, 0.6, 0.4, 0.3]),  # four epochs are no trend
        ([1.29, 0.75, 0.71, 0.64, 0.60, 0.57, 0.58], [0.36, 0.27, 0.27, 0.29, 0.29, 0.24, 0.40]),  # as a real run swings
        ([0.2, 0.05, 0.01, 0.004, 0.009], [0.1, 0.09, 0.08, 0.081, 0.0805]),  # twofold, of next to nothing
        ([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.9, 0.60, 0.61, 0.62, 0.63, 0.64]),  # rises, but not by a tenth
        ([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.9, 0.5, 0.4, 0.395, 0.394, 0.393]),  # falls, but has levelled out
    ],
    ids=["none", "one", "four", "noise", "small", "slight-rise", "level"],
)
def test_what_is_sound_or_too_short_gets_no_remark(train: list[float], valid: list[float]) -> None:
    assert remarks(history_of(train, valid), GOOD, valid_images=1000) == []


def test_still_improving() -> None:
    losses = [2.0, 1.6, 1.3, 1.1, 0.95, 0.85]
    history = [row._replace(valid_accuracy=0.5 + 0.05 * row.epoch) for row in history_of(losses)]
    what = "the curves suggest that the model was still improving when training ended"
    evidence = "from epoch 2 to 6 validation loss fell from 1.6 to 0.85, and validation accuracy went from 60.00 % to 80.00 %"
    assert remarks(history, GOOD) == [Remark(what, evidence, "tinyclsf fit --resume runs/a --epochs 12")]
    assert remarks(history, GOOD, {"epochs": 40})[0].suggestion == "tinyclsf fit --resume runs/a --epochs 40"
    early = [row._replace(valid_accuracy=0.9 if row.epoch == 1 else 0.8) for row in history]  # and patience has ended it
    (longer,) = [each for each in remarks(early, GOOD, {"epochs": 40, "patience": 3}) if "improving" in each.what]
    assert longer.suggestion == "tinyclsf fit --resume runs/a --epochs 40 --patience 10"
    [unlabelled] = remarks(history_of(losses, accuracy=None))
    assert unlabelled.evidence == "from epoch 2 to 6 validation loss fell from 1.6 to 0.85"
    assert remarks(history_of(losses, accuracy=0.997), GOOD) == []
    assert [remark.what for remark in remarks(history_of(losses, accuracy=0.99), GOOD)] == [what]
    one_out_of_order = history_of([2.0, 1.6, 1.3, 1.1, 1.15, 0.85])
    assert [remark.what for remark in remarks(one_out_of_order, GOOD)] == [what]
    two_out_of_order = history_of([2.0, 1.6, 1.1, 1.3, 1.15, 0.85])
    assert remarks(two_out_of_order, GOOD) == []


def test_overfitting() -> None:
    history = history_of([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.8, 0.5, 0.55, 0.6, 0.65, 0.7])
    what = "the curves suggest overfitting"
    evidence = "from epoch 2 to 6 train loss fell from 0.5 to 0.05 while validation loss rose from 0.5 to 0.7"
    assert remarks(history, GOOD) == [Remark(what, evidence, f"{AGAIN} --patience 5 --augment crop")]
    for settings, flags in [
        ({"augment": "flip"}, "--patience 5 --weight-decay 0.0005"),
        ({"augment": "flip", "patience": 2, "weight_decay": 0.01}, "--weight-decay 0.1"),
        ({"augment": "flip", "patience": 2, "weight_decay": None}, "--epochs 2"),
    ]:
        assert remarks(history, GOOD, settings)[0].suggestion == f"{AGAIN} {flags}"
    by_an_eighth = history_of([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.8, 0.5, 0.52, 0.54, 0.555, 0.5625])
    assert [remark.what for remark in remarks(by_an_eighth, GOOD)] == [what]
    rising_with_the_train_loss = history_of([0.9, 0.5, 0.51, 0.52, 0.53, 0.54], [0.8, 0.5, 0.55, 0.6, 0.65, 0.7])
    assert remarks(rising_with_the_train_loss, GOOD) == []


@pytest.mark.parametrize(
    ("losses", "evidence"),
    [
        ([2.19, 1.94, 2.41, 2.36, 2.34], "train loss rose from 1.94 in epoch 2 to 2.34 in epoch 5; in epoch 1 it was 2.19"),
        ([2.4, 0.5, 2.3], "train loss rose from 0.5 in epoch 2 to 2.3 in epoch 3; in epoch 1 it was 2.4"),
        ([2.4, 0.5, 1.5], "train loss rose from 0.5 in epoch 2 to 1.5 in epoch 3; in epoch 1 it was 2.4"),
        ([2.4, 22.9, 31.0], "train loss rose from 2.4 in epoch 1 to 31 in epoch 3"),
    ],
    ids=["lost", "collapsed", "half-lost", "blown-up"],
)
def test_diverged(losses: list[float], evidence: str) -> None:
    assert remarks(history_of(losses), GOOD) == [
        Remark("the loss suggests that training diverged", evidence, f"{AGAIN} --lr 0.01")
    ]


def test_a_loss_that_was_no_number() -> None:
    error = str(not_finite("training loss of epoch 3, batch 7", math.nan, 4.0))
    failed = "it failed: the loss of epoch 3, batch 7 is nan at learning rate 4"
    [alone] = remarks([], error=error)
    assert alone == ("the loss suggests that training diverged", failed, f"{AGAIN} --lr 0.01")
    infinite = str(not_finite("validation loss of epoch 3", math.inf, 4.0))
    assert remarks(history_of([0.5, 0.4]), error=infinite)[0].evidence == (
        "after 2 epochs it failed: the loss of epoch 3 is inf at learning rate 4"
    )
    assert remarks([], error="cannot write runs/a/metrics.jsonl: No space left on device") == []


def test_nothing_is_learned() -> None:
    evidence = (
        "accuracy is 25.50 % on 1,000 held-out images, and always answering the most frequent class would give 25.00 %; "
        f"validation loss was 1.3863 at best, and a model that ignores the image has loss {math.log(4):.4f}"
    )
    high = "the figures suggest that the model learns nothing, with a learning rate that is too high"
    low = "the figures suggest that the model learns nothing, with a learning rate that is too low"
    flat = history_of([1.40, 1.3863, 1.3864, 1.3863, 1.3863], accuracy=0.25)
    assert remarks(flat, CHANCE) == [Remark(high, evidence, f"{AGAIN} --lr 0.01")]
    peak = history_of([1.4, 9.0, 1.39, 1.388, 1.387, 1.3865, 1.3863], accuracy=0.25)
    assert remarks(peak, CHANCE)[0].what == high
    crawling = history_of([1.38640, 1.38638, 1.38636, 1.38634, 1.38632], accuracy=0.25)
    assert remarks(crawling, CHANCE) == [Remark(low, evidence, f"{AGAIN} --lr 1")]
    assert remarks(crawling, CHANCE, stuck=[0, 1])[0].what == high
    assert len(remarks(crawling, assessment_of(255, 745, confidence=0.9))) == 1  # of its confidence nothing need be said
    labels, predicted = torch.arange(1000) % 4, torch.zeros(1000, dtype=torch.int64)
    predicted[2:42:4] = 1  # ten eels for dogs, and all else for cats
    one_class = assess(Predictions(torch.eye(4)[predicted], labels), CLASSES)
    assert len(remarks(crawling, one_class)) == 1
    never = assessment_of(255, 745, never=[1])
    assert len(remarks(crawling, never)) == 1
    assert [each.what for each in remarks(crawling, never, stuck=[1])] == [high, "a class is never predicted"]
    begun = history_of([1.3863, 1.3860, 1.3850, 1.3800, 1.3700], [1.3863] * 5, accuracy=0.25)
    assert remarks(begun, CHANCE) == [
        Remark(
            "the figures suggest that training has hardly begun",
            f"{evidence}; train loss falls slowly",
            "tinyclsf fit --resume runs/a --epochs 10",
        )
    ]
    assert remarks(flat, assessment_of(600, 400)) == []  # more than twice as often right as that


def test_what_cannot_be_told_from_guessing_is_said_of_any_course() -> None:
    evidence = (
        "accuracy is 25.50 % (95 % interval 22.90 % to 28.29 %) on 1,000 images, and always answering cat would give 25.00 %"
    )
    what = "the accuracy is not clearly above that of always answering the most frequent class"
    wanted = [Remark(what, evidence, "tinyclsf fit --resume runs/a --epochs 5")]
    assert remarks(history_of([1.40, 1.3863], accuracy=0.25), CHANCE) == wanted  # too few epochs for more
    assert remarks(history_of([1.4, 1.3, 1.2], accuracy=0.25), CHANCE) == wanted  # its loss says that it has learned
    assert remarks([], assessment_of(290, 710)) == []
    labels = torch.tensor([0] * 18 + [1] * 2)
    perfect = assess(Predictions(torch.eye(4)[labels] * 9, labels), CLASSES)  # whose interval begins at 84 %
    assert all(each.what.startswith("there are few") for each in remarks(history_of([0.1] * 3), perfect, {"loss": "mse"}))


def test_a_course_that_is_told_before_does_not_hide_that_the_result_is_a_guess() -> None:
    diverged = history_of([1.4, 1.3863, 8.0], [1.4, 1.3863, 1.39], accuracy=0.25)
    assert [each.what for each in remarks(diverged, CHANCE)] == [
        "the loss suggests that training diverged",
        "the accuracy is not clearly above that of always answering the most frequent class",
    ]


def test_of_another_loss_only_the_accuracy_tells_that_nothing_is_learned() -> None:
    history = history_of([0.19, 0.19, 0.19], accuracy=0.25)
    [remark] = remarks(history, CHANCE, {"loss": "mse"})
    assert remark.evidence == (
        "accuracy is 25.50 % on 1,000 held-out images, and always answering the most frequent class would give 25.00 %"
    )
    assert remarks(history, GOOD, {"loss": "mse"}) == []


@pytest.mark.parametrize("loss", ["cross-entropy", "mse"])
def test_images_of_a_single_class_do_not_tell_whether_anything_was_learned(loss: str) -> None:
    logits = torch.tensor([[20.0, 0.0, 0.0, 0.0]]).repeat(1000, 1)
    found = assess(Predictions(logits, torch.zeros(1000, dtype=torch.int64)), CLASSES)
    assert remarks(history_of([0.5, 0.3, 0.25], [0.0, 0.0, 0.0]), found, {"loss": loss}) == []


def test_images_that_chose_the_best_epoch_and_score_it_are_told_apart_from_others() -> None:
    evidence = "accuracy is 80.00 % on 1,000 validation images"
    assert remarks([], GOOD, split="valid") == [Remark(NO_TEST_SPLIT, evidence, f"{AGAIN} -d test_ratio=0.2")]
    (remark,) = remarks([], GOOD, split="valid", sets_aside=False)
    assert remark.suggestion == "give the data set a test split"
    assert remarks([], GOOD, split="test") == []


def test_a_class_that_is_never_predicted() -> None:
    found = assessment_of(800, 200, never=[1])
    found = found._replace(calibration_error=0.0)
    evaluate = "tinyclsf evaluate runs/a"
    assert remarks([], found) == [Remark("a class is never predicted", "dog (250 images)", evaluate)]
    stuck = "dog (250 images); the output for dog is the same for every image, as after a final ReLU that is stuck at 0"
    assert remarks([], found, stuck=[1]) == [Remark("a class is never predicted", stuck, f"{AGAIN} --seed 4")]
    rare = found._replace(classes=tuple(each._replace(images=4) for each in found.classes))
    assert remarks([], rare) == []
    assert remarks([], rare, stuck=[1])[0].what == "a class is never predicted"
    many = found._replace(classes=tuple(each._replace(predicted=0) for each in found.classes * 2))
    [remark] = remarks([], many)
    assert remark.what == "8 classes are never predicted"
    assert remark.evidence.endswith("fox (250 images), cat (250 images) and 3 more")


def test_classes_that_are_rarely_right() -> None:
    labels = torch.arange(400) % 4
    predicted = labels.clone()
    predicted[(labels == 1) & (torch.arange(400) < 360)] = 3  # of the dogs 10 are right
    predicted[(labels == 2) & (torch.arange(400) < 300)] = 0  # of the eels 25, whose interval reaches half of 58.75 %
    found = assess(Predictions(torch.eye(4)[predicted] * 9, labels), CLASSES)._replace(calibration_error=0.0)
    evidence = "dog (10 of 100 images) at an accuracy of 58.75 % over all; dog is most often predicted as fox (90 times)"
    assert remarks([], found) == [Remark("one class is rarely recognised", evidence, "tinyclsf evaluate runs/a")]


def test_of_classes_that_are_rarely_right_the_worst_comes_first() -> None:
    labels = torch.arange(400) % 4
    predicted = labels.clone()
    predicted[(labels == 1) & (torch.arange(400) < 340)] = 3  # of the dogs 15 are right, of the eels 5
    predicted[(labels == 2) & (torch.arange(400) < 380)] = 0
    found = assess(Predictions(torch.eye(4)[predicted] * 9, labels), CLASSES)._replace(calibration_error=0.0)
    [remark] = remarks([], found)
    assert remark.what == "2 classes are rarely recognised"
    assert remark.evidence == (
        "eel (5 of 100 images) and dog (15 of 100 images) at an accuracy of 55.00 % over all; "
        "eel is most often predicted as cat (95 times)"
    )


def test_an_accuracy_that_flatters() -> None:
    labels = torch.tensor([0] * 900 + [1] * 100)
    predicted = labels.clone()
    predicted[900:960] = 0
    found = assess(Predictions(torch.eye(4)[predicted] * 9, labels), CLASSES)._replace(calibration_error=0.0)
    low, high = map(percent, found.balanced_accuracy_interval)
    evidence = (
        f"accuracy is 94.00 %, and balanced accuracy, which counts each class alike, is 70.00 % (95 % interval {low} to {high})"
    )
    what = "the accuracy is misleading: classes with many images are recognised better than classes with few"
    [flatters] = [each for each in remarks([], found) if each.what == what]
    assert flatters == Remark(what, evidence, f"{AGAIN} --class-weights balanced")
    for settings in ({"class_weights": "balanced"}, {"loss": "mse"}):
        assert Remark(what, evidence, "tinyclsf evaluate runs/a") in remarks([], found, settings)
    near = found._replace(accuracy=0.74, balanced_accuracy_interval=(0.69, 0.71))  # by less than five points
    within = found._replace(balanced_accuracy_interval=(0.4, 0.95))  # it could be chance
    for other in (near, within):
        assert what not in [each.what for each in remarks([], other)]


def test_a_model_that_tells_classes_apart_has_learned_something_whatever_its_loss() -> None:
    labels = torch.tensor([0] * 900 + [1] * 100)
    predicted = torch.tensor([0] * 800 + [1] * 180 + [0] * 20)  # right for 800 of 900, and for 80 of 100
    found = assess(Predictions(torch.eye(4)[predicted], labels), CLASSES)
    flat = history_of([0.5, 0.45, 0.45, 0.45, 0.45], accuracy=0.88)
    assert not [each for each in remarks(flat, found) if "learns nothing" in each.what]


def test_a_model_that_is_too_sure_or_not_sure_enough() -> None:
    evidence = (
        "mean confidence is 95.00 % at an accuracy of 80.00 % (95 % interval 77.41 % to 82.36 %); calibration error 15.00 %"
    )
    over = assessment_of(800, 200, confidence=0.95)
    sure = "the figures suggest that the model is overconfident"
    assert remarks([], over) == [Remark(sure, evidence, f"{AGAIN} --label-smoothing 0.1")]
    assert remarks([], over, {"label_smoothing": 0.1})[0].suggestion == f"{AGAIN} --augment crop"
    without = {"label_smoothing": None, "weight_decay": None, "augment": "crop"}
    assert remarks([], over, without)[0].suggestion == f"{AGAIN} --patience 5"
    under = assessment_of(800, 200, confidence=0.6)
    less = "the figures suggest that the model is underconfident"
    assert [(each.what, each.suggestion) for each in remarks(history_of([0.5, 0.5]), under)] == [
        (less, "tinyclsf fit --resume runs/a --epochs 5")
    ]
    assert remarks([], under, {"label_smoothing": 0.3})[0].suggestion == f"{AGAIN} --label-smoothing 0"
    improving = history_of([2.0, 1.6, 1.3, 1.1, 0.95])
    assert len(remarks(improving, under)) == 1
    assert [each.suggestion for each in remarks(improving, under, {"label_smoothing": 0.3})][1:] == [
        f"{AGAIN} --label-smoothing 0"
    ]
    assert remarks([], assessment_of(20, 5, confidence=0.9))[0].what.startswith("there are few")  # 90 % is in its interval


def test_few_images_and_parts_that_differ() -> None:
    few = assessment_of(80, 20)
    what = "there are few held-out images; train with another seed to see how much the figures vary by chance"
    evidence = (
        "with 100 images the 95 % interval of the accuracy reaches from 71.12 % to 86.66 %, "
        "so models that are 8 points apart may be equally good"
    )
    assert remarks([], few) == [Remark(what, evidence, f"{AGAIN} --seed 4")]
    history = history_of([0.5, 0.5], accuracy=0.86)
    assert remarks(history, GOOD) == []
    # 2.576 * sqrt(0.83 * 0.17 * 2 / 1000) is 4.33 points, and 0.86 - 0.80 is 6.
    [remark] = remarks(history, GOOD, valid_images=1000)
    assert remark == Remark(
        "the figures suggest that the validation and test images are of different kinds",
        "86.00 % of 1,000 validation images and 80.00 % of 1,000 test images are right; "
        "by chance they would differ by at most 4.33 points, 99 times out of 100",
        "tinyclsf evaluate runs/a --split valid",
    )
    past_its_best = [row._replace(valid_accuracy=accuracy) for row, accuracy in zip(history, (0.86, 0.79), strict=True)]
    assert remarks(past_its_best, GOOD, valid_images=1000) == [remark]
    assert remarks(history, GOOD, valid_images=300) == []
    assert remarks(history_of([0.5, 0.5], accuracy=None), GOOD, valid_images=1000) == []


def test_names_that_need_quotes() -> None:
    history = history_of([2.4, 22.9, 31.0])
    quoted = "tinyclsf fit --config 'my runs/a/config.json' --lr"
    assert find_remarks(history, None, {"lr": 1}, name="my runs/a")[0].suggestion == f"{quoted} 0.1"
    assert find_remarks(history, None, {}, name="my runs/a")[0].suggestion == f"{quoted} 0.001"


def test_every_suggested_fit_is_one_that_the_command_takes() -> None:
    courses = [
        remarks(history_of([2.0, 1.6, 1.3, 1.1, 0.95]), GOOD),
        remarks(history_of([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.8, 0.5, 0.55, 0.6, 0.65, 0.7]), GOOD),
        remarks(history_of([0.9, 0.5, 0.3, 0.2, 0.1, 0.05], [0.8, 0.5, 0.55, 0.6, 0.65, 0.7]), GOOD, {"augment": "flip"}),
        remarks(history_of([2.4, 22.9, 31.0]), None, {"lr": 1e8}),
        remarks([], assessment_of(80, 20)),
        remarks([], assessment_of(800, 200, confidence=0.95)),
    ]
    commands = [shlex.split(remark.suggestion) for found in courses for remark in found]
    assert len(commands) == len(courses)
    for program, command, *args in commands:
        assert (program, command) == ("tinyclsf", "fit")
        with fit.make_context("fit", args) as ctx:
            assert ctx.args == []
