"""What the course of a run's training suggests: that it diverged, learned nothing, overfitted, or was still improving."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from tinyclsf.analysis.guessing import is_guessing
from tinyclsf.machine.shell import shell_text
from tinyclsf.metrics import Epoch, best_of, percent

if TYPE_CHECKING:
    from tinyclsf.analysis.assessment import Assessment

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
_NOT_FINITE = re.compile(r"loss of epoch \d+.* is -?(nan|inf) at learning rate [^;]*")


class Remark(NamedTuple):
    """What the figures suggest, the numbers that do, and one command that can be pasted."""

    what: str
    evidence: str
    suggestion: str


class JudgedRun(NamedTuple):
    """A run with all that remarks are made of, and the commands that they suggest."""

    history: Sequence[Epoch]
    assessment: Assessment | None
    settings: Mapping[str, Any]
    name: str
    stuck: Sequence[int]
    error: str | None

    def again(self, *flags: str) -> str:
        """The command for a new run of the same settings but these."""
        return shell_text("tinyclsf", "fit", "--config", f"{self.name}/config.json", *flags)

    def other_seed(self) -> str:
        """The command for a new run of the next seed."""
        return self.again("--seed", str((self.settings.get("seed") or 0) + 1))

    def longer(self) -> str:
        """The command that goes on to the epochs that were asked for, and once these are done to twice as many."""
        done, asked = len(self.history), self.settings.get("epochs") or 0
        words = ["tinyclsf", "fit", "--resume", self.name, "--epochs", str(asked if asked > done else 2 * done)]
        best, patience = best_of(self.history), self.settings.get("patience")
        if best is not None and patience and done - best.epoch >= patience:  # or it would stop again at once
            words += ["--patience", str(2 * (done - best.epoch))]
        return shell_text(*words)

    def other_rate(self, factor: float) -> str:
        """The command for a new run at another learning rate."""
        lr = self.settings.get("lr")
        return self.again("--lr", "0.001" if lr is None else f"{lr * factor:g}")

    def regularized(self) -> list[str]:
        """What keeps a model from learning images by heart and is not in use yet: shifted images, else more weight decay."""
        decay = self.settings.get("weight_decay")  # None where the optimizer has no such thing
        if self.settings.get("augment") in (None, "none"):
            return ["--augment", "crop"]
        return [] if decay is None else ["--weight-decay", f"{10 * decay or 0.0005:g}"]


def diverged(run: JudgedRun) -> Remark | None:
    """The training loss rose again, or was no number."""
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
    return Remark("the loss suggests that training diverged", evidence, run.other_rate(0.1))


def no_progress(run: JudgedRun) -> Remark | None:
    """No more was learned than how frequent each class is."""
    found = run.assessment
    if found is None or len(run.history) < _FEWEST:
        return None
    shares = [each.images / found.images for each in found.classes if each.images]
    if len(shares) == 1:  # of one class even a model that knows nothing is always right
        return None
    if found.balanced_accuracy_interval[0] > 1 / len(shares):  # it tells classes apart, whatever its loss
        return None
    commonest, train = max(shares), [row.train_loss for row in run.history]
    lowest = min(row.valid_loss for row in run.history)
    evidence = (
        f"accuracy is {percent(found.accuracy)} on {found.images:,} held-out images, "
        f"and always answering the most frequent class would give {percent(commonest)}"
    )
    if run.settings.get("loss") in (None, "cross-entropy"):
        ignorant = -math.fsum(share * math.log(share) for share in shares)
        if lowest < _IGNORANT * ignorant or found.accuracy > 2 * commonest:
            return None
        evidence += f"; validation loss was {lowest:.4f} at best, and a model that ignores the image has loss {ignorant:.4f}"
    elif not is_guessing(found, commonest):
        return None
    falls = _falls(train) and max(train) <= _PEAK * train[0] and not run.stuck
    if falls and train[-1] < (1 - _CRAWL) * train[-min(_SPAN, len(train))]:
        return Remark(
            "the figures suggest that training has hardly begun", f"{evidence}; train loss falls slowly", run.longer()
        )
    what = "the figures suggest that the model learns nothing, with a learning rate that is too"
    return Remark(f"{what} {'low' if falls else 'high'}", evidence, run.other_rate(10 if falls else 0.1))


def overfitting(run: JudgedRun) -> Remark | None:
    """The validation loss rises while the training loss falls."""
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
    flags = ([] if run.settings.get("patience") else ["--patience", "5"]) + run.regularized()
    return Remark("the curves suggest overfitting", evidence, run.again(*(flags or ["--epochs", str(low.epoch)])))


def still_improving(run: JudgedRun) -> Remark | None:
    """The validation loss fell to the end."""
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


def _falls(values: Sequence[float]) -> bool:
    last = values[-_SPAN:]
    ordered = sum(later < earlier for earlier, later in combinations(last, 2))
    return ordered >= math.comb(len(last), 2) - (len(last) == _SPAN)
