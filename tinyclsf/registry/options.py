"""The options of a plugin: their types, and values of those types from text or from Python."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from tinyclsf.errors import ConfigurationError, PluginError, did_you_mean

REQUIRED = inspect.Parameter.empty
_NUMBERS = tuple[float, ...]
_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
_WORDS[_NUMBERS] = "numbers with commas between them"


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


def read_options(kind: str, name: str, known: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a person gives them to values of the types that the plugin asks for.

    Text is read as on the command line, wherever it comes from; any other value has to be of the type.
    Raises: ConfigurationError if an option is unknown, missing or not of its type.
    """
    known = {key: option for key, option in known.items() if kind != "dataset" or key != "data_dir"}  # given by --data-dir
    values = {}
    for key, value in given.items():
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigurationError(f"{kind} {name} has no option '{key}'; {takes}", tip=did_you_mean(key, known))
        values[key] = _read(kind, name, known[key], value)
    for option in known.values():
        if option.default is REQUIRED and option.name not in values:
            raise ConfigurationError(f"{kind} {name} needs {flag_of(kind, name, option.name)}={option.type_name.upper()}")
    return values


def flag_of(kind: str, name: str, option: str) -> str:
    """How an option is given: -d KEY, -m KEY, and for a callback, of which there may be several, -c NAME.KEY."""
    return f"-c {name}.{option}" if kind == "callback" else f"-{kind[0]} {option}"


def as_text(value: Any) -> str:
    """A value as `read_options` reads it back."""
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(kind: str, name: str, option: Option, value: Any) -> Any:
    for each in option.alternatives:
        if get_origin(each) is not Literal and each not in (*_WORDS, type(None)):
            raise PluginError(
                f"option {option.name} of {kind} {name} is annotated {_type_name(each)}; "
                "wanted int, float, bool, str, Path, tuple[float, ...], Literal or a union of those and None"
            )
        try:
            return _parse(each, value) if isinstance(value, str) else _check(each, value)
        except ValueError:
            continue
    words = " or ".join(_WORDS.get(each) or _type_name(each) for each in option.alternatives)
    raise ConfigurationError(f"option {option.name} of {kind} {name} is {value!r}; wanted {words}")


def _parse(wanted: Any, text: str) -> Any:
    if get_origin(wanted) is Literal:
        choices = {as_text(choice): choice for choice in get_args(wanted)}
        return choices[text] if text in choices else _refuse()
    if wanted is type(None):
        return None if text.lower() == "none" else _refuse()
    if wanted is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse()
    if wanted == _NUMBERS:
        return tuple(map(float, text.split(",")))
    return wanted(text)


def _check(wanted: Any, value: Any) -> Any:
    if get_origin(wanted) is Literal:
        return value if (type(value), value) in ((type(choice), choice) for choice in get_args(wanted)) else _refuse()
    if wanted == _NUMBERS:
        numbers = value if isinstance(value, (list, tuple)) else _refuse()
        return tuple(float(each) if each in ("inf", "-inf", "nan") else _check(float, each) for each in numbers)
    if wanted is float and type(value) is int:
        return float(value)
    return value if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)) else _refuse()


def _refuse() -> Any:
    raise ValueError


def _type_name(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return "one of " + "|".join(map(as_text, get_args(wanted)))
    if wanted == _NUMBERS:
        return "float,..."
    return "none" if wanted is type(None) else str(getattr(wanted, "__name__", wanted)).lower()
