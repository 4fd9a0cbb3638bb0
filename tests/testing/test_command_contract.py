"""The checks of a command: a good one passes all, and one that is broken in just one way fails just that check."""

from __future__ import annotations

import importlib

import click
import pytest

from tests.support.commands import Install
from tinyclsf.testing import ChecksFailed, check_command

HEAD = '''
import click

class Number(click.ParamType):
    name = "number"
    def convert(self, value, param, ctx): return int(value, 3)

@click.command()
@click.option("--size", default=3, help="How large it is.")
def fine(size):
    """Say hello.

    Twice
    """
    print("hello")
    return 1 / 0
'''
SILENT = '''
@click.command()
def hello():
    """Say hello."""
'''
WITH_OPTION = '''
@click.command()
@click.option({option})
def hello(**options):
    """Say hello."""
'''
GROUP = '''
@click.group()
def hello():
    """Say hello."""

@hello.command()
def twice():
    {text}
'''


def with_option(option: str) -> str:
    return WITH_OPTION.format(option=option)


# What is wrong with a command `hello`, the check that fails, and what it says.
GALLERY = {
    "a function": (
        "def hello(): pass",
        "click-command: it is of type function; wanted a click command: write @click.command() above the function",
    ),
    "not there": (
        "",
        "click-command: command 'hello' of package theirs (their_code:hello) cannot be imported: "
        "AttributeError: module 'their_code' has no attribute 'hello'",
    ),
    "no help": (
        "@click.command()\ndef hello(): pass",
        "help-text: 'hello' has no help text; wanted a sentence in its docstring",
    ),
    "half a sentence": (
        SILENT.replace("hello.", "hello"),
        "help-text: the help text of 'hello' begins with 'Say hello'; wanted a whole sentence that ends with a full stop",
    ),
    "no help below a group": (
        GROUP.format(text="pass"),
        "help-text: 'hello twice' has no help text; wanted a sentence in its docstring",
    ),
    "option without help": (
        with_option("'-s', '--size'"),
        "option-help: option --size of 'hello' has no help text; wanted help= with a sentence",
    ),
    "json of its own": (
        with_option("'--json', is_flag=True, help='As JSON.'"),
        "common-options: 'hello' has an option --json of its own; wanted none, as tinyclsf adds --json and --debug: "
        "return a dictionary, which is the document of --json",
    ),
    "help that fails": (
        "class Odd(click.Command):\n    def format_help(self, *given): 1 / 0\n" + SILENT.replace("()", "(cls=Odd)", 1),
        "help-page: 'hello --help' raises ZeroDivisionError: division by zero; "
        "wanted the page that click makes of its docstring and options",
    ),
    "no help page": (
        "class Odd(click.Command):\n    def format_help(self, *given): pass\n" + SILENT.replace("()", "(cls=Odd)", 1),
        "help-page: 'hello --help' prints no page of help; wanted the page that click makes of its docstring and options",
    ),
    "takes any option": (
        SILENT.replace("()", "(context_settings={'ignore_unknown_options': True, 'allow_extra_args': True})", 1),
        "usage-errors: 'hello --no-such-option' is no error; wanted exit code 2, so that a misspelt option does not go unseen: "
        "leave out ignore_unknown_options",
    ),
    "value that fails": (
        with_option("'--size', type=Number(), help='How large it is.'"),
        "usage-errors: 'hello --size=no-such-value' raises ValueError: invalid literal for int() with base 3: 'no-such-value'; "
        "wanted click.BadParameter, which ends with exit code 2, from what reads the value",
    ),
    "torch": (
        "from torch import nn" + SILENT,
        "import-without-torch: its module imports torch, which takes a second or more before even --help; "
        "wanted `import torch`, and what imports it, within the function (tinyclsf.plugin does not import it by itself)",
    ),
    "prints": (
        "print('hello', 3)" + SILENT,
        "silent-import: importing its module prints 'hello 3'; wanted stdout free for results: leave it out",
    ),
}


@pytest.mark.parametrize("what", GALLERY)
def test_a_command_that_is_broken_in_one_way_fails_for_that_alone(install: Install, what: str) -> None:
    code, sentence = GALLERY[what]
    install("theirs", HEAD + code, module="their_code", commands={"hello": "their_code:hello"})
    with pytest.raises(ChecksFailed) as error:
        check_command("hello")
    assert str(error.value) == f"command hello fails 1 of 9 checks\n- {sentence}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fit", "tinyclsf has a command 'fit' already, which goes before yours; wanted a name of its own"),
        ("Best_Run", "its name is 'Best_Run'; wanted lower case words with hyphens between them, as in 'best-runs'"),
    ],
)
def test_a_name_that_cannot_be_used_is_told(install: Install, name: str, sentence: str) -> None:
    install("theirs", HEAD + SILENT.replace("()", f"({name!r})", 1), module="their_code")
    with pytest.raises(ChecksFailed) as error:
        check_command(importlib.import_module("their_code").hello)
    assert str(error.value) == f"command {name} fails 1 of 9 checks\n- name: {sentence}"


def test_a_good_command_and_a_group_pass_all_and_are_not_run(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    code = HEAD + GROUP.format(text="'''Say it twice.'''\n    1 / 0")
    install("theirs", code, module="their_code", commands={"fine": "their_code:fine", "hello": "their_code:hello"})
    for name in ("fine", "hello"):
        assert repr(check_command(name)) == "9 of 9 checks passed"
    assert capsys.readouterr().out == ""


def test_a_command_has_no_options_to_be_checked_with() -> None:
    with pytest.raises(TypeError, match="check_command takes a command alone; leave out size"):
        check_command(click.Command("hello"), size=3)
