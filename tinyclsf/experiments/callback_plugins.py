"""The callback plugins of a run: found and checked before any data is read, built for the run folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyclsf.errors import ConfigurationError, PluginError, did_you_mean
from tinyclsf.machine import distributed
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.plugins import blamed_on, check_result, find, full_name
from tinyclsf.registry.signatures import attribute_of
from tinyclsf.trainer import Callback

# What a trainer calls of a callback.
MOMENTS = [name for name, each in vars(Callback).items() if callable(each) and not name.startswith("_")]


@dataclass(frozen=True)
class CallbackComponent(Component):
    """A callback plugin and its options; called with the run folder and the model's name it gives the callback.

    as_if_first: hold the callback to not waiting for other processes, even where there are none.
    """

    as_if_first: bool = False

    @property
    def every_process(self) -> bool:
        """Whether each process has the callback, or the first one alone."""
        return bool(attribute_of(self.factory, "every_process"))

    def __call__(self, folder: Path, model_name: str) -> Callback:
        """The callback, which ends a run in a PluginError where it fails.

        Raises: PluginError if the plugin fails or returns no Callback.
        """
        with blamed_on(self.plugin, "failed"), self._alone("as it is made"):
            callback = self.factory(folder, model_name, **self.values)
        check_result(self.plugin, callback, Callback)
        assert isinstance(callback, Callback)
        for name in MOMENTS:
            if getattr(type(callback), name) is not getattr(Callback, name):
                setattr(callback, name, self._guarded(name, getattr(callback, name)))
        return callback

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with blamed_on(self.plugin, f"failed in {name}"), self._alone(f"in {name}"):
                return method(*args, **kwargs)

        return call

    def _alone(self, where: str) -> AbstractContextManager[None]:
        if self.every_process or not (self.as_if_first or distributed.size() > 1):
            return nullcontext()
        return distributed.alone(
            PluginError(
                f"{full_name(self.plugin)} waits {where} for all processes of a training, and only the first one has it; "
                "set every_process = True on its class or function, or leave the callback out"
            )
        )


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
