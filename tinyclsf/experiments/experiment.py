"""An experiment: the model, data and settings of a run as one value, to change, run and resume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyclsf.errors import ModelFileError, printable
from tinyclsf.experiments.callback_plugins import CallbackComponent, load_callback_components
from tinyclsf.experiments.request import Asked, Request, make_request
from tinyclsf.experiments.settings import DEFAULTS, Settings, resolve
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.options import Setting, as_text
from tinyclsf.registry.plugins import Plugin, full_name
from tinyclsf.runs.config_file import ConfigFile, Named

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tinyclsf.experiments.request import ModelFactory

# What a run that goes on may have otherwise than it had.
_FREE = ("epochs", "patience", "checkpoint_every", "device")


@dataclass(frozen=True)
class Experiment:
    """The model, data, callbacks and settings of a run: plugins are loaded, settings have values, no data is read."""

    request: Request
    model: Component
    data: Component
    callbacks: tuple[CallbackComponent, ...]
    settings: Settings

    @classmethod
    def of(cls, model: str | ModelFactory | None = None, **asked: Unpack[Asked]) -> Experiment:
        """Make an experiment from the arguments of `tinyclsf.train`: `Experiment.of("mnist-cnn", epochs=2)`.

        Raises: ConfigurationError if an argument is not valid; PluginError if a plugin fails.
        """
        return describe(make_request(model, **asked))

    def __repr__(self) -> str:
        chosen: dict[str, list[str]] = {}
        for name, value, source in self._chosen():
            chosen.setdefault(source, []).append(f"{name} {value}")
        lines = [f"{source}: {', '.join(settings)}" for source, settings in chosen.items()]
        return "\n".join([f"{self.model.plugin.name} on {self.data.plugin.name}", *map(printable, lines)])

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, paragraph, table

        rows = list(self._chosen())
        title = f"{self.model.plugin.name} on {self.data.plugin.name}"
        return page(title, table(("setting", "value", "from"), rows, names=3), paragraph("all else has its default"))

    def _chosen(self) -> Iterator[tuple[str, str, str]]:
        """What is another than the default: name, value and where it came from."""
        parts = {"model": self.model.options, "data": self.data.options, "": self.settings}
        for part, settings in parts.items():
            for name, (value, source) in settings.items():
                of_recipe = source == "recipe" and value == DEFAULTS.get(name)  # it says again what holds anyway
                if not source.startswith("default") and not of_recipe:
                    yield f"{part} {name.replace('_', '-')}".strip(), as_text(value), source

    def with_(self, *, model: str | ModelFactory | None = None, **asked: Unpack[Asked]) -> Experiment:
        """Return a changed copy: `with_(seed=1, lr=0.01)`.

        Options of a plugin are added to those given before; another plugin starts without them.
        Raises: the errors of `of`.
        """
        return describe(self.request.with_(model=model, **asked))


def describe(request: Request) -> Experiment:
    """Load the plugins that were asked for, and resolve every option and setting.

    Raises: ConfigurationError for what cannot be; PluginError for a plugin that fails; ModelFileError if a run is to go on
    with other settings than it has.
    """
    config, resumed = request.config, request.resumed
    model = load_component(request.model, request.model_options, saved=_saved(config.model, request.model))
    saved = _saved(config.data, request.data)
    wanted = model.data_options
    data = load_component(request.data, request.data_options, saved=saved, wanted=wanted, data_dir=request.data_dir)
    layers = _saved_settings(config, resumed), request.settings
    settings = resolve(model.recipe, *layers, owner=full_name(request.model))
    named = {each.name: each for each in config.callbacks}
    names = [*named, *(each for each in request.callbacks if isinstance(each, str) and each not in named)]
    options = {f"{each.name}.{key}": value for each in named.values() for key, value in each.options.items()}
    callbacks = load_callback_components(names, {**options, **request.callback_options})
    if resumed is not None:
        model, data = (_as_begun(part, named) for part, named in ((model, config.model), (data, config.data)))
        _check_same(resumed, config, model, data, settings)
    elif config.content is not None and _differing("data", config.data, data):
        # The file tells of other data than was asked for, so the two are not compared.
        request = replace(request, config=replace(config, content=None))
    return Experiment(request, model, data, tuple(callbacks), settings)


def _saved(named: Named | None, plugin: Plugin) -> Mapping[str, Any]:
    """The options that a config file gives the plugin; another one than it names has its own."""
    return named.options if named is not None and named.name == plugin.name else {}


def _as_begun(component: Component, named: Named | None) -> Component:
    """A component whose options say where they came from when the run was begun."""
    begun = {} if named is None else named.sources
    options = component.options.items()
    sources = {name: begun.get(name, source) if source == "config" else source for name, (_, source) in options}
    return replace(component, options={name: Setting(value, sources[name]) for name, (value, _) in options})


def _saved_settings(config: ConfigFile, resumed: Path | None) -> Settings:
    """The settings of a config file; what a run chose by itself holds where it goes on, and is chosen anew in another one."""
    chosen = {name for name, source in config.sources.items() if source == "auto"}
    if resumed is None:
        return {name: Setting(value, "config") for name, value in config.settings.items() if name not in chosen}
    kept = {name: value for name, value in config.settings.items() if name != "device" or name not in chosen}
    return {name: Setting(value, config.sources.get(name, "config")) for name, value in kept.items()}


def _check_same(folder: Path, config: ConfigFile, model: Component, data: Component, settings: Settings) -> None:
    """Hold a run that goes on to what it was begun with."""
    differing = [*_differing("model", config.model, model), *_differing("data", config.data, data)]
    for name, value in config.settings.items():
        if name in settings and name not in _FREE and settings[name].value != value:
            differing.append((name.replace("_", "-"), value, settings[name].value))
    if differing:
        found = "; ".join(f"{name} was {as_text(was)} and shall be {as_text(now)}" for name, was, now in differing)
        raise ModelFileError(
            f"run {folder} cannot go on as another one: {found}; leave that out, or begin a new run with --config {config}"
        )


def _differing(kind: str, named: Named | None, component: Component) -> list[tuple[str, Any, Any]]:
    """What a plugin is now and was not in a config file; its data may have moved, as what is in them is looked at too."""
    if named is None:
        return []
    if named.name != component.plugin.name:
        return [(kind, named.name, component.plugin.name)]
    was = load_component(component.plugin, {}, saved=named.options).described()["options"]
    now = component.described()["options"]
    return [(f"{kind} option {key}", was[key], now[key]) for key in was if was[key] != now[key] and key != "data_dir"]
