"""The command line: commands return what they found, and this one place prints it, or the error that ended it."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from tinyclsf.cli.cache import cache
from tinyclsf.cli.check import check
from tinyclsf.cli.compare import compare
from tinyclsf.cli.evaluate import evaluate
from tinyclsf.cli.export import export
from tinyclsf.cli.fit import fit
from tinyclsf.cli.info import info
from tinyclsf.cli.list import list_plugins
from tinyclsf.cli.new import new
from tinyclsf.cli.other_commands import call_apart, load_command, origin, with_common_options
from tinyclsf.cli.output import DOCUMENT_VERSION, Output
from tinyclsf.cli.predict import predict
from tinyclsf.cli.report import report
from tinyclsf.cli.runs import runs
from tinyclsf.cli.script import script
from tinyclsf.cli.show import show
from tinyclsf.cli.streams import take_streams
from tinyclsf.cli.summary import summary
from tinyclsf.errors import ConfigurationError, PluginError, TinyclsfError, did_you_mean, printable_lines
from tinyclsf.machine import launch
from tinyclsf.machine.json_text import json_text
from tinyclsf.machine.signals import SignalReceived, StopSignals, stopped_by
from tinyclsf.registry.plugins import Plugin, find, is_refused, plugins

_SECTIONS = {
    "Train": (fit, runs),
    "See what a run learned": (evaluate, report, compare, summary),
    "Use it": (predict, export, script),
    "Before training": (show, check, cache),
    "Plugins": (list_plugins, info, new),
}
_MORE_MEMORY = "raise the limit that 'ulimit -v' shows, or close other programs"


class _Commands(click.Group):
    """Our commands, and those of other packages, of which only the one that is called is imported.

    It knows the nearest command to a misspelt one, and its help has the commands by what they are for.
    """

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {
            title: [(str(each.name), each.short_help or "") for each in commands] for title, commands in _SECTIONS.items()
        }
        if others := plugins("command"):
            sections["From other packages"] = [(each.name, origin(each)) for each in others]
        width = max(len(name) for rows in sections.values() for name, _ in rows)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        others = [each for each in plugins("command") if each.name.startswith(incomplete) and not is_refused(each)]
        return [*super().shell_complete(ctx, incomplete), *(CompletionItem(each.name, help=origin(each)) for each in others)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        try:
            return self.commands.get(cmd_name) or with_common_options(load_command(self._other(cmd_name)))
        except TinyclsfError:
            if ctx.resilient_parsing:  # for a shell that completes what is typed
                return None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        name = next((word for word in ctx.obj if not word.startswith("-")), None)
        if name is None or name in self.commands:
            return super().invoke(ctx)
        return call_apart(self._other(name), functools.partial(super().invoke, ctx), as_json="--json" in ctx.obj)

    def _other(self, name: str) -> Plugin:
        if not plugins("command", name):
            known = list(dict.fromkeys([*self.commands, *(each.name for each in plugins("command"))]))
            message = f"there is no command '{name}'; choose one of {', '.join(known)}"
            raise ConfigurationError(message, tip=did_you_mean(name, known))
        return find("command", name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tinyclsf", prog_name="tinyclsf", message="%(prog)s %(version)s")
def cli() -> None:
    """Train image classifiers on your data or on well-known sets.

    \b
    tinyclsf fit mnist-cnn --epochs 2   train on the included digits
    tinyclsf report overnight           see how good a run is, and where it fails
    tinyclsf list                       see all models and data sets
    """


def _apart(callback: Callable[..., Any]) -> Callable[..., Any]:
    """A command's callback that leaves stdout alone, whatever plugins print, and that a signal ends as an error does."""

    @functools.wraps(callback)
    def call(*args: Any, **options: Any) -> Any:
        with contextlib.redirect_stdout(sys.stderr), StopSignals():
            try:
                return callback(*args, **options)
            except SignalReceived as received:
                raise stopped_by(received.number) from None

    return call


for _command in (command for commands in _SECTIONS.values() for command in commands):
    assert _command.callback is not None
    _command.callback = _apart(_command.callback)
    cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; results go to stdout, everything else to stderr.

    Without `args` it is the program itself, and its stdout and stderr are its own to its end.
    """
    unwritten = take_streams() if args is None else []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may have what a terminal cannot show
    code = _run(list(sys.argv[1:] if args is None else args))
    if args is None:
        sys.stdout.flush()
        sys.stdout = sys.stderr  # a plugin may print as late as at exit
    if not unwritten or code != 0:
        return code
    return _fail("storage", f"cannot write to {unwritten[0].filename}: {unwritten[0].strerror}", 7, None, as_json=False)


def _run(args: list[str]) -> int:
    as_json = "--json" in args and launch.rank() == 0  # one document, though several processes may have one error
    try:
        with contextlib.redirect_stdout(sys.stderr) if launch.rank() > 0 else contextlib.nullcontext():
            report = cli.main(args, prog_name="tinyclsf", standalone_mode=False, obj=tuple(args))
        if isinstance(report, Output):
            print(json_text(report.document) if as_json else report.text, flush=True)
            return report.exit_code
        return report if isinstance(report, int) else 0  # what a command of another package gives to ctx.exit
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", "interrupted", 130, None, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.exceptions.NoSuchOption as error:
        tip = did_you_mean(error.option_name, error.possibilities or [])
        return _fail("configuration", f"there is no option '{error.option_name}'", 2, tip, as_json)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        first = message[:1] if message[1:2].isupper() else message[:1].lower()  # but not of CSV
        return _fail("configuration", first + message[1:], 2, _tip_for(error, args), as_json)
    except TinyclsfError as error:
        _show_traceback(args)
        more = "; --debug shows the traceback" if isinstance(error, PluginError) and error.tip and "--debug" not in args else ""
        return _fail(error.kind, str(error), error.exit_code, error.tip and error.tip + more, as_json)
    except Exception as error:
        _show_traceback(args)
        if isinstance(error, ImportError) and "failed to map segment" in str(error):
            message = f"the memory that may be used is too small for PyTorch ({error}); {_MORE_MEMORY}"
            return _fail("training", message, 6, None, as_json)
        message = f"{type(error).__name__}: {error}; this is a bug of tinyclsf: please report what --debug prints"
        return _fail("internal", message, 1, None, as_json)


def _tip_for(error: click.ClickException, args: list[str]) -> str | None:
    """What may have been meant by a word that a command has no place for."""
    found = re.match(r"Got unexpected extra arguments? \((\S+?)[ )]", error.format_message())
    context = getattr(error, "ctx", None)
    if found is None or context is None:
        return None
    if any(each.endswith(",") for each in args):
        return "write a list without spaces, as in flip,crop"
    word, (name, equals, value) = found[1], found[1].partition("=")
    options = {option: parameter for parameter in context.command.params for option in parameter.opts}
    if equals and (parameter := options.get(flag := f"--{name.replace('_', '-')}")) is not None:
        return f"did you mean {flag}?" if getattr(parameter, "is_flag", False) else f"did you mean {flag} {value}?"
    if plugins("dataset", word) and "--data" in options:
        return f"did you mean --data {word}?"
    if os.path.isdir(word) and "--data-dir" in options:
        return f"did you mean {'--data image-folder ' if '--data' in options else ''}--data-dir {word}?"
    return None


def _show_traceback(args: list[str]) -> None:
    if "--debug" in args:
        import traceback  # which --help need not wait for

        traceback.print_exc()


def _fail(kind: str, message: str, exit_code: int, tip: str | None, as_json: bool) -> int:
    if as_json:
        error = {"kind": kind, "exit_code": exit_code, "message": message, "tip": tip}
        print(json_text({"version": DOCUMENT_VERSION, "error": error}), flush=True)
    else:
        where = f" in process {launch.rank()}" if launch.processes() > 1 else ""
        lines = [f"error{where}: {message}", *([f"tip: {tip}"] if tip else [])]
        print(printable_lines("\n".join(lines)), file=sys.stderr)
    return exit_code
