"""The callback plugins of a run: found and checked before any data is read, built for the run folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyclsf.errors import ConfigurationError, did_you_mean
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.plugins import Plugin, blamed_on, check_result, find
from tinyclsf.trainer import Callback

# What a trainer calls of a callback.
_MOMENTS = [name for name in vars(Callback) if not name.startswith("_")]


@dataclass(frozen=True)
class CallbackComponent(Component):
    """A callback plugin and its options; called with the run folder and the model's name it gives the callback."""

    def __call__(self, folder: Path, model_name: str) -> Callback:
        """The callback, which ends a run in a PluginError where it fails.

        Raises: PluginError if the plugin fails or returns no Callback.
        """
        with blamed_on(self.plugin, "failed"):
            callback = self.factory(folder, model_name, **self.values)
        check_result(self.plugin, callback, Callback)
        assert isinstance(callback, Callback)
        for name in _MOMENTS:
            if getattr(type(callback), name) is not getattr(Callback, name):
                setattr(callback, name, _blamed(self.plugin, name, getattr(callback, name)))
        return callback


def load_callback_components(names: Sequence[str], given: Mapping[str, Any]) -> list[CallbackComponent]:
    """Import the callback plugins of these names, and resolve their options, which are given by NAME.KEY.

    Raises: ConfigurationError if there is no such plugin, a name is given twice, or an option belongs to none of them or is
    not of its type; PluginError if a plugin cannot be imported.
    """
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"callback {name} is given twice; give --callback {name} once")
    found = [find("callback", name) for name in names]
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in given.items():
        # An option is a Python name, so it holds no dot, as the name of a plugin may.
        name, _, option = key.rpartition(".")
        if not name:
            raise ConfigurationError(f"-c {key}={value} names no callback; wanted -c NAME.KEY=VALUE")
        if name not in options:
            raise ConfigurationError(
                f"-c {key}={value} is for callback {name}, which the run does not have; add --callback {name} or leave it out",
                tip=did_you_mean(name, names),
            )
        options[name][option] = value
    return [CallbackComponent(**vars(load_component(plugin, options[plugin.name]))) for plugin in found]


def _blamed(plugin: Plugin, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with blamed_on(plugin, f"failed in {name}"):
            return method(*args, **kwargs)

    return call
