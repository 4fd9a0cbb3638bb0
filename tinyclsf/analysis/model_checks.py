"""What can be wrong with a model before it is trained, seen by trying copies of it on a sample of images."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.errors import join_names
from tinyclsf.modules import Classifier
from tinyclsf.training import LossFunc

_TOLERANCE = 1e-3  # of the largest output; sums in another order differ by 1e-6 of it or so
# None of the models that come along begins further above ln(classes) than 0.3; inputs of 0..255 take most to 4.5 and more.
_FAR = 1.0
_CLIPPED = 0.01  # share of outputs that are exactly 0
NAMED = 5  # of the parameters or classes in a sentence
_TRIED = 10  # of the classes that are always the same


class Finding(NamedTuple):
    """What a check found: its name, what was seen, and what to do about it."""

    check: str
    evidence: str
    advice: str

    @property
    def sentence(self) -> str:
        """All of it but the name."""
        return f"{self.evidence}; {self.advice}"


class Sample(NamedTuple):
    """Images as they are stored, with their labels: x (n, c, h, w), y (n,)."""

    x: Tensor
    y: Tensor


def trial_of(model: Classifier) -> Classifier:
    """A copy of a model to be tried: with its own modes, buffers and gradients, so that the model itself stays as it is.

    The values of the parameters are shared, as running a model leaves them alone: large ones would take as much memory again.
    """
    shared = {id(each): nn.Parameter(each.detach(), each.requires_grad) for each in model.parameters()}
    trial: Classifier = copy.deepcopy(model, dict(shared))
    return trial


@torch.no_grad()
def logits_of(model: Classifier, x: Tensor, batch: int) -> Tensor:
    """The outputs in evaluation mode, batch by batch."""
    trial = trial_of(model).eval()
    return torch.cat([trial(part) for part in torch.split(x.clone(), batch)]).float()


def stuck_outputs(logits: Tensor) -> list[int]:
    """The classes whose output is exactly the same for all images; there are none where there are fewer than two images.

    Shapes: logits (n, classes).
    """
    if len(logits) < 2:
        return []
    return (logits == logits[0]).all(dim=0).nonzero().flatten().tolist()


def check_outputs(logits: Tensor, labels: Tensor, loss_func: LossFunc) -> Finding | None:
    """Find outputs that sum to one, as after a softmax, before a loss that takes their softmax itself."""
    if not _are_shares(logits) or not _takes_softmax(loss_func, logits, labels):
        return None
    return Finding(
        "softmax",
        "the outputs sum to one already, and the loss takes their softmax once more, which flattens the gradient",
        "a model should give logits: leave its softmax out",
    )


def check_log_outputs(logits: Tensor, labels: Tensor, loss_func: LossFunc) -> Finding | None:
    """Find outputs that are logarithms of shares, as after a log-softmax, before a loss that takes their softmax itself."""
    if not _are_shares(logits.exp()) or not _takes_softmax(loss_func, logits, labels):
        return None
    return Finding(
        "log-softmax",
        "the exponentials of the outputs sum to one already, as after a log-softmax, which the loss takes itself",
        "it can be left out: a second one changes neither the loss nor the gradient",
    )


def check_first_loss(logits: Tensor, labels: Tensor) -> Finding | None:
    """Find a model that begins much worse than guessing; one that begins better may have been trained before."""
    loss, guessing = float(F.cross_entropy(logits, labels)), math.log(logits.shape[1])
    advice = "scale the inputs, or give the last layer smaller first weights"
    if not math.isfinite(loss):
        return Finding("first-loss", f"the first loss over {len(logits):,} images is no finite number", advice)
    if loss <= guessing + _FAR:
        return None
    return Finding(
        "first-loss",
        f"the first loss is {loss:.2f} over {len(logits):,} images, where guessing has ln({logits.shape[1]}) = {guessing:.2f}: "
        "the model is sure of what it does not know yet",
        advice,
    )


@torch.no_grad()
def check_evaluation(model: Classifier, x: Tensor, whole: Tensor) -> Finding | None:
    """Find outputs in evaluation mode that are random, or depend on the other images of the batch; `whole` are those of it."""
    if len(x) < 2:
        return None
    trial = trial_of(model).eval()
    halves = torch.cat([trial(part.clone()) for part in torch.split(x, (len(x) + 1) // 2)]).float()
    if apart(whole, halves) is None:
        return None
    again = apart(whole, trial(x.clone()).float())
    if again is not None:
        return Finding(
            "random-evaluation",
            f"in evaluation mode two passes over the same {len(x):,} images give outputs that differ by up to {again:.2g}",
            "turn dropout off there: nn.Dropout does it, and F.dropout needs training=self.training",
        )
    return Finding(
        "batch-dependence",
        f"in evaluation mode the outputs of {len(x):,} images change by up to {apart(whole, halves):.2g} "
        "where these come in two halves: an image's output depends on the others of its batch",
        "use running statistics there: nn.BatchNorm2d does it, and F.batch_norm needs training=self.training",
    )


def check_gradients(model: Classifier, sample: Sample, loss_func: LossFunc) -> Finding | None:
    """Find parameters to be trained that a backward pass in training mode gives no gradient, or one that is all zeros."""
    trial = trial_of(model).train()
    unused, still = _without_gradient(trial, sample, loss_func)
    if still:
        # Behind a layer that begins at zero, as some heads do, nothing moves in the first step, and all does in the second.
        for parameter in trial.parameters():
            if not parameter.any():
                parameter.data = torch.randn_like(parameter) / 50
        moved = _without_gradient(trial, sample, loss_func)[1]
        still = [name for name in still if name in moved]
    if not unused + still:
        return None
    whole = sum(1 for parameter in model.parameters() if parameter.requires_grad)
    kinds = {"the loss does not depend on": unused, "the gradient is exactly zero for": still}
    found = "; ".join(f"{what} {join_names(names, NAMED)}" for what, names in kinds.items() if names)
    return Finding(
        "gradients",
        f"{len(unused + still)} of {whole} parameter tensors cannot learn from a batch of {len(sample.x)} images: {found}",
        "use them in forward without detach() or no_grad(), mend a ReLU that is always at 0, "
        "or freeze or remove what is not to be trained",
    )


def check_clipped(logits: Tensor, classes: tuple[str, ...]) -> Finding | None:
    """Find outputs that end in a ReLU, where a class may come to 0 for every image."""
    zeros = float((logits == 0).float().mean())
    if zeros < _CLIPPED or float(logits.min()) < 0 or float(logits.max()) == 0:
        return None
    now = [name for name, always in zip(classes, (logits == 0).all(dim=0).tolist(), strict=True) if always]
    there = f", those of class {join_names(now, NAMED)} for every image" if now else ""
    return Finding(
        "clipped-outputs",
        f"no output is below 0 and {zeros * 100:.0f} % are exactly 0, as after a ReLU, over {len(logits):,} images{there}; "
        "a class that stays at 0 for every image gets no gradient and is never predicted",
        "leave out the ReLU before the outputs; or lower the learning rate, and look at each class after training",
    )


def check_stuck(model: Classifier, logits: Tensor, sample: Sample) -> Finding | None:
    """Find classes whose output is the same for all images, and which no gradient can change."""
    same = [] if float(logits.min()) == 0 < float(logits.max()) else stuck_outputs(logits)[:_TRIED]
    if not same:
        return None
    trial = trial_of(model).train()
    parameters = [parameter for parameter in trial.parameters() if parameter.requires_grad]
    out = trial(sample.x.clone())
    stuck = []
    for number in same:
        given = torch.autograd.grad(out[:, number].sum(), parameters, retain_graph=True, allow_unused=True)
        if not any(gradient is not None and gradient.any() for gradient in given):
            stuck.append(model.classes[number])
    if not stuck:
        return None
    return Finding(
        "stuck-outputs",
        f"the output of class {join_names(stuck, NAMED)} is the same for all {len(logits):,} images and has no gradient",
        "let it depend on parameters and on the image; a ReLU before it may be always at 0",
    )


def _are_shares(values: Tensor) -> bool:
    return bool((values >= 0).all()) and torch.allclose(values.sum(dim=1), torch.ones(len(values)), atol=1e-4)


def _takes_softmax(loss_func: LossFunc, logits: Tensor, labels: Tensor) -> bool:
    """Whether a loss stays the same where all outputs grow by one, as a softmax does."""
    return torch.allclose(loss_func(logits, labels), loss_func(logits + 1, labels), rtol=1e-3)


def apart(one: Tensor, other: Tensor) -> float | None:
    """The largest difference between two outputs; None if it may be rounding."""
    distance = float((one - other).abs().max())
    return None if distance <= _TOLERANCE * float(one.abs().max()) else distance


def _without_gradient(trial: Classifier, sample: Sample, loss_func: LossFunc) -> tuple[list[str], list[str]]:
    """The parameters that the loss does not depend on, and those whose gradient is exactly zero."""
    named = {name: parameter for name, parameter in trial.named_parameters() if parameter.requires_grad}
    loss = loss_func(trial(sample.x.clone()), sample.y)
    given = dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True), strict=True))
    unused = [name for name, gradient in given.items() if gradient is None]
    return unused, [name for name, gradient in given.items() if gradient is not None and not gradient.any()]
