"""What a run's curves and held-out figures suggest, in plain words, and the command to try next."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from tinyclsf.errors import join_names
from tinyclsf.metrics import Epoch, best_of, percent

if TYPE_CHECKING:
    from tinyclsf.analysis.assessment import Assessment, ClassFigures

# The numbers below were settled on small runs of five models on digits: too short, too long, with learning rates from 1e-5 to
# 1e8, and sound ones, of which none may be blamed.
#
# A trend is five epochs of whose ten pairs at most one is out of order: without a trend 5 of 120 orders are so, 4 %. The noise
# of an epoch is taken from the epochs themselves, as a history does not tell how single images were scored.
_SPAN = 5
_FEWEST = 3  # epochs: fewer tell nothing at all
# Still improving: the loss of the last three epochs fell by 2 %. A run whose rate was let down to 0 fell by 2.1 % when it had
# come to an accuracy of a third; in one that had levelled out the last three epochs differed by less than 1 %.
_GAIN = 0.02
_ENOUGH = 0.995  # of accuracy: what could still be gained would hardly be seen
# Overfitting: above its lowest by a tenth, at the end of a rise. A sound run at a constant rate swings by up to a half from
# epoch to epoch, but does not rise for five; one on 150 images rose by 15 %, one on 100 by 32 %.
_RISE = 1.1
# Diverged: the train loss ends at least a tenth above its lowest, and has lost half of what it had gained. Sound runs swing
# about twofold where their loss is below 0.02, which is next to nothing of that.
_BLOWN_UP, _LOST = 1.1, 0.5
# Nothing learned: no epoch's loss is 5 % below that of knowing the classes' shares alone, and the accuracy is at most twice
# that of naming the most frequent class. Where the loss falls steadily, but by less than 0.05 % over the span, the rate is too
# low: with 1e-5 and 3e-3 it fell by 0.0005 % and 0.01 %, and in runs that only needed more epochs by 0.1 % to 0.3 %.
_IGNORANT = 0.95
_CRAWL = 5e-4
_PEAK = 1.05  # above its first epoch: no loss that is only slow has such a peak
# A class of fewer images may well be missed by chance, by a model that is right every second time: 0.5 ** 5 is 3 %.
_SOME_IMAGES = 5
_MISCALIBRATED = 0.05
_WIDE = 0.05  # half a 95 % interval
_Z = 2.576  # of 99 %, not 95 %, as the validation accuracy is the best of several epochs
_NAMED = 5  # of the classes in a sentence
_NOT_FINITE = re.compile(r"loss of epoch \d+.* is -?(nan|inf) at learning rate [^;]*")


class Remark(NamedTuple):
    """What the figures suggest, the numbers that do, and one command that can be pasted."""

    what: str
    evidence: str
    suggestion: str


class _Run(NamedTuple):
    history: Sequence[Epoch]
    assessment: Assessment | None
    settings: Mapping[str, Any]
    name: str
    stuck: Sequence[int]
    error: str | None

    def again(self, *flags: str) -> str:
        """The command for a new run of the same settings but these."""
        return shlex.join(["tinyclsf", "fit", "--config", f"{self.name}/config.json", *flags])

    def other_seed(self) -> str:
        """The command for a new run of the next seed."""
        return self.again("--seed", str((self.settings.get("seed") or 0) + 1))

    def longer(self) -> str:
        """The command that goes on to the epochs that were asked for, and once these are done to twice as many."""
        done, asked = len(self.history), self.settings.get("epochs") or 0
        return shlex.join(["tinyclsf", "fit", "--resume", self.name, "--epochs", str(asked if asked > done else 2 * done)])


def find_remarks(
    history: Sequence[Epoch],
    assessment: Assessment | None,
    settings: Mapping[str, Any],
    *,
    name: str,
    stuck: Sequence[int] = (),
    valid_images: int | None = None,
    error: str | None = None,
) -> list[Remark]:
    """Remarks on a run, the course of its training first; none where nothing stands out.

    - `history`: its epochs.
    - `assessment`: its figures on held-out images, None before there are any.
    - `settings`: those of its `config.json`, the values alone.
    - `name`: its folder, for commands.
    - `stuck`: the classes whose output is the same for every image.
    - `valid_images`: the number of images that validated.
    - `error`: what it failed with.
    """
    run = _Run(history, assessment, settings, name, stuck, error)
    in_vain = _no_progress(run)
    course = _diverged(run) or in_vain or _overfitting(run) or _still_improving(run)
    found = [course]
    if assessment is not None:
        found.append(_guessing(run, assessment) if in_vain is None else None)
        found.append(_never_predicted(run, assessment) if stuck or in_vain is None else None)
        found.append(_rarely_right(run, assessment) if in_vain is None else None)
        found.append(_calibration(run, assessment, unfinished=course is not None) if in_vain is None else None)
        found.append(_apart(run, assessment, valid_images) if valid_images else None)
        found.append(_few_images(run, assessment))
    return [remark for remark in found if remark is not None]


def _diverged(run: _Run) -> Remark | None:
    losses = [row.train_loss for row in run.history]
    failed = _NOT_FINITE.search(run.error or "")
    if failed:
        evidence = f"it failed: the {failed[0]}" if not losses else f"after {len(losses)} epochs it failed: the {failed[0]}"
    elif len(losses) >= _FEWEST:
        lowest, last = min(losses), losses[-1]
        if last < _BLOWN_UP * lowest or last - lowest < _LOST * (losses[0] - lowest):
            return None
        low = losses.index(lowest)
        evidence = f"train loss rose from {losses[low]:.4g} in epoch {low + 1} to {losses[-1]:.4g} in epoch {len(losses)}"
        evidence += f"; in epoch 1 it was {losses[0]:.4g}" if low else ""
    else:
        return None
    return Remark("the loss suggests that training diverged", evidence, _other_rate(run, 0.1))


def _no_progress(run: _Run) -> Remark | None:
    found = run.assessment
    if found is None or len(run.history) < _FEWEST:
        return None
    shares = [each.images / found.images for each in found.classes if each.images]
    if len(shares) == 1:  # of one class even a model that knows nothing is always right
        return None
    commonest, train = max(shares), [row.train_loss for row in run.history]
    lowest = min(row.valid_loss for row in run.history)
    evidence = (
        f"accuracy is {percent(found.accuracy)} on {found.images:,} held-out images, "
        f"and to name always the most frequent class gives {percent(commonest)}"
    )
    if run.settings.get("loss") in (None, "cross-entropy"):
        ignorant = -math.fsum(share * math.log(share) for share in shares)
        if lowest < _IGNORANT * ignorant or found.accuracy > 2 * commonest:
            return None
        evidence += f"; validation loss was {lowest:.4f} at best, and to know nothing of an image gives {ignorant:.4f}"
    elif found.interval[0] > commonest or found.accuracy > (1 + commonest) / 2:  # with few images the interval is wide
        return None
    falls = _falls(train) and max(train) <= _PEAK * train[0] and not run.stuck
    if falls and train[-1] < (1 - _CRAWL) * train[-min(_SPAN, len(train))]:
        return Remark(
            "the figures suggest that training has hardly begun", f"{evidence}; train loss falls slowly", run.longer()
        )
    what = "the figures suggest that the model learns nothing, with a learning rate that is too"
    return Remark(f"{what} {'low' if falls else 'high'}", evidence, _other_rate(run, 10 if falls else 0.1))


def _guessing(run: _Run, found: Assessment) -> Remark | None:
    """A model that what it was scored on cannot tell from one that always names the most frequent class."""
    commonest = max(found.classes, key=lambda each: each.images)
    share = commonest.images / found.images
    if share == 1 or found.interval[0] > share or found.accuracy > (1 + share) / 2:
        return None
    low, high = map(percent, found.interval)
    evidence = (
        f"accuracy is {percent(found.accuracy)} (95 % interval {low} to {high}) on {found.images:,} images, "
        f"of which {commonest.name} alone has {percent(share)}"
    )
    return Remark("the model may be no better than always naming the most frequent class", evidence, run.longer())


def _overfitting(run: _Run) -> Remark | None:
    losses = [row.valid_loss for row in run.history]
    if len(losses) < _SPAN or not _falls([-loss for loss in losses]):
        return None
    low, last = run.history[losses.index(min(losses))], run.history[-1]
    if last.valid_loss < _RISE * low.valid_loss or last.train_loss >= low.train_loss:
        return None
    evidence = (
        f"from epoch {low.epoch} to {last.epoch} train loss fell from {low.train_loss:.4g} to {last.train_loss:.4g} "
        f"while validation loss rose from {low.valid_loss:.4g} to {last.valid_loss:.4g}"
    )
    flags = ([] if run.settings.get("patience") else ["--patience", "5"]) + _regularized(run)
    return Remark("the curves suggest overfitting", evidence, run.again(*(flags or ["--epochs", str(low.epoch)])))


def _still_improving(run: _Run) -> Remark | None:
    losses = [row.valid_loss for row in run.history]
    if len(losses) < _SPAN or not _falls(losses) or losses[-1] > (1 - _GAIN) * losses[-3]:
        return None
    before, last = run.history[-_SPAN], run.history[-1]
    evidence = f"from epoch {before.epoch} to {last.epoch} validation loss fell from {losses[-_SPAN]:.4g} to {losses[-1]:.4g}"
    if before.valid_accuracy is not None and last.valid_accuracy is not None:
        if last.valid_accuracy >= _ENOUGH:
            return None
        evidence += f", and validation accuracy went from {percent(before.valid_accuracy)} to {percent(last.valid_accuracy)}"
    what = "the curves suggest that the model was still improving when training ended"
    return Remark(what, evidence, run.longer())


def _never_predicted(run: _Run, found: Assessment) -> Remark | None:
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
        evidence += f"; the output for {same} is the same for every image, as behind a final ReLU that is stuck at 0"
    what = "a class is never predicted" if len(never) == 1 else f"{len(never)} classes are never predicted"
    return Remark(what, evidence, run.other_seed() if stuck else shlex.join(["tinyclsf", "evaluate", run.name]))


def _rarely_right(run: _Run, found: Assessment) -> Remark | None:
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
    times, other = max((times, other) for other, times in enumerate(found.confusion[number]) if other != number)
    evidence = (
        f"{join_names(named, _NAMED)} "
        f"at an accuracy of {percent(found.accuracy)} over all; {worst.name} is most often taken for "
        f"{found.classes[other].name} ({times:,} times)"
    )
    what = "a class is rarely right" if len(rarely) == 1 else f"{len(rarely)} classes are rarely right"
    return Remark(what, evidence, shlex.join(["tinyclsf", "evaluate", run.name]))


def _calibration(run: _Run, found: Assessment, *, unfinished: bool) -> Remark | None:
    confidence, (low, high) = found.confidence, found.interval
    if found.calibration_error < _MISCALIBRATED or low <= confidence <= high:
        return None
    evidence = (
        f"mean confidence is {percent(confidence)} at an accuracy of {percent(found.accuracy)} "
        f"(95 % interval {percent(low)} to {percent(high)}); calibration error {percent(found.calibration_error)}"
    )
    smoothing = run.settings.get("label_smoothing")  # None where the loss has no such thing
    if confidence > high:
        flags = ["--label-smoothing", "0.1"] if smoothing == 0 else _regularized(run) or ["--patience", "5"]
        return Remark("the figures suggest that the model is surer than it should be", evidence, run.again(*flags))
    if unfinished and not smoothing:
        return None  # the course of training has said what to do, and a model becomes surer as it learns
    suggestion = run.again("--label-smoothing", "0") if smoothing else run.longer()
    return Remark("the figures suggest that the model is less sure than it could be", evidence, suggestion)


def _apart(run: _Run, found: Assessment, valid_images: int) -> Remark | None:
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
        f"{found.images:,} test images are right; chance parts them by {100 * chance:.2f} points at most, 99 times of 100"
    )
    what = "the figures suggest that validation and test images differ in kind"
    return Remark(what, evidence, shlex.join(["tinyclsf", "evaluate", run.name, "--split", "valid"]))


def _few_images(run: _Run, found: Assessment) -> Remark | None:
    low, high = found.interval
    if high - low <= 2 * _WIDE:
        return None
    evidence = (
        f"with {found.images:,} images the 95 % interval of the accuracy reaches from {percent(low)} to {percent(high)}, "
        f"so models that are {50 * (high - low):.0f} points apart may be equally good"
    )
    what = "there are few held-out images: another seed tells how far such figures move by themselves"
    return Remark(what, evidence, run.other_seed())


def _falls(values: Sequence[float]) -> bool:
    last = values[-_SPAN:]
    ordered = sum(later < earlier for earlier, later in combinations(last, 2))
    return ordered >= math.comb(len(last), 2) - (len(last) == _SPAN)


def _other_rate(run: _Run, factor: float) -> str:
    lr = run.settings.get("lr")
    return run.again("--lr", "0.001" if lr is None else f"{lr * factor:g}")


def _regularized(run: _Run) -> list[str]:
    """What keeps a model from learning images by heart and is not in use yet: shifted images, else more weight decay."""
    decay = run.settings.get("weight_decay")  # None where the optimizer has no such thing
    if run.settings.get("augment") in (None, "none"):
        return ["--augment", "crop"]
    return [] if decay is None else ["--weight-decay", f"{10 * decay or 0.0005:g}"]
