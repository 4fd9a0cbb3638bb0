"""What a command plugin has to keep, check by check."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any

import click

from tinyclsf.errors import TinyclsfError
from tinyclsf.registry.plugins import OWN_COMMANDS, Plugin, load
from tinyclsf.testing.checking import Broken, CannotRun, Checks

_ODD = "no-such-value"
_SECONDS = 60  # for a module to be imported
_IMPORTS_TORCH = 86
# To wait for PyTorch would take seconds, so the process ends where it is asked for.
_IMPORT = f"""
import importlib, os, sys

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            os._exit({_IMPORTS_TORCH})

sys.meta_path.insert(0, Watch)
importlib.import_module(sys.argv[1])
"""


@dataclass
class CommandSubject:
    """A command under check; it is not run but for its `--help`."""

    plugin: Plugin
    options: dict[str, Any]
    quick: bool = False

    def __post_init__(self) -> None:
        if self.options:
            raise TypeError(f"check_command takes a command alone; leave out {', '.join(self.options)}")

    @property
    def command(self) -> click.Command:
        """The command.

        Raises: CannotRun if it is none, which the check `click_command` tells of.
        """
        if not isinstance(self.loaded, click.Command):
            raise CannotRun("it is no click command")
        return self.loaded

    @cached_property
    def loaded(self) -> object:
        """What the plugin is, imported, or the error that came instead."""
        with redirect_stdout(sys.stderr):
            try:
                return load(self.plugin)
            except TinyclsfError as error:
                return error

    @property
    def parts(self) -> Iterator[tuple[str, click.Command]]:
        """The command, and all commands below a group, each with its whole name."""
        yield from _parts(self.plugin.name, self.command)

    @cached_property
    def imported(self) -> subprocess.CompletedProcess[str]:
        """What a process ended with that imported the module of the command, and nothing else.

        Raises: CannotRun if it has no module, or that cannot be imported.
        """
        of_click = self.plugin.package is None and self.command.callback is not None  # where one is given, not named
        module = self.command.callback.__module__ if of_click else self.plugin.target.partition(":")[0]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
        words = [sys.executable, "-c", _IMPORT, module]
        try:
            found = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise CannotRun(f"to import {module} takes more than {_SECONDS} seconds") from None
        if found.returncode not in (0, _IMPORTS_TORCH):
            raise CannotRun(f"module {module} cannot be imported in a process of its own")
        return found


def click_command(subject: CommandSubject) -> None:
    """It can be imported, and is a click command."""
    if isinstance(subject.loaded, TinyclsfError):
        raise subject.loaded
    if not isinstance(subject.loaded, click.Command):
        found = type(subject.loaded).__name__
        raise Broken(f"it is of type {found}; wanted a click command: write @click.command() above the function")


def name(subject: CommandSubject) -> None:
    """Its name is in lower case with hyphens, and no command of tinyclsf has it."""
    found = subject.plugin.name
    if found in OWN_COMMANDS:
        raise Broken(f"tinyclsf has a command '{found}' already, which goes before yours; wanted a name of its own")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", found):
        raise Broken(f"its name is '{found}'; wanted lower case words with hyphens between them, as in 'best-runs'")


def help_text(subject: CommandSubject) -> None:
    """It says in one sentence what it does, and so does each command of a group."""
    for path, command in subject.parts:
        first = (command.help or "").strip().split("\n\n")[0]
        if not first:
            raise Broken(f"'{path}' has no help text; wanted a sentence in its docstring")
        if not first.endswith((".", "!", "?")):
            line = first.splitlines()[0]
            raise Broken(f"the help text of '{path}' begins with '{line}'; wanted a whole sentence that ends with a full stop")


def option_help(subject: CommandSubject) -> None:
    """Each of its options says what it is for."""
    for path, command in subject.parts:
        for option in command.params:
            if isinstance(option, click.Option) and not option.help and not option.hidden:
                raise Broken(f"option {_flag(option)} of '{path}' has no help text; wanted help= with a sentence")


def common_options(subject: CommandSubject) -> None:
    """It leaves --json and --debug to tinyclsf, which gives them to each command."""
    for path, command in subject.parts:
        taken = [flag for each in command.params for flag in each.opts if flag in ("--json", "--debug")]
        if taken:
            raise Broken(
                f"'{path}' has an option {taken[0]} of its own; wanted none, as tinyclsf adds --json and --debug: "
                "return a dictionary, which is the document of --json"
            )


def help_page(subject: CommandSubject) -> None:
    """`--help` ends well and prints how it is used."""
    for path, command in subject.parts:
        printed, reason = StringIO(), None
        with redirect_stdout(printed):
            try:
                command.main(["--help"], path, standalone_mode=False)
            except Exception as error:
                reason = f"raises {type(error).__name__}: {error}"
        if reason is None and not printed.getvalue().startswith("Usage:"):
            reason = "prints no page of help"
        if reason is not None:
            raise Broken(f"'{path} --help' {reason}; wanted the page that click makes of its docstring and options")


def usage_errors(subject: CommandSubject) -> None:
    """An option that it does not have, and a value that it cannot use, end with exit code 2 before it does anything."""
    for path, command in subject.parts:
        if _parsed(path, command, "--no-such-option"):
            raise Broken(
                f"'{path} --no-such-option' is no error; wanted exit code 2, so that a misspelt option does not go unseen: "
                "leave out ignore_unknown_options"
            )
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag and not option.count and option.nargs == 1:
                _parsed(
                    path, command, f"{_flag(option)}={_ODD}" if _flag(option).startswith("--") else f"{_flag(option)}{_ODD}"
                )


def import_without_torch(subject: CommandSubject) -> None:
    """To import its module does not import PyTorch, so that its `--help` and shell completion are quick."""
    if subject.imported.returncode == _IMPORTS_TORCH:
        raise Broken(
            "its module imports torch, which takes a second or more before even --help; "
            "wanted `import torch`, and what imports it, within the function (tinyclsf.plugin does not import it by itself)"
        )


def silent_import(subject: CommandSubject) -> None:
    """To import its module prints nothing to stdout."""
    if text := subject.imported.stdout.strip():
        raise Broken(f"importing its module prints '{text.splitlines()[0][:60]}'; wanted stdout free for results: leave it out")


def _parts(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for each in command.list_commands(context):
            if (below := command.get_command(context, each)) is not None:
                yield from _parts(f"{path} {each}", below)


def _flag(option: click.Parameter) -> str:
    return max(option.opts, key=len)


def _parsed(path: str, command: click.Command, word: str) -> bool:
    """Whether a command takes a word.

    Raises: Broken if it raises something other than a usage error, or an error of tinyclsf.plugin.
    """
    try:
        with command.make_context(path, [word]):
            return True
    except (click.UsageError, TinyclsfError):
        return False
    except Exception as error:
        raise Broken(
            f"'{path} {word}' raises {type(error).__name__}: {error}; "
            "wanted click.BadParameter, which ends with exit code 2, from what reads the value"
        ) from None


check_command = Checks(
    "command",
    CommandSubject,
    (
        *(click_command, name, help_text, option_help, common_options, help_page, usage_errors),
        *(import_without_torch, silent_import),
    ),
    quick=(click_command, name, help_text, option_help, common_options, help_page, usage_errors),
)
