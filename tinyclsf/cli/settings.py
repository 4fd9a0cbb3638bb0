"""The settings of a run: what the person gave, else the model's recipe, else a default; and where each came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.recipes import Recipe, make_augment, options_with_defaults


class Setting(NamedTuple):
    """A value in force and where it came from."""

    value: Any
    source: str


# What belongs to a loss, an optimizer or a schedule, and means nothing to another one.
_BELONGS: dict[Literal["loss", "optimizer", "schedule"], tuple[str, ...]] = {
    "loss": ("label_smoothing",),
    "optimizer": ("lr", "momentum", "weight_decay"),
    "schedule": ("gamma", "step_size", "plateau_patience"),
}


def resolve(given: Mapping[str, Any], recipe: Recipe | None) -> dict[str, Setting]:
    """Every training setting by its name; `given` holds None where the person said nothing.

    The options of a recipe's loss, optimizer and schedule belong to those: with another one they are that one's own defaults.
    Raises: ConfigurationError for an unknown name, or an option that is not used; PluginError if it is the recipe that gives
    such an option.
    """
    base = recipe or Recipe()
    source = "default" if recipe is None else "recipe"

    def choose(name: str) -> Setting:
        return Setting(getattr(base, name), source) if given[name] is None else Setting(given[name], _flag(name))

    settings = {name: choose(name) for name in ("epochs", "batch_size")}
    for what, options in _BELONGS.items():
        settings[what] = choose(what)
        settings |= _resolve_options(what, settings[what].value, options, given, base, source)
    settings["augment"] = choose("augment")
    make_augment(settings["augment"].value)
    settings["seed"] = Setting(0, "default") if given["seed"] is None else Setting(given["seed"], "--seed")
    return settings


def _resolve_options(
    what: Literal["loss", "optimizer", "schedule"],
    chosen: str,
    names: Sequence[str],
    given: Mapping[str, Any],
    base: Recipe,
    source: str,
) -> dict[str, Setting]:
    takes = options_with_defaults(what, chosen)
    found = {}
    for name in names:
        from_recipe = getattr(base, name) if chosen == getattr(base, what) else None
        if given[name] is not None and name not in takes:
            raise ConfigurationError(f"{what} {chosen} does not use {_flag(name)}; leave it out")
        if from_recipe is not None and name not in takes:
            raise PluginError(f"the model's recipe gives {name}, which its {what} {chosen} does not use; mend it")
        if given[name] is not None:
            found[name] = Setting(given[name], _flag(name))
        elif from_recipe is not None:
            found[name] = Setting(from_recipe, source)
        elif name in takes:
            found[name] = Setting(takes[name], f"default of {chosen}")
    return found


def arguments_of(settings: Mapping[str, Setting], what: Literal["loss", "optimizer", "schedule"]) -> dict[str, Any]:
    """The options in force of the chosen loss, optimizer or schedule, as keyword arguments."""
    return {name: settings[name].value for name in _BELONGS[what] if name in settings}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
