"""Paths that are no UTF-8, as file systems of Linux allow them: refused before any data is read, or written as escapes."""

from __future__ import annotations

import json
import os
import subprocess
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


def test_a_locale_without_utf_8_has_escapes(tmp_path: Path) -> None:
    (tmp_path / "runs" / "한국").mkdir(parents=True)
    (tmp_path / "runs" / "한국" / "config.json").write_text("{}")
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for words, code in ((("runs", "--json"), 0), (("fit", "한국"), 2)):
        command = [sys.executable, "-m", "tinyclsf", *words]
        found = subprocess.run(command, cwd=tmp_path, env=os.environ | plain, capture_output=True, check=False)
        assert found.returncode == code, found.stderr
        assert rb"\udced\udc95\udc9c\udcea\udcb5\udcad" in (found.stdout if code == 0 else found.stderr)
