"""A run's `config.json` read back, to run it again or to go on with it: every key and value checked as on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from tinyclsf.errors import ConfigurationError, did_you_mean
from tinyclsf.registry.options import as_text

_KEYS = ("version", "tinyclsf", "python", "torch", "threads", "created", "commands", "model", "data", "callbacks", "settings")
_PLUGIN_KEYS = ("name", "package", "package_version", "options", "content", "parameters")
# Options of the command that are no settings of a run, or stand elsewhere in the file.
_NO_SETTINGS = (
    *("model", "data", "data_dir", "callbacks", "model_options", "data_options", "callback_options"),
    *("run", "runs", "resume", "config", "progress", "json", "debug"),
)
_FOUND_OUT = ("memory_format", "processes", "run")  # which a run writes down and nobody asks for
_MAY_BE_NONE = ("clip_norm", "ema_decay", "patience", "checkpoint_every")
# The types of JSON as a person calls them, and what an option of each of click's types is given as.
_WORDS = {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "true or false"}
_GIVEN_AS: dict[str, tuple[tuple[type, ...], str]] = {
    "integer range": ((int,), "a whole number"),
    "float range": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}
_AS_TEXT = (str,), "text"


@dataclass(frozen=True)
class Named:
    """A plugin that a config file names, with its options as text."""

    name: str
    options: dict[str, str]


@dataclass(frozen=True)
class Config:
    """What a config file says; what it does not say is left to flags, recipe and defaults.

    `sources` says where a run had its settings from, as it wrote them down.
    """

    path: Path
    model: Named | None = None
    data: Named | None = None
    callbacks: tuple[Named, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    content: dict[str, Any] | None = None  # of the data, by `data.fingerprint`
    torch: str | None = None
    created: str | None = None
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.path)


def read_config(path: Path, ctx: click.Context) -> Config:
    """A config file, whole or in part; its settings are read by the options of the command.

    Raises: ConfigurationError if it cannot be read, has an unknown key, or a value that its option would not take.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read config file {path}: {error.strerror}; wanted a run's config.json") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"config file {path} is not JSON ({error}); wanted a run's config.json") from error
    found = _object(path, "", content, _KEYS)
    if found.get("version", 1) != 1:
        raise ConfigurationError(f"config file {path} has version {found['version']}; this tinyclsf reads 1, so upgrade it")
    options = {str(param.name): param for param in ctx.command.params if param.name not in _NO_SETTINGS}
    settings = _object(path, "settings", found.get("settings", {}), [*options, *_FOUND_OUT])
    entries = {name: _entry(path, name, entry) for name, entry in settings.items() if name not in _FOUND_OUT}
    model, data = found.get("model"), found.get("data")
    callbacks = _typed(path, "callbacks", found.get("callbacks", []), list)
    return Config(
        path,
        model=None if model is None else _named(path, "model", model),
        data=None if data is None else _named(path, "data", data),
        callbacks=tuple(_named(path, f"callbacks[{number}]", each) for number, each in enumerate(callbacks)),
        settings={name: _converted(path, options[name], value, ctx) for name, (value, _) in entries.items()},
        sources={name: str(source) for name, (_, source) in entries.items() if source is not None},
        content=_typed(path, "data.content", data.get("content"), dict, type(None)) if isinstance(data, dict) else None,
        torch=_typed(path, "torch", found.get("torch"), str, type(None)),
        created=_typed(path, "created", found.get("created"), str, type(None)),
        commands=tuple(map(str, _typed(path, "commands", found.get("commands", []), list))),
    )


def _entry(path: Path, name: str, entry: Any) -> tuple[Any, Any]:
    """A setting as a run writes it, with its source, or as a person does."""
    if not isinstance(entry, dict):
        return entry, None
    found = _object(path, f"settings.{name}", entry, ("value", "source"))
    return found.get("value"), found.get("source")


def _named(path: Path, what: str, found: Any) -> Named:
    if isinstance(_typed(path, what, found, str, dict), str):
        return Named(found, {})
    found = _object(path, what, found, _PLUGIN_KEYS)
    options = _typed(path, f"{what}.options", found.get("options", {}), dict)
    return Named(_typed(path, f"{what}.name", found.get("name"), str), {key: as_text(value) for key, value in options.items()})


def _object(path: Path, where: str, found: Any, known: Iterable[str]) -> Mapping[str, Any]:
    for key in _typed(path, where, found, dict):
        if key not in known:
            inside = f" in {where}" if where else ""
            raise ConfigurationError(f"config file {path} has an unknown key '{key}'{inside}", tip=did_you_mean(key, known))
    checked: Mapping[str, Any] = found
    return checked


def _typed(path: Path, where: str, found: Any, *wanted: type) -> Any:
    if not isinstance(found, wanted):
        words = " or ".join(_WORDS[each] for each in wanted)
        raise ConfigurationError(f"config file {path}{': ' if where else ''}{where} is {_word(found)}; wanted {words}")
    return found


def _converted(path: Path, option: click.Parameter, value: Any, ctx: click.Context) -> Any:
    if value is None and option.name in _MAY_BE_NONE:
        return None
    types, words = _GIVEN_AS.get(option.type.name, _AS_TEXT)
    if type(value) not in types:
        found = _word(value) if value is None or isinstance(value, (dict, list)) else json.dumps(value)
        raise ConfigurationError(f"config file {path}: {option.name} is {found}; wanted {words}")
    try:
        option.type.convert(value, option, ctx)
    except click.BadParameter as error:
        raise ConfigurationError(f"config file {path}: {option.name}: {error.message.rstrip('.')}") from error
    return value  # as it stands: a weight decay of 0 that became 0.0 would be another one than the run's


def _word(value: Any) -> str:
    return _WORDS.get(type(value), "a number")
