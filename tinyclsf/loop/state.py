"""The states of what training is made of, gathered for a checkpoint and handed back from one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.machine import distributed


class Stateful(Protocol):
    """What can be stopped and go on: an optimizer, a schedule, a callback."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


_OF_THE_LOOP = ("callbacks", "history", "steps", "batch", "train_loss", "random", "random_at_epoch_start")


def part_states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The state of each part by its name, None for one that is not there."""
    return {name: None if part is None else part.state_dict() for name, part in parts.items()}


def load_parts(state: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Hand each part its state back.

    Raises: ModelFileError if one has a part that the other has not, or a state does not fit.
    """
    for name, part in parts.items():
        if (part is None) != (state[name] is None):
            has, has_not = ("the state", "this Trainer") if part is None else ("this Trainer", "the state")
            raise ModelFileError(f"{has} has a state of {name} and {has_not} has none; make the Trainer as it was then")
    for name, part in parts.items():
        try:
            if part is not None:
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ModelFileError(f"the state of {name} does not fit: {' '.join(str(error).split())}") from error


def callback_states(callbacks: Iterable[Stateful]) -> dict[str, Any]:
    """The state of each callback that has one, by its name."""
    return {name: state for name, callback in _by_name(callbacks) if (state := callback.state_dict())}


def load_callbacks(state: Mapping[str, Any], callbacks: Iterable[Stateful]) -> None:
    """Hand each callback its state back; one that was not there then begins afresh."""
    for name, callback in _by_name(callbacks):
        if name in state["callbacks"]:
            callback.load_state_dict(state["callbacks"][name])


def check_state(state: Mapping[str, Any], parts: Iterable[str]) -> None:
    """Hold a state to what one has, and to the number of processes it is resumed with, each with random numbers of its own.

    Raises: ModelFileError if something is missing; ConfigurationError if the processes are not as many.
    """
    for name in (*parts, *_OF_THE_LOOP):
        if name not in state:
            raise ModelFileError(f"the state has no {name}; it is not one of a Trainer")
    processes: Sequence[Any] = state["random"]
    if len(processes) != distributed.size():
        raise ConfigurationError(
            f"training was stopped with {len(processes)} processes and cannot go on with {distributed.size()}; "
            "resume with as many"
        )


def _by_name(callbacks: Iterable[Stateful]) -> list[tuple[str, Stateful]]:
    """Each callback by its class; of several of one class each by its number too."""
    found: list[tuple[str, Stateful]] = []
    for callback in callbacks:
        name = type(callback).__name__
        before = sum(type(other) is type(callback) for _, other in found)
        found.append((f"{name} {before + 1}" if before else name, callback))
    return found
