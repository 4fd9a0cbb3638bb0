"""Arguments and options that commands share, and what the shell completes of them: names of plugins and of runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tinyclsf.registry.plugins import KINDS, plugins
from tinyclsf.runs.listing import run_names

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]


class _Option(click.Option):
    """An option whose help is what it says itself: ranges are for errors."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return None if record is None else (record[0], self.help or "")


option = functools.partial(click.option, cls=_Option)


class _NamedPath(click.Path):
    """A path that has a name: an empty one, as a shell variable that is not set gives it, would be the present folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty; give a path.", param, ctx)
        return super().convert(value, param, ctx)


def _assignments(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"'{value}' is not KEY=VALUE.", ctx, param)
        if key in found:
            raise click.BadParameter(f"'{key}' is given twice.", ctx, param)
        found[key] = text
    return found


KEY_VALUE: dict[str, Any] = {"metavar": "KEY=VALUE", "multiple": True, "callback": _assignments}
DIRECTORY: dict[str, Any] = {"type": _NamedPath(path_type=Path), "metavar": "DIR"}
FILE: dict[str, Any] = {"type": _NamedPath(path_type=Path), "metavar": "FILE"}
DATA_DIR = "Folder of the data set's files; 'tinyclsf info' on the data set says more."


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of every kind of plugin, or of the kind that the parameter is named after."""
    kinds = [kind for kind in KINDS if param.name in ("name", kind, f"{kind}s", "data" if kind == "dataset" else kind)]
    return sorted({plugin.name for kind in kinds for plugin in plugins(kind) if plugin.name.startswith(incomplete)})


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the runs that are there."""
    root = Path(ctx.params.get("runs") or "runs")
    return [name for name in run_names(root) if name.startswith(incomplete)]


run_argument = click.argument("run", shell_complete=complete_run)  # a name or a path; `find_run` finds its folder


def common_options(command: Command) -> Command:
    """Add `--json` and `--debug`, which `main` reads off the command line itself: they hold for errors in parsing too."""
    command = option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)
    return option("--json", is_flag=True, expose_value=False, help="Print one JSON document, errors included.")(command)


def runs_option(name: str = "runs", help: str = "Where runs are.") -> Decorator[Any]:
    """`--runs`, given as a parameter of that name."""
    help += " [$TINYCLSF_RUNS, else runs]"
    return option("--runs", name, envvar="TINYCLSF_RUNS", default="runs", help=help, **DIRECTORY)


tta_option = option(
    "--tta",
    type=click.Choice(["none", "flip"]),
    default="none",
    metavar="NAME",
    help="flip: predict each image and its mirror image, and take the mean. [none]",
)


def other_data_options(command: Command) -> Command:
    """Add `--data`, `--data-dir` and `-d` for data other than a run's own, as parameters data, data_dir and data_options."""
    command = option("-d", "data_options", help="An option of the data set.", **KEY_VALUE)(command)
    command = option("--data-dir", help="Where the data's files are. [the run's]", **DIRECTORY)(command)
    help = "Another data set of the same classes. [the run's]"
    return option("--data", metavar="NAME", shell_complete=complete_plugin, help=help)(command)
