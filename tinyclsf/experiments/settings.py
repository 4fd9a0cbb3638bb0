"""The settings of a run: what the person gave, else a config file, else the model's recipe, else a default; and which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from tinyclsf.augment.named import parse_augment
from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.recipes import Recipe, options_with_defaults
from tinyclsf.registry.choices import checked
from tinyclsf.registry.options import Setting

Settings = dict[str, Setting]

# What belongs to a loss, an optimizer or a schedule, and means nothing to another one.
_BELONGS: dict[Literal["loss", "optimizer", "schedule"], tuple[str, ...]] = {
    "loss": ("label_smoothing",),
    "optimizer": ("lr", "momentum", "nesterov", "weight_decay"),
    "schedule": ("gamma", "step_size", "plateau_patience"),
}
_BELONGING = {name for names in _BELONGS.values() for name in names}
DEFAULTS = {**asdict(Recipe()), "seed": 0, "precision": "auto", "compile": False, "checkpoint_every": None, "device": "auto"}


def resolve(recipe: Recipe | None, *layers: Mapping[str, Setting], owner: str = "the model") -> Settings:
    """Every training setting by its name; each layer comes before those to the left of it, and `owner` has the recipe.

    The options of a layer's loss, optimizer and schedule belong to those: with another one they are that one's own defaults.
    So does `unfreeze_after` to the layer that says what is frozen.
    Raises: ConfigurationError for an unknown name, or an option that is not used; PluginError if it is the recipe that gives
    such an option.
    """
    source = "default" if recipe is None else "recipe"
    # None is no value of what has one by default.
    of_recipe = {name: value for name, value in asdict(recipe or Recipe()).items() if (value, DEFAULTS[name]) != (None, None)}
    try:
        found = _overlaid({}, {name: Setting(checked(name, value), source) for name, value in of_recipe.items()})
        parse_augment(found["augment"].value)
    except ConfigurationError as error:
        raise PluginError(f"the recipe of {owner} cannot be used: {error}", tip=error.tip) from error
    for name, value in DEFAULTS.items():
        if name not in _BELONGING:
            found.setdefault(name, Setting(value, "default"))
    for layer in layers:
        found = _overlaid(found, layer)
    for what, names in _BELONGS.items():
        for name in set(names) & set(found) - set(options_with_defaults(what, found[what].value)):
            raise PluginError(f"the recipe of {owner} gives {name}, which its {what} {found[what].value} does not use; mend it")
    parse_augment(found["augment"].value)
    if found["class_weights"].value != "none" and found["loss"].value != "cross-entropy":
        raise ConfigurationError(
            f"loss {found['loss'].value} does not weigh classes; give --class-weights none, or --loss cross-entropy"
        )
    return {name: found[name] for name in DEFAULTS if name in found}


def arguments_of(settings: Mapping[str, Setting], what: Literal["loss", "optimizer", "schedule"]) -> dict[str, Any]:
    """The options in force of the chosen loss, optimizer or schedule, as keyword arguments."""
    return {name: settings[name].value for name in _BELONGS[what] if name in settings}


def _overlaid(below: Settings, above: Mapping[str, Setting]) -> Settings:
    if "freeze" in above:  # --freeze backbone means for good, whatever the recipe does after some epochs
        below = below | {"unfreeze_after": Setting(DEFAULTS["unfreeze_after"], "default")}
    settings = {name: setting for name, setting in {**below, **above}.items() if name not in _BELONGING}
    for what, names in _BELONGS.items():
        chosen = settings[what].value
        takes = options_with_defaults(what, chosen)
        given = {**(below if what in below and below[what].value == chosen else {}), **above}
        for name in names:
            if name in above and name not in takes and above[name].source != "recipe":  # which another layer may still replace
                raise ConfigurationError(f"{what} {chosen} does not use {_as_given(name, above[name].source)}; leave it out")
            if name in given:
                settings[name] = given[name]
            elif name in takes:
                settings[name] = Setting(takes[name], f"default of {chosen}")
    return settings


def _as_given(name: str, source: str) -> str:
    if source == "config":
        return f"{name} of the config file"
    return source if source.startswith("--") else name
