"""What every command's document is made of."""

from __future__ import annotations

import json
import math
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tinyclsf.cli.console import Watch
from tinyclsf.cli.output import Output, columns, document
from tinyclsf.machine.json_text import json_text
from tinyclsf.metrics import Epoch


def test_a_document_is_what_json_can_hold() -> None:
    row = Epoch(1, math.nan, math.inf, None, 2.0)
    found = document("x", row=row, rows=(row,), path=Path("a/b"), map={"deep": [(1, True, "text", Path("c"))]}, kind=int)
    shown = {"epoch": 1, "train_loss": None, "valid_loss": None, "valid_accuracy": None, "seconds": 2.0}
    assert json.loads(json_text(found)) == {
        "version": 1,
        "command": "x",
        "row": shown,
        "rows": [shown],
        "path": "a/b",
        "map": {"deep": [[1, True, "text", "c"]]},
        "kind": "<class 'int'>",
    }


def test_too_little_memory_for_pytorch_is_said(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tinyclsf", "summary", "linear"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    assert (found.returncode, found.stdout) == (6, "")
    assert found.stderr == (
        "error: the memory that may be used is too small for PyTorch "
        "(libtorch_cpu.so: failed to map segment from shared object); "
        "raise the limit that 'ulimit -v' shows, or close other programs\n"
    )


def test_no_text_steers_a_terminal_but_the_content_of_a_file_is_as_it_is() -> None:
    text = "red \x1b[31m\nturned \u202e\r\n\u05d0\u4e2d"
    assert Output(text, {}).text == "red \\x1b[31m\nturned \\u202e\\r\n\u05d0\u4e2d"
    assert Output(text, {}, exact=True).text == text


def test_columns_are_as_wide_as_what_is_shown() -> None:
    assert columns([("a\tb", "1"), ("abcde", "2")], indent="") == ["a\\tb   1", "abcde  2"]


def test_no_warning_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Watch("none").warn("red \x1b[31m")
    assert capsys.readouterr().err == "warning: red \\x1b[31m\n"


def test_a_bar_follows_work_that_is_counted_in_other_units_than_at_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("tinyclsf.progress.display._REFRESH_SECONDS", 0)
    with Watch("bar") as watch:
        for done, total in ((0, 1), (30, 100), (1, 1)):
            watch.work("downloading", done, total)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert [*dict.fromkeys(re.findall(r" (\d+/\d+) ", shown))] == ["0/1", "30/100"]
    assert shown.splitlines()[-1] == "downloading: done in 0.0 s"
