"""The states of what training is made of, gathered for a checkpoint and handed back from one."""

from __future__ import annotations

import copy
import io
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tinyclsf.errors import ConfigurationError, ModelFileError, PluginError, TinyclsfError
from tinyclsf.loop.state_checks import check_loaded, check_optimizer

_PLAIN = (type(None), bool, int, float, str, Tensor)


class Stateful(Protocol):
    """What can be stopped and go on: an optimizer, a schedule, a callback."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


def states_of(stateful: Mapping[str, Any]) -> dict[str, Any]:
    """The state of each by its name, None for one that is not there.

    Raises: ConfigurationError if one could not be read back from a checkpoint.
    """
    states = {name: None if each is None else each.state_dict() for name, each in stateful.items()}
    for name, state in states.items():
        _check_readable(state, name, ConfigurationError)
    return states


def load_states(state: Mapping[str, Any], stateful: Mapping[str, Any]) -> None:
    """Hand each its state back.

    Raises: ModelFileError if the Trainer has one that the state has not, or the other way about, or a state does not fit.
    """
    for name, each in stateful.items():
        if (each is None) != (state[name] is None):
            has, has_not = ("the state", "this Trainer") if each is None else ("this Trainer", "the state")
            raise ModelFileError(f"{has} has a state of {name} and {has_not} has none; make the Trainer as it was then")
    for name, each in stateful.items():
        if each is not None:
            _load(each, state[name], name)


def callback_states(callbacks: Sequence[Stateful]) -> dict[str, Any]:
    """The state of each callback that has one, by its name.

    Raises: PluginError if one could not be read back from a checkpoint.
    """
    states = {name: state for name, callback in _by_name(callbacks).items() if (state := callback.state_dict())}
    for name, state in states.items():
        _check_readable(state, f"callback {name}", PluginError)
    return states


def load_callback_states(states: Mapping[str, Any], callbacks: Sequence[Stateful]) -> None:
    """Hand each callback its state back; one that was not there then begins afresh.

    Raises: ModelFileError if a state does not fit.
    """
    # Checkpoints of before have the state of the last of several classes of one name, under that name alone.
    by_name: dict[str, Stateful] = {type(callback).__name__: callback for callback in callbacks}
    # The first process, whose states they are, may have a callback more whose class has the same name.
    by_name |= {_full_name(type(callback)): callback for callback in reversed(callbacks)}
    by_name |= _by_name(callbacks)
    for name, callback in by_name.items():
        if name in states:
            _load(callback, states[name], f"callback {name}")


def load_numbers(each: Stateful, state: dict[str, Any]) -> None:
    """Hand a schedule or a scaler its state back, which PyTorch takes whatever it is.

    Raises: ValueError if there are no numbers where numbers were.
    """
    before = copy.deepcopy(each.state_dict())
    each.load_state_dict(state)
    check_loaded(before, each.state_dict())


def _load(each: Stateful, state: dict[str, Any], name: str) -> None:
    try:
        if isinstance(each, (LRScheduler, torch.amp.GradScaler)):
            load_numbers(each, state)
            return
        groups = copy.deepcopy(each.state_dict()["param_groups"]) if isinstance(each, Optimizer) else []
        each.load_state_dict(state)
        if isinstance(each, Optimizer):
            for group, before in zip(each.param_groups, groups, strict=True):
                for key in before.keys() - each.defaults.keys():  # of a schedule that was not there then
                    group.setdefault(key, before[key])
            check_loaded(groups, each.state_dict()["param_groups"])
            check_optimizer(each)
    except (TinyclsfError, MemoryError):
        raise
    except Exception as error:  # whatever is odd about a state that was in a file, it is not ours
        raise ModelFileError(f"the state of {name} does not fit: {' '.join(str(error).split())}") from error


def _by_name(callbacks: Sequence[Stateful]) -> dict[str, Stateful]:
    found: dict[str, Stateful] = {}
    seen: Counter[str] = Counter()
    classes = Counter(cls.__name__ for cls in set(map(type, callbacks)))
    for callback in callbacks:
        cls = type(callback)
        name = cls.__name__ if classes[cls.__name__] == 1 else _full_name(cls)
        seen[name] += 1
        found[f"{name} {seen[name]}" if seen[name] > 1 else name] = callback
    return found


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _check_readable(value: Any, owner: str, error: type[TinyclsfError], where: str = "state") -> None:
    """Raise the error, before a checkpoint is written, if `torch.load(weights_only=True)` would refuse it."""
    if type(value) in (dict, OrderedDict):
        for key, each in value.items():
            _check_readable(key, owner, error, f"{where}[{key!r}]")
            _check_readable(each, owner, error, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for number, each in enumerate(value):
            _check_readable(each, owner, error, f"{where}[{number}]")
    elif type(value) not in _PLAIN:
        file = io.BytesIO()
        try:
            torch.save(value, file)
            file.seek(0)
            torch.load(file, weights_only=True)
        except Exception as refusal:
            found = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            raise error(
                f"the {owner} has a {found} in its state, at {where}, and a checkpoint with that could not be read back; "
                "wanted numbers of Python, text, None, tensors, and lists, tuples and dictionaries of those"
            ) from refusal
