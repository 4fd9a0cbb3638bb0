"""Commands as each system's shell reads them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tinyclsf.machine.shell import shell_text


def test_words_are_quoted_where_the_shell_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["tinyclsf", "report", "my runs/r'1", "$HOME"]
    assert shlex.split(shell_text(*words)) == words
    assert shell_text("tinyclsf", Path("runs/r1")) == "tinyclsf runs/r1"
    monkeypatch.setattr(sys, "platform", "win32")  # whose cmd.exe takes ' as a letter
    assert shell_text("tinyclsf", "report", "runs\\r1", "my runs\\r1") == 'tinyclsf report runs\\r1 "my runs\\r1"'
