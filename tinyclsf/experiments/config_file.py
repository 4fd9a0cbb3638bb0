"""A run's `config.json` read back, to run it again or to go on with it: every key and value is checked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyclsf.errors import ConfigurationError, did_you_mean
from tinyclsf.experiments.choices import KINDS, checked

_KEYS = ("version", "tinyclsf", "python", "torch", "threads", "created", "commands", "model", "data", "callbacks", "settings")
_PLUGIN_KEYS = ("name", "package", "package_version", "options", "content", "parameters")
_FOUND_OUT = ("memory_format", "processes", "run")  # which a run writes down and nobody asks for
# The types of JSON as a person calls them.
_WORDS = {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Named:
    """A plugin that a config file names, with its options, or what was given in Python under that name."""

    name: str
    options: dict[str, Any]
    given_in_python: bool = False


@dataclass(frozen=True)
class ConfigFile:
    """What a config file says, nothing where there is none; what it does not say is left to flags, recipe and defaults.

    `sources` says where a run had its settings from, as it wrote them down.
    """

    path: Path | None = None
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


def read_config_file(path: Path) -> ConfigFile:
    """A config file, whole or in part.

    Raises: ConfigurationError if it cannot be read, has an unknown key, or a value that its setting does not take.
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
    settings = _object(path, "settings", found.get("settings", {}), [*KINDS, *_FOUND_OUT])
    entries = {name: _entry(path, name, entry) for name, entry in settings.items() if name not in _FOUND_OUT}
    model, data = found.get("model"), found.get("data")
    callbacks = _typed(path, "callbacks", found.get("callbacks", []), list)
    return ConfigFile(
        path,
        model=None if model is None else _named(path, "model", model),
        data=None if data is None else _named(path, "data", data),
        callbacks=tuple(_named(path, f"callbacks[{number}]", each) for number, each in enumerate(callbacks)),
        settings={name: checked(name, value, file=path) for name, (value, _) in entries.items()},
        sources={name: str(source) for name, (_, source) in entries.items() if source is not None},
        content=_typed(path, "data.content", data.get("content"), dict, type(None)) if isinstance(data, dict) else None,
        torch=_typed(path, "torch", found.get("torch"), str, type(None)),
        created=_typed(path, "created", found.get("created"), str, type(None)),
        commands=tuple(map(str, _typed(path, "commands", found.get("commands", []), list))),
    )


def _entry(path: Path, name: str, entry: Any) -> tuple[Any, Any]:
    if not isinstance(entry, dict):
        return entry, None
    found = _object(path, f"settings.{name}", entry, ("value", "source"))
    return found.get("value"), found.get("source")


def _named(path: Path, what: str, found: Any) -> Named:
    if isinstance(_typed(path, what, found, str, dict), str):
        return Named(found, {})
    found = _object(path, what, found, _PLUGIN_KEYS)
    options = _typed(path, f"{what}.options", found.get("options", {}), dict)
    given_in_python = "package" in found and found["package"] is None
    return Named(_typed(path, f"{what}.name", found.get("name"), str), dict(options), given_in_python)


def _object(path: Path, where: str, found: Any, known: Iterable[str]) -> dict[str, Any]:
    content: dict[str, Any] = _typed(path, where, found, dict)
    for key in content:
        if key not in known:
            inside = f" in {where}" if where else ""
            raise ConfigurationError(f"config file {path} has an unknown key '{key}'{inside}", tip=did_you_mean(key, known))
    return content


def _typed(path: Path, where: str, found: Any, *wanted: type) -> Any:
    if not isinstance(found, wanted):
        words = " or ".join(_WORDS[each] for each in wanted)
        found = _WORDS.get(type(found), "a number")
        raise ConfigurationError(f"config file {path}{': ' if where else ''}{where} is {found}; wanted {words}")
    return found
