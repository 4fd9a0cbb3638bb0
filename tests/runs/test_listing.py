"""The list of runs: states of real processes, the best epoch by hand, and broken folders that break nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.metrics import Epoch
from tinyclsf.runs import listing
from tinyclsf.runs.folder import occupied, write_config, write_state
from tinyclsf.runs.listing import find_run, list_runs, read_run_config

HOLD = """
import sys, time
from pathlib import Path
from tinyclsf.runs.folder import occupied

with occupied(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
ONE, TWO, THREE = Epoch(1, 0.9, 0.8, 0.5, 1.0), Epoch(2, 0.7, 0.6, 0.75, 1.0), Epoch(3, 0.5, 0.5, 0.75, 1.0)


def make_run(folder: Path, *rows: Epoch, created: str | None = None) -> Path:
    folder.mkdir(parents=True)
    settings = {"epochs": {"value": 5, "source": "--epochs"}, "lr": {"value": 0.1, "source": "recipe"}}
    config = {"version": 1, "model": {"name": "net", "options": {}}, "data": {"name": "digits", "options": {}}}
    write_config(folder, {**config, "settings": settings, **({"created": created} if created else {})})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows))
    return folder


def test_a_run_is_what_its_files_say(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "first", ONE, TWO, created="2026-01-02T03:04:05+01:00")
    held_out = {"split": "test", "images": 8, "accuracy": 0.5, "loss": 1.0, "interval": [0.2, 0.8]}
    write_state(folder, "failed", error="the loss is nan", held_out=held_out)
    [run] = list_runs(tmp_path)
    assert run._asdict() == {
        "name": "first",
        "path": folder,
        "model": "net",
        "data": "digits",
        "state": "failed",
        "epochs_done": 2,
        "epochs": 5,
        "best": TWO,
        "held_out": held_out,
        "created": "2026-01-02T03:04:05+01:00",
        "error": "the loss is nan",
    }


def test_a_run_is_running_while_its_process_lives_and_stopped_once_that_is_killed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "first")
    [never_held] = list_runs(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            [held] = list_runs(tmp_path)
        finally:
            process.kill()
    [killed] = list_runs(tmp_path)
    assert (never_held.state, held.state, killed.state) == ("stopped", "running", "stopped")
    with occupied(folder):
        write_state(folder, "done")
        assert list_runs(tmp_path)[0].state == "done"


def test_a_run_that_ends_while_it_is_looked_at_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(folder: Path) -> bool:
        write_state(folder, "done")
        return False

    make_run(tmp_path / "first")
    monkeypatch.setattr(listing, "is_occupied", end)
    assert list_runs(tmp_path)[0].state == "done"


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([ONE, TWO, THREE], THREE),  # as accurate as the second, with a lower loss
        ([THREE, TWO, ONE], THREE),
        ([ONE, ONE._replace(epoch=2)], ONE),
        ([ONE._replace(valid_accuracy=None), TWO._replace(valid_accuracy=None)], TWO._replace(valid_accuracy=None)),
        ([], None),
    ],
)
def test_the_best_epoch(tmp_path: Path, rows: list[Epoch], best: Epoch | None) -> None:
    make_run(tmp_path / "first", *rows)
    [run] = list_runs(tmp_path)
    assert (run.best, run.epochs_done) == (best, len(rows))


@pytest.mark.parametrize(
    "torn",
    ["{", '{"epoch": 3, "train_loss": 0.5, "valid', "3", '{"epoch": 3}', "\udcff", "[" * 100_000],
    ids=lambda text: ascii(text[:12]),
)
def test_a_torn_line_is_left_out(tmp_path: Path, torn: str) -> None:
    path = make_run(tmp_path / "first", ONE, TWO) / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + torn.encode(errors="surrogateescape"))
    [run] = list_runs(tmp_path)
    assert (run.epochs_done, run.best, run.state, run.error) == (2, TWO, "stopped", None)


def test_a_row_of_values_that_are_no_numbers_is_left_out(tmp_path: Path) -> None:
    path = make_run(tmp_path / "first", ONE) / "metrics.jsonl"
    wrong: list[tuple[str, Any]] = [("epoch", float("inf")), ("valid_loss", None), ("valid_accuracy", "high"), ("seconds", [])]
    for name, value in wrong:
        path.write_text(path.read_text() + json.dumps({**TWO._asdict(), name: value}) + "\n")
    [run] = list_runs(tmp_path)
    assert (run.epochs_done, run.best) == (1, ONE)


def test_of_an_epoch_that_was_trained_again_the_last_row_counts(tmp_path: Path) -> None:
    again = TWO._replace(valid_accuracy=0.25)
    make_run(tmp_path / "first", ONE, TWO, again)
    [run] = list_runs(tmp_path)
    assert (run.epochs_done, run.best) == (2, ONE)


def test_the_oldest_run_comes_first_whatever_its_time_zone(tmp_path: Path) -> None:
    made = {
        "c": "2026-01-02T03:00:00+02:00",
        "b": "2026-01-02T02:00:00+00:00",
        "a": "2026-01-02T02:00:00+00:00",
        "y": "2026-01-02T01:59:59+00:00",
        "z": "yesterday",
        "x": None,
    }
    for name, created in made.items():
        make_run(tmp_path / name, created=created)
    assert [run.name for run in list_runs(tmp_path)] == ["x", "z", "c", "y", "a", "b"]


def test_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    make_run(tmp_path / "first")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert [run.name for run in list_runs(tmp_path)] == ["first"]
    assert list_runs(tmp_path / "nowhere") == []
    with pytest.raises(ConfigurationError) as error:
        list_runs(tmp_path / "file")
    assert str(error.value) == f"cannot look for runs in {tmp_path / 'file'}: Not a directory; choose another --runs"


def hold(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (hold(b""), "{} is not JSON (Expecting value: line 1 column 1 (char 0)); the file is broken or not a run's"),
        (hold(b'["a"]'), "{} holds a list; wanted an object with the settings of a run"),
        (Path.mkdir, "cannot read {}: Is a directory; wanted the settings of a run"),
        (lambda path: path.symlink_to("gone"), "cannot read {}: No such file or directory; wanted the settings of a run"),
    ],
    ids=["empty", "list", "folder", "dangling"],
)
def test_a_broken_run_breaks_nothing_else(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    make_run(tmp_path / "whole", ONE, created="2026-01-02T03:04:05+01:00")
    folder = make_run(tmp_path / "broken", ONE, TWO)
    write_state(folder, "done", held_out={"accuracy": 0.5})
    (folder / "config.json").unlink()
    make(folder / "config.json")
    broken, whole = list_runs(tmp_path)
    expected = message.format(folder / "config.json")
    assert (whole.name, whole.state, whole.error) == ("whole", "stopped", None)
    assert (broken.name, broken.state, broken.error) == ("broken", "broken", expected)
    assert (broken.model, broken.data, broken.epochs, broken.created) == (None, None, None, None)
    assert (broken.epochs_done, broken.best, broken.held_out) == (2, TWO, {"accuracy": 0.5})
    with pytest.raises(ModelFileError) as error:
        read_run_config(folder)
    assert str(error.value) == expected


@pytest.mark.parametrize("content", ["{}", '{"model": "net", "data": {"name": 3}, "settings": {"epochs": 5}, "created": 7}'])
@pytest.mark.parametrize("state", ["", "[]", '{"state": "gone"}', '{"state": ["done"]}'])
def test_what_the_files_do_not_say_is_none(tmp_path: Path, content: str, state: str) -> None:
    folder = make_run(tmp_path / "first")
    (folder / "config.json").write_text(content)
    (folder / "metrics.jsonl").unlink()
    (folder / "state.json").write_text(state)
    [run] = list_runs(tmp_path)
    assert run == ("first", folder, None, None, "stopped", 0, None, None, None, None, None)


def test_a_config_is_read_as_it_is(tmp_path: Path) -> None:
    config = {"version": 9, "größe": [1, None]}
    write_config(tmp_path, config)
    assert read_run_config(tmp_path) == config


def test_a_run_is_found_by_its_name_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("runs")
    make_run(root / "first")
    make_run(root / "a name")
    make_run(tmp_path / "elsewhere")
    make_run(tmp_path / "first")
    (root / "second").mkdir()
    make_run(tmp_path / "second")
    assert find_run(root, "first") == root / "first"  # and not the folder of that name here
    assert find_run(root, "./first") == Path("first")
    assert find_run(root, "a name") == root / "a name"
    assert find_run(root, "elsewhere") == Path("elsewhere")
    assert find_run(root, "second") == Path("second")
    assert find_run(root, "runs/first") == root / "first"
    assert find_run(root, str(tmp_path / "elsewhere")) == tmp_path / "elsewhere"
    assert find_run(Path("nowhere"), "runs/first") == root / "first"


def test_a_name_that_leads_out_of_the_root_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "outside")
    (tmp_path / "runs").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        find_run(Path("runs"), "../outside")
    assert str(error.value) == "there is no run '../outside' in runs; 'tinyclsf runs' shows all"
    monkeypatch.chdir(tmp_path / "here")
    assert find_run(Path("../runs"), "../outside") == Path("../outside")


@pytest.mark.parametrize(
    ("name", "tip"),
    [
        ("frist", "did you mean 'first'?"),
        ("runs/frist", "did you mean 'first'?"),
        ("half", None),
        ("", None),
        ("..x", None),
        ("a\0b\n", None),
        ("q" * 300, None),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_run_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tip: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs/first"))
    Path("runs/halves").mkdir()  # not a run, so never a tip
    with pytest.raises(ConfigurationError) as error:
        find_run(Path("runs"), name)
    assert str(error.value) == f"there is no run {name!r} in runs; 'tinyclsf runs' shows all"
    assert error.value.tip == tip


@pytest.mark.parametrize(("name", "folder"), [("half", "runs/half"), ("./other", "other"), (".", ".")])
def test_a_folder_that_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/half").mkdir(parents=True)
    Path("other").mkdir()
    with pytest.raises(ConfigurationError) as error:
        find_run(Path("runs"), name)
    assert str(error.value) == f"{folder} has no config.json, so it is no run; 'tinyclsf runs' shows all"
