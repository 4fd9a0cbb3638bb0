"""Commands of other packages: each is imported when it is called, runs as ours do, and is blamed by name for what it raises."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Mapping

import click

from tinyclsf.cli.console import Watch
from tinyclsf.cli.output import Output, document
from tinyclsf.cli.shared_options import common_options
from tinyclsf.errors import PluginError
from tinyclsf.machine.json_text import json_text
from tinyclsf.machine.signals import SignalReceived, StopSignals, stopped_by
from tinyclsf.registry.plugins import Plugin, blamed_on, full_name, is_refused, load


def origin(plugin: Plugin) -> str:
    """The package of a plugin and its version, and whether it is not used: all that can be said before it is imported."""
    refused = ", not used: tinyclsf has a command of that name" if is_refused(plugin) else ""
    return f"{plugin.package} {plugin.package_version}{refused}"


def load_command(plugin: Plugin) -> click.Command:
    """Import a command.

    Raises: PluginError if it cannot be imported or is no click command.
    """
    with contextlib.redirect_stdout(sys.stderr):
        found = load(plugin)
    if not isinstance(found, click.Command):
        wanted = "wanted a click command: write @click.command() above the function"
        raise PluginError(f"{full_name(plugin)} is of type {type(found).__name__}; {wanted}")
    return found


def call_apart(plugin: Plugin, call: Callable[[], object], *, as_json: bool) -> Output | None:
    """Call a command; what it prints goes to stdout, or to stderr where what it returns is the document.

    Raises: what it raises of click or of tinyclsf; PluginError for anything else, and where it returns no document.
    """
    stdout = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with Watch("auto"), stdout, StopSignals():
        try:
            found = call()
            if not as_json:
                return None
            if not isinstance(found, Mapping | None):
                raise PluginError(f"{full_name(plugin)} returned {type(found).__name__}; wanted a dictionary for --json")
            if taken := [key for key in ("version", "command") if key in (found or {})]:
                raise PluginError(
                    f"{full_name(plugin)} returned the key '{taken[0]}', which each document has already; give it another name"
                )
            content = document(plugin.name, **(found or {}))
            json_text(content)  # a key that cannot be written is the command's fault too
            return Output("", content)
        except SignalReceived as received:
            raise stopped_by(received.number) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except BaseException:
            with blamed_on(plugin, "failed"):
                raise


def with_common_options(command: click.Command) -> click.Command:
    """A command that takes `--json` and `--debug`, as those of a group do too; one that has such an option is as it was."""
    ours = copy.copy(command)
    ours.params = [*command.params]
    if not {"--json", "--debug"} & {flag for each in ours.params for flag in each.opts}:
        common_options(ours)
    if isinstance(ours, click.Group):
        ours.commands = {name: with_common_options(each) for name, each in ours.commands.items()}
    return ours
