"""Commands of other packages: listed without importing, run as ours do, and a broken one breaks only itself."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from tests.support.commands import Install
from tinyclsf.cli.app import cli as program
from tinyclsf.registry.plugins import OWN_COMMANDS

THEIRS = """
import os, sys, warnings
import click
from pathlib import Path
from tinyclsf.plugin import DataError, DataWarning

print("imported")

@click.command()
@click.option("--runs", default="runs", type=click.Path(path_type=Path), help="Where runs are.")
@click.argument("names", nargs=-1)
def best(runs, names):
    '''Print the best run.

    Of all.
    '''
    click.echo("three 0.98")
    print(*names)
    return {"runs": runs, "loss": float("nan")}

@click.group()
def team():
    "Work together."

@team.command()
def play():
    "Play."
    print("played")

class Number(click.ParamType):
    name = "number"
    def convert(self, value, param, ctx): return 1 / 0

@click.command()
@click.option("--number", type=Number())
@click.option("--how", default="")
def odd(number, how):
    "Fail in many ways."
    if how == "exit": sys.exit("bye")
    if how == "code": click.get_current_context().exit(3)
    if how == "usage": raise click.UsageError("Not so.")
    if how == "capitals": raise click.UsageError("CSV is empty.")
    if how == "tip": raise DataError("no\x1brun", tip="try a\x1b]0;x")
    if how == "data": raise DataError("a.csv is empty; wanted a row", tip="fill it")
    if how == "abort": raise click.Abort
    if how == "list": return [1]
    if how == "command": return {"command": 1}
    if how == "version": return {"version": 2}
    if how == "key": return {"losses": {(1, 2): 3}}
    if how == "silent": return None
    if how == "warn": warnings.warn("mind the gap", DataWarning)

def function(): pass
"""
NAMES = {name: f"their_code:{name}" for name in ("best", "team", "odd", "function", "gone")}
ODD = "command 'odd' of package theirs (their_code:odd)"


@pytest.fixture(autouse=True)
def theirs(install: Install) -> None:
    install("theirs", THEIRS, module="their_code", commands={**NAMES, "runs": "their_code:best"})


def test_ours_are_those_whose_names_are_taken() -> None:
    assert tuple(program.commands) == OWN_COMMANDS


@pytest.mark.parametrize("words", [("--help",), ("list",), ("list", "commands", "--json"), ("runs",), ("runs", "--help")])
def test_none_is_imported_by_what_does_not_call_it(cli: Any, words: tuple[str, ...]) -> None:
    assert cli(*words).code == 0
    assert "their_code" not in sys.modules


def test_help_and_list_say_what_package_they_are_of(cli: Any) -> None:
    assert cli("--help").out.split("From other packages:\n")[1].splitlines() == [
        "  best      theirs 1.0",
        "  function  theirs 1.0",
        "  gone      theirs 1.0",
        "  odd       theirs 1.0",
        "  runs      theirs 1.0, not used: tinyclsf has a command of that name",
        "  team      theirs 1.0",
    ]
    assert (
        cli("list", "commands").out.splitlines()[-2] == "  runs      theirs 1.0, not used: tinyclsf has a command of that name"
    )
    rows = cli("list", "--json").document["commands"]
    assert rows[0] == {"name": "best", "package": "theirs", "package_version": "1.0"}
    assert cli("runs").out == "there are no runs in runs; 'tinyclsf fit mnist-cnn' makes one\n"  # ours


def test_without_any_there_is_no_section(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [each for each in sys.path if not each.endswith("/theirs")])
    assert "From other packages" not in cli("--help").out
    assert "commands" not in cli("list").out.splitlines()
    assert cli("list", "commands").out == "commands\n"


def test_one_prints_its_result_or_returns_it_as_a_document(cli: Any) -> None:
    result = cli("best", "b", "a")
    assert (result.code, result.out, result.err) == (0, "three 0.98\nb a\n", "imported\n")
    result = cli("best", "b", "a", "--json")
    assert (result.code, result.err) == (0, "three 0.98\nb a\n")
    assert result.document == {"version": 1, "command": "best", "runs": "runs", "loss": None}
    assert cli("odd", "--how", "silent", "--json").document == {"version": 1, "command": "odd"}


def test_its_help_is_like_ours(cli: Any) -> None:
    lines = cli("best", "-h").out.splitlines()
    assert (lines[0], lines[2], lines[-4:]) == (
        "Usage: tinyclsf best [OPTIONS] [NAMES]...",
        "  Print the best run.",
        [
            "  --runs PATH  Where runs are.",
            "  --debug      Show the traceback of an error.",
            "  --json       Print one JSON document, errors included.",
            "  -h, --help   Show this message and exit.",
        ],
    )


def test_a_group_brings_its_commands(cli: Any) -> None:
    assert cli("team", "play").out == "played\n"
    assert cli("team", "play", "--json").document == {"version": 1, "command": "team"}
    result = cli("team", "plya")
    assert (result.code, result.err.splitlines()[-1].startswith("error: no such command 'plya'")) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("odd", "--how", "exit"), 5, f"{ODD} failed: SystemExit: bye"),
        (("odd", "--number", "3"), 5, f"{ODD} failed: ZeroDivisionError: division by zero"),
        (("odd", "--how", "usage"), 2, "not so"),
        (("odd", "--how", "capitals"), 2, "CSV is empty"),
        (("odd", "--hwo", "usage"), 2, "there is no option '--hwo'"),
        (("odd", "--how", "data"), 3, "a.csv is empty; wanted a row"),
        (("odd", "--how", "abort"), 130, "interrupted"),
        *(
            (("odd", "--how", key), 5, f"{ODD} returned the key '{key}', which each document has already; give it another name")
            for key in ("version", "command")
        ),
        (("odd", "--how", "list"), 5, f"{ODD} returned list; wanted a dictionary for --json"),
        (
            ("function",),
            5,
            "command 'function' of package theirs (their_code:function) is of type function; "
            "wanted a click command: write @click.command() above the function",
        ),
        (
            ("gone",),
            5,
            "command 'gone' of package theirs (their_code:gone) cannot be imported: "
            "AttributeError: module 'their_code' has no attribute 'gone'",
        ),
        (
            ("info", "runs"),
            5,
            "command 'runs' of package theirs (their_code:best) is not used: "
            "tinyclsf has a command of that name; its author can rename it",
        ),
    ],
)
def test_what_goes_wrong_is_a_sentence(cli: Any, words: tuple[str, ...], code: int, message: str) -> None:
    result = cli(*words, "--json")
    assert result.code == code
    assert (result.document["error"]["exit_code"], result.document["error"]["message"]) == (code, message)
    assert "Traceback" not in result.err
    assert cli("list").code == 0


def test_a_traceback_is_shown_where_it_is_asked_for(cli: Any) -> None:
    assert "in convert\n" in cli("odd", "--number", "3", "--debug").err


HELPED = r'''
import click

@click.command()
def top():
    """Find it.

    \b
    top runs
    \f
    Inside.
    """
'''


def test_info_shows_the_help_of_a_command_without_clicks_marks(cli: Any, install: Install) -> None:
    install("tops", HELPED, module="top_code", commands={"top": "top_code:top"})
    assert cli("info", "top").out.splitlines()[1:4] == ["  Find it.", "", "  top runs"]
    assert "Inside" not in cli("info", "top").out


def test_an_error_cannot_steer_the_terminal(cli: Any) -> None:
    assert cli("odd", "--how", "tip").err == "imported\nerror: no\\x1brun\ntip: try a\\x1b]0;x\n"


def test_an_exit_code_of_its_own_is_kept(cli: Any) -> None:
    assert cli("odd", "--how", "code").code == 3


def test_a_dictionary_that_is_no_document_is_its_own_fault(cli: Any) -> None:
    message = cli("odd", "--how", "key", "--json").document["error"]["message"]
    assert message.startswith(f"{ODD} failed: TypeError: ")


def test_a_warning_is_shown_as_ours_are(cli: Any) -> None:
    assert cli("odd", "--how", "warn").err == "imported\nwarning: mind the gap\n"


@pytest.mark.parametrize(
    ("number", "code", "word"), [(int(signal.SIGINT), 130, "interrupted"), (int(signal.SIGTERM), 143, "terminated")]
)
def test_a_signal_ends_it_as_it_ends_ours(cli: Any, install: Install, number: int, code: int, word: str) -> None:
    source = f"import click, os, time\n@click.command()\ndef waits():\n    os.kill(os.getpid(), {number})\n    time.sleep(9)\n"
    install("waiting", source, module="waiting_code", commands={"waits": "waiting_code:waits"})
    result = cli("waits")
    assert (result.code, result.err) == (code, f"error: {word}\n")


def test_a_name_of_two_packages_names_both_and_others_go_on(cli: Any, install: Install) -> None:
    install("twice", "", module="twice_code", commands={"best": "twice_code:best"})
    assert (cli("best").code, cli("best").err) == (
        5,
        "error: command 'best' is registered twice, by theirs (their_code:best) and twice (twice_code:best); "
        "uninstall one of the packages\n",
    )
    assert cli("team", "play").code == 0


def test_a_misspelt_one_is_answered_with_the_nearest(cli: Any) -> None:
    result = cli("bset")
    known = ", ".join([*OWN_COMMANDS, "best", "function", "gone", "odd", "team"])
    assert result.err == f"error: there is no command 'bset'; choose one of {known}\ntip: did you mean 'best'?\n"


def test_info_tells_of_one(cli: Any) -> None:
    assert cli("info", "best").out.splitlines() == [
        "command best (their_code:best, theirs 1.0)",
        "  Print the best run.",
        "",
        "  Of all.",
        "options",
        "  --runs  path  default runs",
        "  names   text  default none",
    ]
    (found,) = cli("info", "odd", "--json").document["plugins"]
    assert found["options"][0] == {"name": "--number", "type": "number", "required": False, "default": None}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("be", ["best"]),
        ("run", ["runs"]),
        ("team ", ["play"]),
        ("best --r", ["--runs"]),
        ("gone --r", []),
        ("info tea", ["team"]),
    ],
)
def test_a_shell_completes_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, offered: list[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", f"tinyclsf {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" "))))
    monkeypatch.setenv("_TINYCLSF_COMPLETE", "bash_complete")
    with pytest.raises(SystemExit):
        program.main([], prog_name="tinyclsf")
    assert capsys.readouterr().out.split() == [f"plain,{each}" for each in offered]
