"""Losses, optimizers and schedules by name, and the recipe that a model brings along."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from tinyclsf.errors import ConfigurationError, did_you_mean

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Recipe:
    """The settings that a model is trained with where nobody says otherwise; None leaves a value to the optimizer."""

    epochs: int = 5
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: str = "none"
    loss: str = "cross-entropy"


def recipe(**settings: Any) -> Callable[[Factory], Factory]:
    """Give a model its recipe: `@recipe(optimizer="sgd", lr=0.1)` above the class or function; see `Recipe` for the names."""
    found = Recipe(**settings)

    def attach(factory: Factory) -> Factory:
        factory.recipe = found  # type: ignore[attr-defined]
        return factory

    return attach


def mse(out: Tensor, yb: Tensor) -> Tensor:
    """The mean squared error of the softmax against the one-hot labels: out (n, classes), yb (n,) int64, to a scalar."""
    return F.mse_loss(out.softmax(dim=1), F.one_hot(yb, out.shape[1]).to(out.dtype))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross-entropy": F.cross_entropy, "mse": mse}

# Both are stepped after every batch. The cycle leaves momentum alone, so that the value a person reads is the one in force.
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler] | None] = {
    "none": None,
    "cosine": lambda opt, steps: CosineAnnealingLR(opt, steps),
    "one-cycle": lambda opt, steps: OneCycleLR(
        opt, [group["lr"] for group in opt.param_groups], total_steps=steps, cycle_momentum=False
    ),
}

# One needs a closure that `opt.step()` does not give, the other sparse gradients that no image model has.
_UNFIT = {"lbfgs", "sparseadam"}


def optimizers() -> dict[str, type[Optimizer]]:
    """The optimizers of `torch.optim` by their names in lower case."""
    classes = (value for value in vars(torch.optim).values() if isinstance(value, type) and issubclass(value, Optimizer))
    return {cls.__name__.lower(): cls for cls in classes if cls is not Optimizer and cls.__name__.lower() not in _UNFIT}


def optimizer_defaults(name: str) -> dict[str, Any]:
    """The arguments that an optimizer takes, with PyTorch's own defaults.

    Raises: ConfigurationError if there is no such optimizer.
    """
    parameters = inspect.signature(pick("optimizer", name, optimizers())).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key != "params"}


def make_optimizer(name: str, parameters: Iterable[torch.nn.Parameter], **arguments: float) -> Optimizer:
    """An optimizer of `torch.optim` by its name.

    Raises: ConfigurationError if there is no such optimizer, or PyTorch refuses the arguments or parameters.
    """
    cls: Callable[..., Optimizer] = pick("optimizer", name, optimizers())
    try:
        return cls(parameters, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"optimizer {name} cannot be used here: {error}") from error


def make_schedule(name: str, opt: Optimizer, epochs: int, batches: int | None) -> LRScheduler | None:
    """A learning-rate schedule by its name, to be stepped after every batch; `batches` is an epoch's number of them.

    Raises: ConfigurationError if there is no such schedule, or it needs a number of batches and there is none.
    """
    make = pick("schedule", name, SCHEDULES)
    if make is None:
        return None
    if batches is None:
        raise ConfigurationError(
            f"schedule {name} has to know how many batches an epoch has, and this data set does not say; use --schedule none"
        )
    return make(opt, epochs * batches)


Value = TypeVar("Value")


def pick(what: str, name: str, table: dict[str, Value]) -> Value:
    """The entry of a table by its name.

    Raises: ConfigurationError that lists the names if there is none.
    """
    if name not in table:
        raise ConfigurationError(
            f"there is no {what} '{name}'; choose one of {', '.join(sorted(table))}", tip=did_you_mean(name, table)
        )
    return table[name]
