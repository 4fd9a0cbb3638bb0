"""What a person may choose for training, and which values each choice takes. Reading it imports neither torch nor NumPy."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NamedTuple, TypedDict, Union, get_args, get_origin, get_type_hints

from tinyclsf.errors import ConfigurationError


class Limits(NamedTuple):
    """Some of the numbers: how a sentence names them, and whether a number is one of them."""

    words: str
    hold: Callable[[float], bool]


COUNT = Limits("of at least 1", lambda number: number >= 1)
_AT_LEAST_0 = Limits("of at least 0", lambda number: number >= 0)
_ABOVE_0 = Limits("above 0", lambda number: number > 0)
_SHARE = Limits("of at least 0 and below 1", lambda number: 0 <= number < 1)
_INSIDE = Limits("above 0 and below 1", lambda number: 0 < number < 1)
_SEED = Limits(f"from 0 to {2**32 - 1}", lambda number: 0 <= number < 2**32)


class Choices(TypedDict, total=False):
    """The settings of training, each with the values it takes; what is left out comes from the model's recipe."""

    epochs: Annotated[int, COUNT]
    batch_size: Annotated[int, COUNT]
    optimizer: str
    lr: Annotated[float, _ABOVE_0]
    momentum: Annotated[float, _SHARE]
    nesterov: bool
    weight_decay: Annotated[float, _AT_LEAST_0]
    schedule: str
    gamma: Annotated[float, _INSIDE]
    step_size: Annotated[int, COUNT]
    plateau_patience: Annotated[int, _AT_LEAST_0]
    loss: str
    label_smoothing: Annotated[float, _SHARE]
    class_weights: Literal["none", "balanced"]
    augment: str
    accumulate: Annotated[int, COUNT]
    clip_norm: Annotated[float | None, _ABOVE_0]
    ema_decay: Annotated[float | None, _INSIDE]
    patience: Annotated[int | None, COUNT]
    freeze: Literal["none", "batch-norm", "backbone", "backbone,batch-norm"]
    unfreeze_after: Annotated[int | None, COUNT]
    backbone_lr: Annotated[float, _ABOVE_0]
    decayed: Literal["all", "weights"]
    seed: Annotated[int, _SEED]
    precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"]
    compile: bool
    checkpoint_every: Annotated[int | None, COUNT]
    device: str


class Values(NamedTuple):
    """The values of one choice: its type, its limits or its words, and whether it may be None."""

    type: type
    limits: Limits | None = None
    words: tuple[str, ...] = ()
    optional: bool = False

    @property
    def wanted(self) -> str:
        """The values as a sentence names them."""
        if self.words:
            return f"one of {', '.join(self.words)}"
        noun = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[self.type]
        return f"{noun} {self.limits.words}" if self.limits else noun

    def checked(self, value: Any) -> Any:
        """The value as a plain Python one.

        Raises: ValueError if it is none of the values.
        """
        if value is None and self.optional:
            return None
        if self.type in (bool, str):
            if type(value) is not self.type or (self.words and value not in self.words):
                raise ValueError
            return value
        if isinstance(value, bool) or not isinstance(value, Integral if self.type is int else Real):
            raise ValueError
        # A whole number stays one: a weight decay of 0 that became 0.0 would be written down as another one.
        number = int(value) if isinstance(value, Integral) else float(value)
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError
        if self.limits is not None and not self.limits.hold(number):
            raise ValueError
        return number

    def parsed(self, text: str) -> Any:
        """The value that a text stands for; "none" is None where that is a value.

        Raises: ValueError if it is none of the values.
        """
        if self.optional and text == "none":
            return None
        return self.checked(self.type(text) if self.type in (int, float) else text)


def _values(annotation: Any) -> Values:
    limits = None
    if get_origin(annotation) is Annotated:
        annotation, limits = get_args(annotation)
    if get_origin(annotation) is Literal:
        return Values(str, words=get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return Values(get_args(annotation)[0], limits, optional=True)
    return Values(annotation, limits)


VALUES: Mapping[str, Values] = {name: _values(hint) for name, hint in get_type_hints(Choices, include_extras=True).items()}


def checked(name: str, value: Any, *, choices: Mapping[str, Values] = VALUES, file: object = None) -> Any:
    """The value of a choice as a plain Python one; `file` is the JSON file that it stands in.

    Raises: ConfigurationError if the choice cannot have it.
    """
    try:
        return choices[name].checked(value)
    except ValueError:
        found = f"{name} is {value!r}" if file is None else f"config file {file}: {name} is {json.dumps(value)}"
        raise ConfigurationError(f"{found}; wanted {choices[name].wanted}") from None
