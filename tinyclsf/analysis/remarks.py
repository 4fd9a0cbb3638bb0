"""What a run's curves and held-out figures suggest, in plain words, and the command to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinyclsf.analysis.course import JudgedRun, Remark, diverged, no_progress, overfitting, still_improving
from tinyclsf.analysis.guessing import is_guessing
from tinyclsf.errors import join_names
from tinyclsf.machine.shell import shell_text
from tinyclsf.metrics import NO_TEST_SPLIT, Epoch, best_of, percent

if TYPE_CHECKING:
    from tinyclsf.analysis.assessment import Assessment
    from tinyclsf.analysis.by_class import ClassFigures

# A class of fewer images may well be missed by chance, by a model that is right every second time: 0.5 ** 5 is 3 %.
_SOME_IMAGES = 5
_MISCALIBRATED = 0.05
_WIDE = 0.05  # half a 95 % interval
_Z = 2.576  # of 99 %, not 95 %, as the validation accuracy is the best of several epochs
_FLATTERED = 0.05  # of the accuracy above the balanced one
_NAMED = 5  # of the classes in a sentence


def find_remarks(
    history: Sequence[Epoch],
    assessment: Assessment | None,
    settings: Mapping[str, Any],
    *,
    name: str,
    stuck: Sequence[int] = (),
    split: str = "test",
    sets_aside: bool = True,
    valid_images: int | None = None,
    error: str | None = None,
) -> list[Remark]:
    """Remarks on a run, the course of its training first; none where nothing stands out.

    - `history`: its epochs.
    - `assessment`: its figures on held-out images, None before there are any.
    - `settings`: those of its `config.json`, the values alone.
    - `name`: its folder, for commands.
    - `stuck`: the classes whose output is the same for every image.
    - `split`: that of the held-out images.
    - `sets_aside`: whether the data set has an option `test_ratio`.
    - `valid_images`: the number of images that validated.
    - `error`: what it failed with.
    """
    run = JudgedRun(history, assessment, settings, name, stuck, error)
    in_vain = no_progress(run)
    course = diverged(run) or in_vain or overfitting(run) or still_improving(run)
    found = [course]
    if assessment is not None:
        found.append(_guessing(run, assessment) if in_vain is None or course is not in_vain else None)
        found.append(_never_predicted(run, assessment) if stuck or in_vain is None else None)
        found.append(_rarely_right(run, assessment) if in_vain is None else None)
        found.append(_flattering(run, assessment) if in_vain is None else None)
        found.append(_calibration(run, assessment, unfinished=course is not None) if in_vain is None else None)
        found.append(_apart(run, assessment, valid_images) if valid_images else None)
        found.append(_few_images(run, assessment))
        found.append(_no_test_split(run, assessment, sets_aside) if split == "valid" else None)
    return [remark for remark in found if remark is not None]


def _guessing(run: JudgedRun, found: Assessment) -> Remark | None:
    commonest = max(found.classes, key=lambda each: each.images)
    share = commonest.images / found.images
    if not is_guessing(found, share):
        return None
    low, high = map(percent, found.interval)
    evidence = (
        f"accuracy is {percent(found.accuracy)} (95 % interval {low} to {high}) on {found.images:,} images, "
        f"and always answering {commonest.name} would give {percent(share)}"
    )
    return Remark("the accuracy is not clearly above that of always answering the most frequent class", evidence, run.longer())


def _never_predicted(run: JudgedRun, found: Assessment) -> Remark | None:
    def stands_out(number: int, each: ClassFigures) -> bool:
        return each.predicted == 0 and each.images > 0 and (each.images >= _SOME_IMAGES or number in run.stuck)

    never = {number: each for number, each in enumerate(found.classes) if stands_out(number, each)}
    if not never:
        return None
    named = [f"{each.name} ({each.images:,} images)" for each in never.values()]
    evidence = join_names(named, _NAMED)
    stuck = [found.classes[number].name for number in never if number in run.stuck]
    if stuck:
        same = join_names(stuck, _NAMED)
        evidence += f"; the output for {same} is the same for every image, as after a final ReLU that is stuck at 0"
    what = "a class is never predicted" if len(never) == 1 else f"{len(never)} classes are never predicted"
    return Remark(what, evidence, run.other_seed() if stuck else shell_text("tinyclsf", "evaluate", run.name))


def _rarely_right(run: JudgedRun, found: Assessment) -> Remark | None:
    """Classes that are sometimes predicted, and whose accuracy is below half of that of all images beyond chance."""
    rarely = [
        (number, each)
        for number, each in enumerate(found.classes)
        if each.predicted and each.interval is not None and each.interval[1] < found.accuracy / 2
    ]
    if not rarely:
        return None
    rarely.sort(key=lambda pair: pair[1].correct / pair[1].images)
    named = [f"{each.name} ({each.correct:,} of {each.images:,} images)" for _, each in rarely]
    number, worst = rarely[0]
    times, other = max((cell.images, cell.predicted) for cell in found.confusion if cell.true == number != cell.predicted)
    evidence = (
        f"{join_names(named, _NAMED)} "
        f"at an accuracy of {percent(found.accuracy)} over all; {worst.name} is most often predicted as "
        f"{found.classes[other].name} ({times:,} times)"
    )
    what = "one class is rarely recognised" if len(rarely) == 1 else f"{len(rarely)} classes are rarely recognised"
    return Remark(what, evidence, shell_text("tinyclsf", "evaluate", run.name))


def _flattering(run: JudgedRun, found: Assessment) -> Remark | None:
    low, high = found.balanced_accuracy_interval
    if found.accuracy <= max(high, found.balanced_accuracy + _FLATTERED):
        return None
    evidence = (
        f"accuracy is {percent(found.accuracy)}, and balanced accuracy, which counts each class alike, is "
        f"{percent(found.balanced_accuracy)} (95 % interval {percent(low)} to {percent(high)})"
    )
    what = "the accuracy is misleading: classes with many images are recognised better than classes with few"
    can_weigh = run.settings.get("class_weights", "none") == "none" and run.settings.get("loss") in (None, "cross-entropy")
    suggestion = run.again("--class-weights", "balanced") if can_weigh else shell_text("tinyclsf", "evaluate", run.name)
    return Remark(what, evidence, suggestion)


def _calibration(run: JudgedRun, found: Assessment, *, unfinished: bool) -> Remark | None:
    confidence, (low, high) = found.confidence, found.interval
    if found.calibration_error < _MISCALIBRATED or low <= confidence <= high:
        return None
    evidence = (
        f"mean confidence is {percent(confidence)} at an accuracy of {percent(found.accuracy)} "
        f"(95 % interval {percent(low)} to {percent(high)}); calibration error {percent(found.calibration_error)}"
    )
    smoothing = run.settings.get("label_smoothing")  # None where the loss has no such thing
    if confidence > high:
        flags = ["--label-smoothing", "0.1"] if smoothing == 0 else run.regularized() or ["--patience", "5"]
        return Remark("the figures suggest that the model is overconfident", evidence, run.again(*flags))
    if unfinished and not smoothing:
        return None  # the course of training has said what to do, and a model becomes surer as it learns
    suggestion = run.again("--label-smoothing", "0") if smoothing else run.longer()
    return Remark("the figures suggest that the model is underconfident", evidence, suggestion)


def _apart(run: JudgedRun, found: Assessment, valid_images: int) -> Remark | None:
    best = best_of(run.history)
    if best is None or best.valid_accuracy is None:
        return None
    images = valid_images + found.images
    share = (best.valid_accuracy * valid_images + found.accuracy * found.images) / images
    chance = _Z * math.sqrt(share * (1 - share) * (1 / valid_images + 1 / found.images))
    if abs(best.valid_accuracy - found.accuracy) <= chance:
        return None
    evidence = (
        f"{percent(best.valid_accuracy)} of {valid_images:,} validation images and {percent(found.accuracy)} of "
        f"{found.images:,} test images are right; by chance they would differ by at most {100 * chance:.2f} points, "
        "99 times out of 100"
    )
    what = "the figures suggest that the validation and test images are of different kinds"
    return Remark(what, evidence, shell_text("tinyclsf", "evaluate", run.name, "--split", "valid"))


def _few_images(run: JudgedRun, found: Assessment) -> Remark | None:
    low, high = found.interval
    if high - low <= 2 * _WIDE:
        return None
    evidence = (
        f"with {found.images:,} images the 95 % interval of the accuracy reaches from {percent(low)} to {percent(high)}, "
        f"so models that are {50 * (high - low):.0f} points apart may be equally good"
    )
    what = "there are few held-out images; train with another seed to see how much the figures vary by chance"
    return Remark(what, evidence, run.other_seed())


def _no_test_split(run: JudgedRun, found: Assessment, sets_aside: bool) -> Remark:
    evidence = f"accuracy is {percent(found.accuracy)} on {found.images:,} validation images"
    suggestion = run.again("-d", "test_ratio=0.2") if sets_aside else "give the data set a test split"
    return Remark(NO_TEST_SPLIT, evidence, suggestion)
