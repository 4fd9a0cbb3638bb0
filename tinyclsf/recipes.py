"""Losses, optimizers and schedules by name, and the recipe that a model brings along."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from tinyclsf.errors import ConfigurationError, pick
from tinyclsf.machine.compiler import without_compiler

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Recipe:
    """The settings that a model is trained with where nobody says otherwise.

    lr, momentum, nesterov and weight_decay belong to its optimizer; gamma, step_size and plateau_patience to its schedule;
    label_smoothing to its loss: there None leaves a value to those. None for clip_norm, ema_decay, patience or unfreeze_after
    is without it. backbone_lr is a share of lr; weight decay is for all parameters, or without biases and norms for "weights".
    """

    epochs: int = 5
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    schedule: str = "none"
    gamma: float | None = None
    step_size: int | None = None
    plateau_patience: int | None = None
    loss: str = "cross-entropy"
    label_smoothing: float | None = None
    class_weights: str = "none"
    augment: str = "none"
    accumulate: int = 1
    clip_norm: float | None = None
    ema_decay: float | None = None
    patience: int | None = None
    freeze: str = "none"
    unfreeze_after: int | None = None
    backbone_lr: float = 1.0
    decayed: str = "all"


@dataclass(frozen=True)
class RecipeOfOptions:
    """A recipe whose settings depend on the model's options, which `settings` turns into them."""

    settings: Callable[..., Mapping[str, Any]]


def recipe(
    chosen: Callable[..., Mapping[str, Any]] | None = None,
    *,
    data: Mapping[str, Any] | Callable[..., Mapping[str, Any]] = MappingProxyType({}),
    **settings: Any,
) -> Callable[[Factory], Factory]:
    """Give a model its recipe: `@recipe(optimizer="sgd", lr=0.1)` above the class or function; see `Recipe` for the names.

    `chosen` is a function of the model's options that returns the settings, where they depend on those.
    `data` are options of a data set that the model wants, such as `{"size": 224, "normalize": "imagenet"}`, or a function of
    the model's options that returns them. They hold where the data set has such an option and nobody gives another value.
    """
    found = Recipe(**settings) if chosen is None else RecipeOfOptions(chosen)

    def attach(factory: Factory) -> Factory:
        factory.recipe = found  # type: ignore[attr-defined]
        factory.data_options = data  # type: ignore[attr-defined]
        return factory

    return attach


def mse(out: Tensor, yb: Tensor) -> Tensor:
    """The mean squared error of the softmax against the one-hot labels.

    Shapes: out (n, classes), yb (n,) int64 or shares of each class (n, classes), to a scalar.
    """
    shares = yb if yb.is_floating_point() else F.one_hot(yb, out.shape[1])
    dtype = torch.promote_types(out.dtype, shares.dtype)  # the outputs may be rounded, the shares of a mixture are not
    return F.mse_loss(out.softmax(dim=1).to(dtype), shares.to(dtype))


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """A weight for each class, n / (classes * n_class), so that all count alike and an image's is 1 on average.

    A class without an image has 0, and does not count among the classes.
    Shapes: labels (n,) int64, to (num_classes,) float32.
    Source: King and Zeng 2001, "Logistic regression in rare events data"; scikit-learn's "balanced".
    """
    counts = torch.bincount(labels, minlength=num_classes)
    return len(labels) / ((counts > 0).sum() * counts.clamp(min=1)) * (counts > 0)


class CrossEntropy(nn.Module):
    """Cross-entropy that smooths labels and weighs classes while training, not in evaluation mode, so that figures compare.

    The loss of a weighted batch is the mean over its images, not over their weights, as those are 1 on average: so accumulated
    batches, or those of several processes, make the step that one batch would.
    Shapes: out (n, classes), yb (n,) int64 or shares of each class (n, classes), to a scalar; class_weights (classes,).
    Source: Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision".
    """

    class_weights: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights)

    def forward(self, out: Tensor, yb: Tensor) -> Tensor:
        if self.training and self.class_weights is not None:
            self.class_weights = self.class_weights.to(out.device)
            smoothing = self.label_smoothing
            total = F.cross_entropy(out.float(), yb, self.class_weights, reduction="sum", label_smoothing=smoothing)
            return total / len(yb)
        return F.cross_entropy(out, yb, label_smoothing=self.label_smoothing if self.training else 0.0)


def _one_cycle(opt: Optimizer, steps: int) -> LRScheduler:
    if steps == 1:  # of which PyTorch's cycle makes its last and lowest rate
        return ConstantLR(opt, 1.0)
    # The cycle leaves momentum alone, so that the value a person reads is the one in force.
    return OneCycleLR(opt, [g["lr"] for g in opt.param_groups], total_steps=steps, cycle_momentum=False)


# What has a default is an option of the loss or schedule. A schedule gets the optimizer and the run's number of batches.
LOSSES: dict[str, Callable[..., Callable[[Tensor, Tensor], Tensor]]] = {"cross-entropy": CrossEntropy, "mse": lambda: mse}
SCHEDULES: dict[str, Callable[..., LRScheduler | None]] = {
    "none": lambda opt, steps: None,
    "cosine": lambda opt, steps: CosineAnnealingLR(opt, steps),
    "one-cycle": _one_cycle,
    "step": lambda opt, steps, *, gamma=0.9, step_size=1: StepLR(opt, step_size, gamma),
    "exponential": lambda opt, steps, *, gamma=0.9: ExponentialLR(opt, gamma),
    "plateau": lambda opt, steps, *, gamma=0.1, plateau_patience=10: ReduceLROnPlateau(
        opt, factor=gamma, patience=plateau_patience
    ),
}
STEPPED_BY_EPOCH = {"step", "exponential", "plateau"}  # the others after every batch

# One needs a closure that `opt.step()` does not give, the other sparse gradients that no image model has.
_UNFIT = {"lbfgs", "sparseadam"}


def optimizers() -> dict[str, type[Optimizer]]:
    """The optimizers of `torch.optim` by their names in lower case."""
    classes = (value for value in vars(torch.optim).values() if isinstance(value, type) and issubclass(value, Optimizer))
    return {cls.__name__.lower(): cls for cls in classes if cls is not Optimizer and cls.__name__.lower() not in _UNFIT}


def options_with_defaults(what: Literal["optimizer", "schedule", "loss"], name: str) -> dict[str, Any]:
    """The options that an optimizer, schedule or loss takes, with their defaults.

    Raises: ConfigurationError if there is none of that name.
    """
    tables: dict[str, Mapping[str, Callable[..., Any]]] = {"optimizer": optimizers(), "schedule": SCHEDULES, "loss": LOSSES}
    parameters = inspect.signature(pick(what, name, tables[what])).parameters
    return {key: parameter.default for key, parameter in parameters.items() if parameter.default is not parameter.empty}


def make_optimizer(name: str, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], **arguments: float) -> Optimizer:
    """An optimizer of `torch.optim` by its name.

    Raises: ConfigurationError if there is no such optimizer, or PyTorch refuses the arguments or parameters.
    """
    make: Callable[..., Optimizer] = without_compiler(pick("optimizer", name, optimizers()))
    try:
        return make(parameters, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"optimizer {name} cannot be used here: {error}") from error


def make_loss(name: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss by its name.

    Raises: ConfigurationError if there is no such loss.
    """
    return pick("loss", name, LOSSES)(**options)


def make_schedule(name: str, opt: Optimizer, epochs: int, batches: int | None, **options: float) -> LRScheduler | None:
    """A learning-rate schedule by its name, to be stepped after every epoch if it is one of STEPPED_BY_EPOCH, else every batch.

    `batches` is an epoch's number of them.
    Raises: ConfigurationError if there is no such schedule, or it needs a number of batches and there is none.
    """
    make = pick("schedule", name, SCHEDULES)
    if batches is None and name not in STEPPED_BY_EPOCH | {"none"}:
        raise ConfigurationError(
            f"schedule {name} has to know how many batches an epoch has, and this data set does not say; use --schedule none"
        )
    return make(opt, epochs * (batches or 0), **options)
