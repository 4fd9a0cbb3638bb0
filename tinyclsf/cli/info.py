"""`tinyclsf info NAME`: what one plugin says of itself; imports that plugin and no other."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import click

from tinyclsf.cli.other_commands import load_command
from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import common_options, complete_plugin
from tinyclsf.errors import ConfigurationError, did_you_mean
from tinyclsf.registry.options import REQUIRED, Option, as_text, flag_of
from tinyclsf.registry.plugins import KINDS, Plugin, find, load, plugins
from tinyclsf.registry.signatures import description_of, options_of


@click.command(short_help="Show what a plugin is, and the options it takes.")
@click.argument("name", shell_complete=complete_plugin)
@common_options
def info(name: str) -> Output:
    """Show the description, options and recipe of a data set, model or callback, or of a command of another package.

    \b
    tinyclsf info mnist-cnn
    tinyclsf info idx --json
    """
    kinds = [kind for kind in KINDS if plugins(kind, name)]
    if not kinds:
        known = {plugin.name for kind in KINDS for plugin in plugins(kind)}
        message = f"there is no plugin '{name}'; 'tinyclsf list' shows all"
        raise ConfigurationError(message, tip=did_you_mean(name, known))
    described = [_describe_command(find(kind, name)) if kind == "command" else _describe(find(kind, name)) for kind in kinds]
    return Output("\n\n".join(_text(each) for each in described), document("info", plugins=described))


def _describe(plugin: Plugin) -> dict[str, Any]:
    factory = load(plugin)
    known = options_of(plugin.kind, plugin.name, factory)
    from tinyclsf.registry.components import recipe_of  # it imports torch, as the plugin does

    recipe = recipe_of(plugin, factory, {name: option.default for name, option in known.items()})
    return {
        **_registered(plugin),
        "description": description_of(factory),
        "options": [_describe_option(option) for option in known.values()],
        "recipe": None if recipe is None else dataclasses.asdict(recipe),
    }


def _describe_command(plugin: Plugin) -> dict[str, Any]:
    command = load_command(plugin)
    found = [each.to_info_dict() for each in command.params]
    options = [
        {
            "name": max(each["opts"], key=len),
            "type": each["type"]["name"],
            "required": each["required"],
            "default": each["default"],
        }
        for each in found
    ]
    text = inspect.cleandoc(command.help or "").partition("\f")[0].replace("\b\n", "")  # without click's marks
    return {**_registered(plugin), "description": text.strip(), "options": options, "recipe": None}


def _registered(plugin: Plugin) -> dict[str, Any]:
    return {name: getattr(plugin, name) for name in ("kind", "name", "package", "package_version", "target")}


def _describe_option(option: Option) -> dict[str, Any]:
    required = option.default is REQUIRED
    default = None if required else option.default
    return {"name": option.name, "type": option.type_name, "required": required, "default": default}


def _text(plugin: dict[str, Any]) -> str:
    lines = [f"{plugin['kind']} {plugin['name']} ({plugin['target']}, {plugin['package']} {plugin['package_version']})"]
    lines += [f"  {line}".rstrip() for line in plugin["description"].splitlines()]
    if plugin["options"]:
        lines += ["options", *columns([_option_row(plugin, option) for option in plugin["options"]])]
    if plugin["recipe"]:
        used = [(key.replace("_", "-"), as_text(value)) for key, value in plugin["recipe"].items() if value is not None]
        lines += ["recipe", *columns(used)]
    return "\n".join(lines)


def _option_row(plugin: dict[str, Any], option: dict[str, Any]) -> tuple[str, ...]:
    data_dir = option["name"] == "data_dir" and plugin["kind"] == "dataset"
    flag = option["name"] if plugin["kind"] == "command" else f"{flag_of(plugin['kind'], plugin['name'], option['name'])}=..."
    flag = "--data-dir" if data_dir else flag
    wanted = "required" if option["required"] and not data_dir else f"default {as_text(option['default'])}"
    if data_dir and option["required"]:
        wanted = "default $TINYCLSF_DATA, else ~/.cache/tinyclsf"
    return flag, option["type"], wanted
