"""A run's `config.json` read back, to run it again, to go on with it or to tell of it: every key and value is checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tinyclsf.errors import ConfigurationError, ModelFileError, did_you_mean
from tinyclsf.machine.json_text import is_whole, json_type, parse_json
from tinyclsf.metrics import NO_TEST_SPLIT, SET_ASIDE
from tinyclsf.registry.choices import COUNT, VALUES, Values, checked
from tinyclsf.registry.options import Setting, as_text
from tinyclsf.runs.folder import CONFIG, likely_folder

_KEYS = ("version", "tinyclsf", "python", "torch", "threads", "created", "commands", "model", "data", "callbacks", "settings")
_PLUGIN_KEYS = ("name", "package", "package_version", "options", "sources", "content", "parameters")
# What a run writes down among its settings and nobody asks for.
_FOUND_OUT = {"memory_format": Values(str), "processes": Values(int, COUNT), "run": Values(str), "ema_warmup": Values(bool)}
_SETTINGS = {**VALUES, **_FOUND_OUT}


@dataclass(frozen=True)
class Named:
    """A plugin that a config file names, with its options and their sources, or what was given in Python under that name."""

    name: str
    options: dict[str, Any]
    given_in_python: bool = False
    package: str | None = None
    package_version: str | None = None
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def in_force(self) -> dict[str, Setting]:
        """Every option with its source."""
        return {name: Setting(value, self.sources.get(name, "")) for name, value in self.options.items()}


class Versions(NamedTuple):
    """The versions that a run was made with."""

    tinyclsf: str | None = None
    python: str | None = None
    torch: str | None = None


@dataclass(frozen=True)
class ConfigFile:
    """What a config file says, nothing where there is none; what it does not say is left to flags, recipe and defaults.

    `sources` says where a run had its settings from, as it wrote them down, and `found_out` what it settled by itself;
    `content` is that of the data, by `data.fingerprint`, and `parameters` the size of the model.
    """

    path: Path | None = None
    model: Named | None = None
    data: Named | None = None
    callbacks: tuple[Named, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    found_out: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    content: dict[str, Any] | None = None
    parameters: int | None = None
    versions: Versions = field(default_factory=Versions)
    threads: int | None = None
    created: str | None = None
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.path)

    @property
    def in_force(self) -> dict[str, Setting]:
        """Every setting with its source, those that the run settled by itself too."""
        return {name: Setting(value, self.sources.get(name, "")) for name, value in (self.settings | self.found_out).items()}

    @property
    def sets_aside(self) -> bool:
        """Whether the data takes `test_ratio`."""
        return self.data is not None and "test_ratio" in self.data.options

    @property
    def no_test_split(self) -> str:
        """What is said of figures on validation images, and where the data can, how to set a test split aside."""
        return SET_ASIDE if self.sets_aside else NO_TEST_SPLIT

    @property
    def values(self) -> dict[str, float | str]:
        """Model and data, their options and every setting that was chosen, by the names of `rows`: numbers, else texts."""
        found: dict[str, Any] = dict(self.settings)
        for kind, plugin in (("model", self.model), ("data", self.data)):
            if plugin is not None:
                found |= {kind: plugin.name, **{f"{kind} {name}": value for name, value in plugin.options.items()}}
        return {
            name.replace("_", "-"): value if type(value) in (int, float) else as_text(value)
            for name, value in found.items()
            if value is not None
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Every plugin, option and setting: its name, its value and where that came from."""
        plugins = [("data", self.data), ("model", self.model), *(("callback", each) for each in self.callbacks)]
        rows = []
        for kind, plugin in plugins:
            if plugin is not None:
                rows += [(kind, plugin.name, ""), *_rows(f"{kind} ", plugin.in_force)]
        versions = [f"{name} {version}" for name, version in self.versions._asdict().items() if version is not None]
        return [*rows, *_rows("", self.in_force), ("versions", ", ".join(versions), "")]


def read_config_file(path: Path) -> ConfigFile:
    """A config file, whole or in part.

    Raises: ConfigurationError if it cannot be read, has an unknown key, or a value that its setting does not take.
    """
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read config file {path}: {error.strerror}; wanted a run's config.json") from error
    except ValueError as error:
        raise ConfigurationError(f"config file {path} is not JSON ({error}); wanted a run's config.json") from error
    found = _object(path, "", content, _KEYS)
    if found.get("version", 1) != 1:
        raise ConfigurationError(f"config file {path} has version {found['version']}; this tinyclsf reads 1, so upgrade it")
    settings = _object(path, "settings", found.get("settings", {}), _SETTINGS)
    entries = {name: _entry(path, name, entry) for name, entry in settings.items()}
    values = {name: checked(name, value, choices=_SETTINGS, file=path) for name, (value, _) in entries.items()}
    model, data = found.get("model"), found.get("data")
    return ConfigFile(
        path,
        model=None if model is None else _named(path, "model", model),
        data=None if data is None else _named(path, "data", data),
        callbacks=tuple(
            _named(path, f"callbacks[{number}]", each)
            for number, each in enumerate(_typed(path, "callbacks", found.get("callbacks", []), list))
        ),
        settings={name: value for name, value in values.items() if name in VALUES},
        found_out={name: value for name, value in values.items() if name in _FOUND_OUT},
        sources={name: source for name, (_, source) in entries.items() if source is not None},
        content=_content(path, data.get("content")) if isinstance(data, dict) else None,
        parameters=_size(path, "model.parameters", model.get("parameters")) if isinstance(model, dict) else None,
        versions=Versions(*(_text(path, name, found.get(name)) for name in Versions._fields)),
        threads=_size(path, "threads", found.get("threads")),
        created=_text(path, "created", found.get("created")),
        commands=tuple(_texts(path, "commands", found.get("commands", []))),
    )


def read_run_config(folder: Path) -> ConfigFile:
    """The `config.json` of a run.

    Raises: ModelFileError as `read_config_file` raises ConfigurationError.
    """
    try:
        return read_config_file(folder / CONFIG)
    except ConfigurationError as error:
        raise ModelFileError(str(error), tip=error.tip or likely_folder(folder)) from error


def _rows(start: str, settings: Mapping[str, Setting]) -> list[tuple[str, str, str]]:
    return [(start + name.replace("_", "-"), as_text(value), source) for name, (value, source) in settings.items()]


def _entry(path: Path, name: str, entry: Any) -> tuple[Any, str | None]:
    if not isinstance(entry, dict):
        return entry, None
    found = _object(path, f"settings.{name}", entry, ("value", "source"))
    return found.get("value"), _text(path, f"settings.{name}.source", found.get("source"))


def _named(path: Path, what: str, found: Any) -> Named:
    if isinstance(_typed(path, what, found, str, dict), str):
        return Named(found, {})
    found = _object(path, what, found, _PLUGIN_KEYS)
    options = _typed(path, f"{what}.options", found.get("options", {}), dict)
    _text(path, f"{what}.options.data_dir", options.get("data_dir"))
    package, version = (_text(path, f"{what}.{key}", found.get(key)) for key in ("package", "package_version"))
    given_in_python = "package" in found and package is None
    sources = _typed(path, f"{what}.sources", found.get("sources", {}), dict)
    for name, source in sources.items():
        _typed(path, f"{what}.sources.{name}", source, str)
    name = _typed(path, f"{what}.name", found.get("name"), str)
    return Named(name, dict(options), given_in_python, package, version, dict(sources))


def _content(path: Path, found: Any) -> dict[str, Any] | None:
    content: dict[str, Any] | None = _typed(path, "data.content", found, dict, type(None))
    for key, value in (content or {}).items():
        where = f"data.content.{key}"
        if key in ("train", "valid", "test"):
            _size(path, where, value)
        elif key == "classes":
            _texts(path, where, value)
        elif key == "image_shape":
            for number, each in enumerate(_typed(path, where, value, list)):
                _size(path, f"{where}[{number}]", each)
    return content


def _size(path: Path, where: str, found: Any) -> int | None:
    if found is None or is_whole(found):
        return found
    raise ConfigurationError(f"config file {path}: {where} is {json.dumps(found)}; wanted a whole number or null")


def _text(path: Path, where: str, found: Any) -> str | None:
    text: str | None = _typed(path, where, found, str, type(None))
    return text


def _texts(path: Path, where: str, found: Any) -> list[str]:
    return [_typed(path, f"{where}[{number}]", each, str) for number, each in enumerate(_typed(path, where, found, list))]


def _object(path: Path, where: str, found: Any, known: Iterable[str]) -> dict[str, Any]:
    content: dict[str, Any] = _typed(path, where, found, dict)
    for key in content:
        if key not in known:
            inside = f" in {where}" if where else ""
            raise ConfigurationError(f"config file {path} has an unknown key '{key}'{inside}", tip=did_you_mean(key, known))
    return content


def _typed(path: Path, where: str, found: Any, *wanted: type) -> Any:
    if not isinstance(found, wanted):
        words = " or ".join(json_type(each()) for each in wanted)
        raise ConfigurationError(f"config file {path}{': ' if where else ''}{where} is {json_type(found)}; wanted {words}")
    return found
