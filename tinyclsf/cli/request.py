"""What a person asked for, resolved from flags, a config file, the model's recipe and defaults, before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyclsf.cli.callbacks import CallbackPart, load_callbacks
from tinyclsf.cli.config import Config, Named
from tinyclsf.cli.console import Mode
from tinyclsf.cli.settings import NAMES, Settings, flag, resolve
from tinyclsf.errors import ModelFileError
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.options import Setting, as_text
from tinyclsf.registry.plugins import Plugin
from tinyclsf.runs.folder import check_run_name

# What a run that goes on may have otherwise than it had.
_FREE = ("epochs", "patience", "checkpoint_every")


@dataclass(frozen=True)
class Request:
    """A run as it shall be, and the command that asked for it.

    `resumed` is the folder of the run that goes on, and `config` the file that it was taken from.
    """

    model: Component
    model_source: str
    data: Component
    data_source: str
    callbacks: list[CallbackPart]
    settings: Settings
    device: Setting
    run: str | None
    runs: Path
    progress: Mode
    command: str
    config: Config | None
    resumed: Path | None


def make_request(
    model: Plugin, data: Plugin, options: Mapping[str, Any], config: Config | None, resumed: Path | None
) -> Request:
    """Resolve what was asked for; `options` are those of `tinyclsf fit`, None or empty where nothing was said.

    Raises: ConfigurationError for what cannot be; PluginError for a plugin that fails; ModelFileError if a run is to go on
    with other settings than it has.
    """
    if options["run"] is not None:
        check_run_name(options["run"])
    known = config or Config(Path())
    model_part = load_component(model, options["model_options"], saved=_saved(known.model, model))
    data_part = load_component(data, options["data_options"], saved=_saved(known.data, data), data_dir=options["data_dir"])
    callbacks = {named.name: named for named in known.callbacks}
    names = [*callbacks, *(name for name in options["callbacks"] if name not in callbacks)]
    texts = {f"{named.name}.{key}": text for named in callbacks.values() for key, text in named.options.items()}
    flags = {name: Setting(options[name], flag(name)) for name in NAMES if options[name] is not None}
    settings = resolve(model_part.recipe, _saved_settings(known, resumed), flags)
    device = _first(options["device"], known)
    if resumed is not None:
        _check_same(known, model_part, data_part, settings)
    elif config is not None and config.content is not None and _differing("data", config.data, data_part):
        config = replace(config, content=None)  # it is of other data than was asked for
    return Request(
        model=model_part,
        model_source=options["model_source"],
        data=data_part,
        data_source=options["data_source"],
        callbacks=load_callbacks(names, {**texts, **options["callback_options"]}),
        settings=settings,
        device=device,
        run=options["run"],
        runs=options["runs"],
        progress=options["progress"],
        command=options["command"],
        config=config,
        resumed=resumed,
    )


def _first(given: str | None, config: Config) -> Setting:
    if given not in (None, "auto"):
        return Setting(given, "--device")
    if given == "auto" or "device" not in config.settings or config.sources.get("device") == "auto":
        return Setting("auto", "auto")
    return Setting(config.settings["device"], "config")


def _saved(named: Named | None, plugin: Plugin) -> dict[str, str]:
    """The options that a config file gives the plugin; another one than it names has its own."""
    return dict(named.options) if named is not None and named.name == plugin.name else {}


def _saved_settings(config: Config, resumed: Path | None) -> dict[str, Setting]:
    """The settings of a config file; what a run chose by itself holds where it goes on, and is chosen anew in another one."""
    found = {name: (value, config.sources.get(name)) for name, value in config.settings.items() if name in NAMES}
    if resumed is not None:
        return {name: Setting(value, source or "config") for name, (value, source) in found.items()}
    return {name: Setting(value, "config") for name, (value, source) in found.items() if source != "auto"}


def _check_same(config: Config, model: Component, data: Component, settings: Settings) -> None:
    """Hold a run that goes on to what it was begun with."""
    differing = [*_differing("model", config.model, model), *_differing("data", config.data, data)]
    for name, value in config.settings.items():
        if name in settings and name not in _FREE and settings[name].value != value:
            differing.append((name.replace("_", "-"), value, settings[name].value))
    if differing:
        found = "; ".join(f"{name} was {as_text(was)} and shall be {as_text(now)}" for name, was, now in differing)
        raise ModelFileError(
            f"run {config.path.parent} cannot go on as another one: {found}; "
            f"leave that out, or begin a new run with --config {config}"
        )


def _differing(kind: str, named: Named | None, part: Component) -> list[tuple[str, Any, Any]]:
    """What a plugin is now and was not in a config file; its data may have moved, as what is in them is looked at too."""
    if named is None:
        return []
    if named.name != part.plugin.name:
        return [(kind, named.name, part.plugin.name)]
    was, now = (each.described()["options"] for each in (load_component(part.plugin, {}, saved=named.options), part))
    return [(f"{kind} option {key}", was[key], now[key]) for key in was if was[key] != now[key] and key != "data_dir"]
