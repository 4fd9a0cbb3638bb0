"""The epochs that a run wrote down, read back: torn lines, odd values at every place, and files that nobody may read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages import message
from tests.support.runs import write_rows
from tinyclsf.errors import ModelFileError
from tinyclsf.metrics import Epoch
from tinyclsf.runs.epochs import read_history

ONE, TWO = Epoch(1, 0.9, 0.8, 0.5, 1.0), Epoch(2, 0.7, 0.6, None, 1.0)
ODD: list[Any] = [None, True, -1, 2, 1.5, float("nan"), float("inf"), 10**400, "x", [], [0.5], {}]


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    write_rows(tmp_path, ONE, TWO, ONE._replace(seconds=3.0))
    assert read_history(tmp_path) == [ONE._replace(seconds=3.0), TWO]  # of one that was trained again the last line


@pytest.mark.parametrize("torn", ["{", '{"epoch": 3, "train_loss": 0.5, "valid', "3", "\udcff"], ids=ascii)
def test_a_last_line_that_is_torn_is_left_out(tmp_path: Path, torn: str) -> None:
    path = write_rows(tmp_path, ONE, TWO)
    path.write_bytes(path.read_bytes() + torn.encode(errors="surrogateescape"))
    assert read_history(tmp_path) == [ONE, TWO]
    path.write_bytes(path.read_bytes() + b"\n")
    sentence = f"{path} has no epoch in line 3; tinyclsf fit --resume {tmp_path} writes it anew"
    assert message(lambda: read_history(tmp_path), ModelFileError) == sentence


@pytest.mark.parametrize("name", Epoch._fields)
def test_a_row_of_odd_values_is_no_epoch(tmp_path: Path, name: str) -> None:
    losses = [-1, 2, 1.5]
    right: dict[str, list[Any]] = {"train_loss": losses, "valid_loss": losses, "seconds": [2, 1.5], "epoch": [2]}
    right["valid_accuracy"] = [None]
    for value in ODD:
        path = write_rows(tmp_path, ONE)
        path.write_text(json.dumps({**ONE._asdict(), name: value}) + "\n")
        if any(value is each or (value == each and type(value) is type(each)) for each in right[name]):
            assert read_history(tmp_path) == [Epoch(**{**ONE._asdict(), name: value})]
        else:
            assert "has no epoch in line 1;" in message(lambda: read_history(tmp_path), ModelFileError)


def test_only_a_file_that_is_missing_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    sentence = f"cannot read {path}: {{}}; wanted the epochs of a run"
    assert message(lambda: read_history(tmp_path), ModelFileError) == sentence.format("Is a directory")
    path.rmdir()
    path.symlink_to("gone")
    assert message(lambda: read_history(tmp_path), ModelFileError) == sentence.format("No such file or directory")
