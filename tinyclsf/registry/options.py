"""A plugin's own options: read off its signature, parsed from text by their annotations."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from tinyclsf.errors import ConfigurationError, PluginError, did_you_mean

REQUIRED = inspect.Parameter.empty
_WORDS = {int: "a whole number", float: "a number", bool: "true or false"}


class Setting(NamedTuple):
    """A value in force and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Option:
    """One option of a plugin; `default` is REQUIRED where there is none."""

    name: str
    annotation: Any
    default: Any

    @property
    def type_name(self) -> str:
        """The type as a person writes it: int, float, one of a|b, path or none."""
        return " or ".join(_type_name(each) for each in self.alternatives)

    @property
    def alternatives(self) -> list[Any]:
        """The types that a value may have, None first, as 'none' would pass for text; a default of None is one too."""
        union = get_origin(self.annotation) in (Union, types.UnionType)
        found = list(get_args(self.annotation)) if union else [self.annotation]
        none = [type(None)] if self.default is None or type(None) in found else []
        return none + [each for each in found if each is not type(None)]


def options_of(kind: str, name: str, function: Callable[..., Any]) -> dict[str, Option]:
    """The options that a plugin takes, by name.

    A model's first two parameters are the image shape and the number of classes, a callback's are the run folder and the
    model's name: these it is always given.
    Raises: PluginError if an annotation cannot be understood.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
        hints = get_type_hints(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    except Exception as error:
        raise PluginError(f"the signature of {kind} '{name}' cannot be read: {error}") from error
    if kind in ("model", "callback"):
        parameters = parameters[2:]
    plain = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        parameter.name: Option(parameter.name, hints.get(parameter.name, _type_of(parameter.default)), parameter.default)
        for parameter in parameters
        if parameter.kind in plain
    }


def parse_options(kind: str, name: str, function: Callable[..., Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Options as text to the values that the plugin's annotations ask for.

    Raises: ConfigurationError if an option is unknown, missing or not of its type.
    """
    known = options_of(kind, name, function)
    if kind != "callback":
        known.pop("data_dir", None)  # given by --data-dir
    values = {}
    for key, text in texts.items():
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigurationError(f"{kind} {name} has no option '{key}'; {takes}", tip=did_you_mean(key, known))
        values[key] = _parse(kind, name, known[key], text)
    for option in known.values():
        if option.default is REQUIRED and option.name not in values:
            raise ConfigurationError(f"{kind} {name} needs {flag_of(kind, name, option.name)}={option.type_name.upper()}")
    return values


def flag_of(kind: str, name: str, option: str) -> str:
    """How an option is given: -d KEY, -m KEY, and for a callback, of which there may be several, -c NAME.KEY."""
    return f"-c {name}.{option}" if kind == "callback" else f"-{kind[0]} {option}"


def as_text(value: Any) -> str:
    """A value as `parse_options` reads it back."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(value: Any) -> Any:
    """A value as JSON holds it: numbers, truth values, None and text stay; anything else becomes text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _parse(kind: str, name: str, option: Option, text: str) -> Any:
    for each in option.alternatives:
        if get_origin(each) is not Literal and each not in (int, float, bool, str, Path, type(None)):
            raise PluginError(
                f"option {option.name} of {kind} {name} is annotated {_type_name(each)}; "
                "wanted int, float, bool, str, Path, Literal or a union of those and None"
            )
        try:
            return _convert(each, text)
        except ValueError:
            continue
    words = " or ".join(_WORDS.get(each) or _type_name(each) for each in option.alternatives)
    raise ConfigurationError(f"option {option.name} of {kind} {name} is '{text}'; wanted {words}")


def _convert(wanted: Any, text: str) -> Any:
    if get_origin(wanted) is Literal:
        choices = {as_text(choice): choice for choice in get_args(wanted)}
        return choices[text] if text in choices else _refuse()
    if wanted is type(None):
        return None if text.lower() == "none" else _refuse()
    if wanted is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse()
    return wanted(text)


def _type_of(default: Any) -> Any:
    """What an option without an annotation takes: the like of its default."""
    return str if default is REQUIRED or default is None else type(default)


def _refuse() -> Any:
    raise ValueError


def _type_name(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return "one of " + "|".join(map(as_text, get_args(wanted)))
    return "none" if wanted is type(None) else str(getattr(wanted, "__name__", wanted)).lower()
