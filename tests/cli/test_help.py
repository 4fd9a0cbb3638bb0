"""Every help text fits a page, and every example in it does what it says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import pytest
from PIL import Image

from tests.support.commands import Cli
from tinyclsf.cli.app import cli as program, main

PAGE = 36  # lines; of `fit`, whose options are in sections, a page holds one or two of these
NAMES = ["", *program.commands]


def help_of(name: str) -> list[str]:
    command = program.commands[name] if name else program
    parent = click.Context(program, info_name="tinyclsf")
    context = click.Context(command, parent, info_name=name) if name else parent
    context.terminal_width = 80
    return command.get_help(context).splitlines()


def examples() -> list[str]:
    found: list[str] = []
    for name in NAMES:
        lines = [line.strip() for line in help_of(name) if line.startswith("  tinyclsf ")]
        assert lines, f"the help of '{name}' has no example"
        found += [re.split(r" {3,}| > ", line)[0] for line in lines]
    once = dict.fromkeys(found)
    del once["tinyclsf fit mnist-cnn --epochs 2"]  # the README's own, which test_cli holds to its figures
    return list(once)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a person's pictures and two runs, as the examples speak of them."""
    folder = tmp_path_factory.mktemp("place")
    for kind, colour in (("cat", "orange"), ("dog", "brown")):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (60 + number, 80), colour).save(folder / "photos" / kind / f"{number}.jpg")
    small = ("-d", "train_size=640", "--epochs", "1", "--runs", str(folder / "runs"), "--progress", "none")
    for run in ("overnight", "short"):
        assert main(["fit", "mnist-cnn", *small, "--run", run]) == 0
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_a_page(name: str) -> None:
    lines = help_of(name)
    assert max(map(len, lines)) <= 80
    assert name == "fit" or len(lines) <= PAGE


def test_every_command_has_its_line_by_what_it_is_for() -> None:
    text = "\n".join(help_of(""))
    sections = re.findall(r"^([A-Z][\w ]+):\n((?:  .*\n?)+)", text, re.MULTILINE)
    assert [(title, re.findall(r"^  (\w+) ", lines, re.MULTILINE)) for title, lines in sections if title != "Options"] == [
        ("Train", ["fit", "runs"]),
        ("See what a run learned", ["evaluate", "report", "compare", "summary"]),
        ("Use it", ["predict", "export", "script"]),
        ("Before training", ["show", "check", "cache"]),
        ("Plugins", ["list", "info", "new"]),
    ]
    for command in program.commands.values():
        assert f"  {command.name} " in text
        assert str(command.short_help) in text
    columns = {len(line) - len(line[2:].partition(" ")[2].lstrip()) for _, lines in sections[1:] for line in lines.splitlines()}
    assert len(columns) == 1


# These take seconds, and have tests of their own.
SLOW = dict.fromkeys(
    (
        *("tinyclsf export overnight", "tinyclsf export overnight --to pt2 --out digits.pt2", "tinyclsf list --check"),
        *("tinyclsf summary vgg --image-shape 3,32,32 --classes 100", "tinyclsf check mnist-cnn"),
        "tinyclsf fit mnist-logistic --data mnist --optimizer adam --lr 0.001",
    ),
    pytest.mark.stress,
)


@pytest.mark.parametrize("example", [pytest.param(each, marks=SLOW.get(each, ())) for each in examples()])
def test_examples_run(example: str, place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(example)
    data = Path(os.environ.get("TINYCLSF_DATA", ""), "MNIST", "raw")
    if "mnist" in words and not data.exists():
        pytest.skip("real MNIST is not here: TINYCLSF_DATA names no folder with MNIST/raw")
    monkeypatch.chdir(place)
    result = cli(*words[1:])
    assert result.code == 0, result.err
