"""What a run wrote down of how it went, read back: torn lines, odd values at every place, and files that nobody may read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages import message
from tests.support.runs import write_rows
from tinyclsf.errors import ModelFileError
from tinyclsf.metrics import Epoch, Score
from tinyclsf.runs.folder import write_state
from tinyclsf.runs.records import Ending, read_ending, read_history

ONE, TWO = Epoch(1, 0.9, 0.8, 0.5, 1.0), Epoch(2, 0.7, 0.6, None, 1.0)
SCORE = Score("test", 8, 1.0, 0.5, (0.25, 0.75))
ODD: list[Any] = [None, True, -1, 2, 1.5, float("nan"), float("inf"), 10**400, "x", [], [0.5], {}]


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    assert (read_history(tmp_path), read_ending(tmp_path)) == ([], None)
    write_rows(tmp_path, ONE, TWO, ONE._replace(seconds=3.0))
    assert read_history(tmp_path) == [ONE._replace(seconds=3.0), TWO]  # of one that was trained again the last line
    write_state(tmp_path, "failed", error="the loss is nan", held_out=SCORE)
    assert read_ending(tmp_path) == Ending("failed", "the loss is nan", SCORE)


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


@pytest.mark.parametrize(
    ("place", "right", "wanted"),
    [
        (["state"], [], "done, stopped or failed"),
        (["error"], [None, "x"], "text or null"),
        (["held_out"], [None], "an object or null"),
        (["held_out", "split"], [], "test or valid"),
        (["held_out", "images"], [2], "a whole number of at least 1"),
        (["held_out", "loss"], [-1, 2, 1.5], "a finite number"),
        (["held_out", "accuracy"], [], "a number from 0 to 1"),
        (["held_out", "interval"], [], "two numbers from 0 to 1"),
    ],
)
def test_a_state_of_odd_values_is_said(tmp_path: Path, place: list[str], right: list[Any], wanted: str) -> None:
    path = tmp_path / "state.json"
    for value in ODD:
        write_state(tmp_path, "done", held_out=SCORE)
        state = json.loads(path.read_text())
        inside = state if len(place) == 1 else state[place[0]]
        inside[place[-1]] = value
        path.write_text(json.dumps(state))
        if any(value is each or (value == each and type(value) is type(each)) for each in right):
            read_ending(tmp_path)
            continue
        what = "held_out.split" if (place, value) == (["held_out"], {}) else ".".join(place)
        found, words = ("null", "test or valid") if what != ".".join(place) else (json.dumps(value), wanted)
        shown = found if len(found) <= 40 else found[:40] + "..."
        sentence = f"{path}: {what} is {shown}; wanted {words}; tinyclsf fit --resume {tmp_path} writes it anew"
        assert message(lambda: read_ending(tmp_path), ModelFileError) == sentence


@pytest.mark.parametrize(("name", "read"), [("state.json", read_ending), ("metrics.jsonl", read_history)])
def test_only_a_file_that_is_missing_is_absent(tmp_path: Path, name: str, read: Callable[[Path], Any]) -> None:
    (tmp_path / name).mkdir()
    what = "the end" if name == "state.json" else "the epochs"
    sentence = f"cannot read {tmp_path / name}: {{}}; wanted {what} of a run"
    assert message(lambda: read(tmp_path), ModelFileError) == sentence.format("Is a directory")
    (tmp_path / name).rmdir()
    (tmp_path / name).symlink_to("gone")
    assert message(lambda: read(tmp_path), ModelFileError) == sentence.format("No such file or directory")


def test_text_that_could_not_be_written_again_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"state": "failed", "error": "\\ud800"}')
    assert message(lambda: read_ending(tmp_path), ModelFileError).startswith(f"{path} is not JSON ('utf-8' codec can't encode")
    path.write_text("[" * 100_000)
    sentence = f"{path} is not JSON (it is nested too deep); the file is broken or not a run's"
    assert message(lambda: read_ending(tmp_path), ModelFileError) == sentence
