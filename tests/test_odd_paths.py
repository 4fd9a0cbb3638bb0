"""Paths that are no UTF-8, as file systems of Linux allow them: refused before any data is read, or written as escapes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.commands import Cli

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")

ODD = os.fsdecode(b"bad\xff")
FIT = ("fit", "linear", "-d", "train_size=640", "--epochs", "1", "--device", "cpu", "--progress", "none")


def test_runs_cannot_go_there(cli: Cli) -> None:
    found = cli(*FIT, "--runs", ODD)
    assert (found.code, found.out) == (2, "")
    assert found.err == (
        "error: runs cannot be kept in bad\\udcff: its name is not UTF-8 here, which files of safetensors need; "
        "choose another --runs, or a locale with UTF-8\n"
    )
    assert list(Path().iterdir()) == []


def test_commands_write_their_files_there(cli: Cli) -> None:
    assert cli(*FIT, "--run", "a").code == 0
    for args in (("report", "a", "--out", f"{ODD}.html"), ("script", "a", "--out", f"{ODD}.py")):
        found = cli(*args)
        assert (found.code, found.err) == (0, "")
        assert f"{ODD}.{args[-1].rpartition('.')[2]}" in os.listdir()
    os.rename("runs", ODD)
    assert cli("script", "a", "--runs", ODD, "--out", "train.py").code == 0
    compile(Path("train.py").read_text(), "train.py", "exec")


def test_documents_hold_them_as_escapes(cli: Cli) -> None:
    assert cli(*FIT, "--run", "a").code == 0
    os.rename("runs", ODD)
    found = cli("fit", "--config", f"{ODD}/a/config.json", "--run", "b", "--progress", "none")
    assert (found.code, found.err) == (0, "")
    written = json.loads(Path("runs/b/config.json").read_text())
    assert ODD in written["commands"][-1]
