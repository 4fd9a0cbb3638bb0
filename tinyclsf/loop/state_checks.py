"""What a state has to be that training goes on from: it may come from a file that somebody changed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.machine import distributed
from tinyclsf.recipes import optimizers

_OTHER_KEYS = ("callbacks", "history", "steps", "batch", "train_loss", "random", "random_at_epoch_start")


def check_state(state: Mapping[str, Any], stateful: Iterable[str]) -> None:
    """Hold a state to what has to be in it, and to the number of processes, each with random numbers of its own.

    Raises: ModelFileError if something is missing, or not what it was; ConfigurationError if the processes are not as many.
    """
    for name in (*stateful, *_OTHER_KEYS):
        if name not in state:
            raise ModelFileError(f"the state has no {name}; it is not one of a Trainer")
    for name in stateful:
        _want(state[name] is None or isinstance(state[name], dict), name, "a dictionary or None")
    if state.get("optimizer") is not None:
        groups = state["optimizer"].get("param_groups")
        _want(isinstance(groups, list) and _are_dictionaries(groups), "optimizer", "groups of parameters")
    callbacks = state["callbacks"]
    _want(isinstance(callbacks, dict) and _are_dictionaries(callbacks.values()), "callbacks", "dictionaries")
    _want(type(state.get("average_warms_up", False)) is bool, "average_warms_up", "true or false")
    for name in ("steps", "batch"):
        _want(_is_count(state[name]), name, "a whole number of at least 0")
    history = state["history"]
    rows = isinstance(history, list) and all(_is_row(row, number) for number, row in enumerate(history, start=1))
    _want(rows, "history", "the figures of each epoch, from the first on")
    _want(isinstance(state["random"], list) and len(state["random"]) > 0, "random", "one for each process")
    then, now = len(state["random"]), distributed.size()
    if then != now:
        stopped = f"training was stopped with {then} processes and cannot go on with {now}"
        raise ConfigurationError(f"{stopped}; resume with as many")
    begun, losses = state["random_at_epoch_start"], state["train_loss"]
    if begun is None and losses is None and state["batch"] == 0:
        return
    _want(isinstance(begun, list) and len(begun) == now, "random_at_epoch_start", "one for each process")
    totals = isinstance(losses, list) and len(losses) == now and all(_is_total(each, state["batch"]) for each in losses)
    _want(totals, "train_loss", "a sum, its samples and its batches, which are those that are done")


def check_loaded(before: Any, after: Any) -> None:
    """Hold what a state was loaded into to what it was before: there are numbers where numbers were.

    Raises: ValueError if something is of another kind.
    """
    if isinstance(before, dict):
        if not isinstance(after, dict) or before.keys() - after.keys():
            raise ValueError("something is missing")
        for key, each in before.items():
            check_loaded(each, after[key])
    elif isinstance(before, (list, tuple)):
        if not isinstance(after, (list, tuple)) or len(before) != len(after):
            raise ValueError("a list is of another length")
        for one, other in zip(before, after, strict=True):
            check_loaded(one, other)
    elif isinstance(before, Tensor):
        if not (isinstance(after, Tensor) and _is_like(after, before, before.shape)):
            raise ValueError(f"wanted a tensor of shape {tuple(before.shape)}")
    elif before is not None and not (_is_number(before) and _is_number(after)) and type(after) is not type(before):
        raise ValueError(f"a value is of type {type(after).__name__}; wanted {type(before).__name__}")


def check_optimizer(opt: Optimizer) -> None:
    """Hold the state that an optimizer of PyTorch has loaded to that of one that makes a step with as many dimensions.

    Raises: ValueError if its next step could not be made; what PyTorch raises at a value out of its range.
    """
    cls = type(opt)
    if not (cls.__module__.startswith("torch.optim.") and cls.__name__.lower() in optimizers()):
        return
    takes = inspect.signature(cls).parameters
    for group in opt.param_groups:
        options = {key: value for key, value in group.items() if key in takes and key != "params"}
        for parameter in group["params"]:
            if (state := opt.state.get(parameter, {})) == {}:
                continue
            small = torch.nn.Parameter(parameter.detach().new_zeros((2,) * parameter.ndim))
            small.grad = torch.zeros_like(small)
            trial = cls([small], **options)
            trial.step()
            _check_entries(state, trial.state[small], parameter, small)


def _check_entries(state: Any, wanted: Mapping[str, Any], parameter: Tensor, small: Tensor) -> None:
    if not isinstance(state, dict):
        raise ValueError(f"the state of a parameter is of type {type(state).__name__}")
    for key, each in wanted.items():
        found = state.get(key)
        if not isinstance(each, Tensor):
            check_loaded(each, found)
            continue
        # As large as the parameter in every dimension in which the trial's is, which has 2 there; steps are counted from 0.
        whole = each.ndim == small.ndim
        shape = [size if one > 1 else 1 for size, one in zip(parameter.shape, each.shape, strict=True)] if whole else each.shape
        if not (isinstance(found, Tensor) and _is_like(found, each, shape)) or (key == "step" and not 0 <= found < math.inf):
            raise ValueError(f"{key} of a parameter of shape {tuple(parameter.shape)} is none of its own")


def _is_like(found: Tensor, wanted: Tensor, shape: Iterable[int]) -> bool:
    same_kind = found.is_floating_point() == wanted.is_floating_point() and not found.is_complex()
    return found.layout == torch.strided and list(found.shape) == list(shape) and same_kind


def _want(right: bool, name: str, wanted: str) -> None:
    if not right:
        raise ModelFileError(f"{name} of the state is not what a Trainer saved; wanted {wanted}")


def _are_dictionaries(found: Iterable[object]) -> bool:
    return all(isinstance(each, dict) for each in found)


def _is_count(found: object) -> bool:
    return type(found) is int and 0 <= found < 2**63


def _is_number(found: object) -> bool:
    return type(found) is float or (type(found) is int and abs(found) < 2**63)


def _is_row(row: Any, number: int) -> bool:
    if not isinstance(row, (list, tuple)) or len(row) != 5 or type(row[0]) is not int or row[0] != number:
        return False
    *figures, accuracy, seconds = row[1:]
    accuracies = accuracy is None or (_is_number(accuracy) and 0 <= accuracy <= 1)
    return accuracies and all(_is_number(each) and math.isfinite(each) for each in (*figures, seconds))


def _is_total(found: Any, batch: int) -> bool:
    if not isinstance(found, (list, tuple)) or len(found) != 3 or not all(map(_is_count, found[1:])):
        return False
    total, samples, batches = found
    return _is_number(total) and math.isfinite(total) and batches == batch and (samples > 0) == (batches > 0)
