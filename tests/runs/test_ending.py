"""How a run ended, written and read back: odd values at every place, and an outline that holds as long as the files do."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages import message
from tests.support.runs import write_run
from tinyclsf.errors import ModelFileError, StorageError
from tinyclsf.metrics import Epoch, Score
from tinyclsf.runs.ending import Ending, Outline, clear_state, read_ending, write_state

SCORE = Score("test", 8, 1.0, 0.5, (0.25, 0.75))
EPOCH = Epoch(1, 0.9, 0.8, 0.5, 1.0)
OUTLINE = Outline("net", "digits", 1, 5, EPOCH, "2026-01-02T03:04:05+01:00")
ODD: list[Any] = [None, True, -1, 2, 1.5, float("nan"), float("inf"), 10**400, "x", [], [0.5], {}]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = {"model": {"name": "net"}, "data": {"name": "digits"}, "settings": {"epochs": 5}, "created": OUTLINE.created}
    return write_run(tmp_path / "run", config, [EPOCH], state="done", held_out=SCORE)


def test_what_was_written_reads_back(run: Path, tmp_path: Path) -> None:
    assert read_ending(tmp_path) is None
    assert read_ending(run) == Ending("done", None, SCORE, OUTLINE)
    write_state(run, "failed", error="the loss is nan")
    assert read_ending(run) == Ending("failed", "the loss is nan", None, OUTLINE)
    (run / "metrics.jsonl").unlink()
    write_state(run, "stopped")
    assert read_ending(run) == Ending("stopped", None, None, OUTLINE._replace(epochs_done=0, best=None))
    (run / "config.json").write_text("{}")
    write_state(run, "stopped")
    assert read_ending(run) == Ending("stopped", None, None, Outline(None, None, 0, None, None, None))


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_the_outline_of_files_that_have_changed_is_not_used(run: Path, name: str) -> None:
    (run / name).write_bytes((run / name).read_bytes() + b"\n")
    assert read_ending(run) == Ending("done", None, SCORE)
    (run / name).unlink()
    assert read_ending(run) == Ending("done", None, SCORE)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_a_run_whose_files_are_broken_ends_without_an_outline(run: Path, name: str) -> None:
    (run / name).write_bytes(b"[]\n")
    write_state(run, "failed", error="the disk is full")
    assert read_ending(run) == Ending("failed", "the disk is full", None)


@pytest.mark.parametrize(
    ("key", "right"),
    [
        ("model", [None, "x"]),
        ("data", [None, "x"]),
        ("epochs_done", [2]),
        ("epochs", [None, 2]),
        ("best", []),
        ("created", [None, "x"]),
        ("sizes", []),
        ("", []),
    ],
)
def test_an_outline_of_odd_values_is_none(run: Path, key: str, right: list[Any]) -> None:
    state = json.loads((run / "state.json").read_text())
    for value in ODD:
        outline = {**state["outline"], key: value} if key else value
        (run / "state.json").write_text(json.dumps({**state, "outline": outline}))
        ending = read_ending(run)
        assert ending is not None
        is_right = any(value is each or (value == each and type(value) is type(each)) for each in right)
        assert ending.outline == (OUTLINE._replace(**{key: value}) if is_right else None)


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


def test_only_a_file_that_is_missing_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    sentence = f"cannot read {path}: {{}}; wanted the end of a run"
    assert message(lambda: read_ending(tmp_path), ModelFileError) == sentence.format("Is a directory")
    path.rmdir()
    path.symlink_to("gone")
    assert message(lambda: read_ending(tmp_path), ModelFileError) == sentence.format("No such file or directory")


def test_text_that_could_not_be_written_again_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"state": "failed", "error": "\\ud800"}')
    assert message(lambda: read_ending(tmp_path), ModelFileError).startswith(f"{path} is not JSON ('utf-8' codec can't encode")
    path.write_text("[" * 100_000)
    sentence = f"{path} is not JSON (it is nested too deep); the file is broken or not a run's"
    assert message(lambda: read_ending(tmp_path), ModelFileError) == sentence


def test_state_reads_back_with_the_local_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = {"split": "test", "images": 8, "loss": 1.5, "accuracy": 0.5, "interval": [0.25, 0.75]}
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "IST-5:30")
        time.tzset()
        write_state(tmp_path, "failed", error="größer als 1", held_out=Score("test", 8, 1.5, 0.5, (0.25, 0.75)))
    time.tzset()
    state = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))
    ended = state.pop("ended")
    assert state == {"version": 1, "state": "failed", "error": "größer als 1", "held_out": held_out, "outline": None}
    assert len(ended) == len("2026-01-02T03:04:05+05:30")
    assert ended.endswith("+05:30")
    assert abs(datetime.fromisoformat(ended).timestamp() - time.time()) < 5
    write_state(tmp_path, "done")
    state = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))
    assert (state["state"], state["error"], state["held_out"]) == ("done", None, None)


def test_a_state_is_cleared_whether_there_is_one_or_not(tmp_path: Path) -> None:
    write_state(tmp_path, "stopped")
    clear_state(tmp_path)
    clear_state(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StorageError) as error:
        clear_state(tmp_path)
    path = tmp_path / "state.json"
    assert str(error.value) == f"cannot remove {path}: Is a directory; make its folder one that can be written"
