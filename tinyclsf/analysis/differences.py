"""The settings in which runs differ, as their `config.json` files tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinyclsf.runs.config_file import ConfigFile

_ABSENT = object()
_PLACES = {group: at for at, group in enumerate(("model", "-m", "data", "-d", "", "callback", "-c", "version"))}


def differing(configs: Sequence[ConfigFile]) -> list[dict[str, Any]]:
    """For each `config.json` the settings in which they differ, by the names that the command line gives them.

    One that a config does not have is not in its dictionary. What tells no two settings apart is left out: names and times.
    """
    found = [_settings_of(config) for config in configs]
    names = [
        name for name in setting_names(found) if any(each.get(name, _ABSENT) != found[0].get(name, _ABSENT) for each in found)
    ]
    return [{name: each[name] for name in names if name in each} for each in found]


def setting_names(each_settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all of them, those of the model and the data first."""
    names = dict.fromkeys(name for settings in each_settings for name in settings)
    return sorted(names, key=lambda name: _PLACES.get(name.split(" ")[0], _PLACES[""]))


def _settings_of(config: ConfigFile) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for what, flag, named in (("model", "-m", config.model), ("data", "-d", config.data)):
        found[what] = None if named is None else named.name
        found |= {} if named is None else {f"{flag} {name}": value for name, value in named.options.items()}
    found |= {name.replace("_", "-"): value for name, (value, _) in config.in_force.items() if name != "run"}
    for callback in config.callbacks:
        found[f"callback {callback.name}"] = True
        found |= {f"-c {callback.name}.{key}": value for key, value in callback.options.items()}
    for named in (config.model, config.data):
        found |= {} if named is None or named.package is None else {f"version of {named.package}": named.package_version}
    found |= {f"version of {name}": version for name, version in config.versions._asdict().items()}
    return {**found, "threads": config.threads}
