"""The settings of a run: what the person gave, else the model's recipe, else a default; and where each came from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.recipes import LOSSES, SCHEDULES, Recipe, optimizer_defaults, pick


class Setting(NamedTuple):
    """A value in force and where it came from."""

    value: Any
    source: str


def resolve(given: Mapping[str, Any], recipe: Recipe | None) -> dict[str, Setting]:
    """Every training setting by its name; `given` holds None where the person said nothing.

    lr, momentum and weight_decay of a recipe belong to its optimizer: with another one they are that one's own defaults.
    Raises: ConfigurationError for an unknown name, or an option that the optimizer does not use; PluginError if it is
    the recipe that gives such an option.
    """
    base = recipe or Recipe()
    source = "default" if recipe is None else "recipe"

    def choose(name: str) -> Setting:
        return Setting(getattr(base, name), source) if given[name] is None else Setting(given[name], _flag(name))

    settings = {name: choose(name) for name in ("epochs", "batch_size", "loss", "optimizer")}
    pick("loss", settings["loss"].value, LOSSES)
    optimizer = settings["optimizer"].value
    takes = optimizer_defaults(optimizer)
    for name in ("lr", "momentum", "weight_decay"):
        if given[name] is not None and name not in takes:
            raise ConfigurationError(f"optimizer {optimizer} does not use {_flag(name)}; leave it out")
        if given[name] is not None:
            settings[name] = Setting(given[name], _flag(name))
        elif optimizer == base.optimizer and getattr(base, name) is not None:
            if name not in takes:
                raise PluginError(f"the model's recipe gives {name}, which its optimizer {optimizer} does not use; mend it")
            settings[name] = Setting(getattr(base, name), source)
        elif name in takes and takes[name] is not inspect.Parameter.empty:
            settings[name] = Setting(takes[name], f"default of {optimizer}")
    settings["schedule"] = choose("schedule")
    pick("schedule", settings["schedule"].value, SCHEDULES)
    settings["seed"] = Setting(0, "default") if given["seed"] is None else Setting(given["seed"], "--seed")
    return settings


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
