"""The list of runs: states of real processes, the best epoch by hand, and broken folders that break nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import write_run
from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.metrics import Epoch, Score
from tinyclsf.runs import listing
from tinyclsf.runs.config_file import read_run_config
from tinyclsf.runs.ending import write_state
from tinyclsf.runs.folder import occupied
from tinyclsf.runs.listing import describe_run, find_run, list_runs, run_names

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
    settings = {"epochs": {"value": 5, "source": "--epochs"}, "lr": {"value": 0.1, "source": "recipe"}}
    config = {"version": 1, "model": {"name": "net", "options": {}}, "data": {"name": "digits", "options": {}}}
    return write_run(folder, {**config, "settings": settings, **({"created": created} if created else {})}, rows)


def test_a_run_is_what_its_files_say(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "first", ONE, TWO, created="2026-01-02T03:04:05+01:00")
    held_out = Score("test", 8, 1.0, 0.5, (0.2, 0.8))
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


def test_of_a_run_that_has_ended_one_file_is_read_if_the_others_are_as_they_were(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "first", ONE, TWO, created="2026-01-02T03:04:05+01:00")
    write_state(folder, "done", held_out=Score("test", 8, 1.0, 0.5, (0.2, 0.8)))
    listed = list_runs(tmp_path)
    assert listed == [describe_run(folder)]
    rows, size = (folder / "metrics.jsonl").read_text(), (folder / "config.json").stat().st_size
    (folder / "config.json").write_bytes(b"x" * size)
    assert list_runs(tmp_path) == listed
    (folder / "metrics.jsonl").write_text(rows * 2)
    assert [run.state for run in list_runs(tmp_path)] == ["broken"]


def test_the_names_of_runs_are_those_of_their_folders(tmp_path: Path) -> None:
    make_run(tmp_path / "b")
    (make_run(tmp_path / "a") / "config.json").write_text("broken")
    (tmp_path / "empty").mkdir()
    assert run_names(tmp_path) == ["a", "b"]
    assert run_names(tmp_path / "nowhere") == []


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
        (hold(b""), "config file {} is not JSON (Expecting value: line 1 column 1 (char 0)); wanted a run's config.json"),
        (hold(b'["a"]'), "config file {} is a list; wanted an object"),
        (Path.mkdir, "cannot read config file {}: Is a directory; wanted a run's config.json"),
        (
            lambda path: path.symlink_to("x"),
            "cannot read config file {}: No such file or directory; wanted a run's config.json",
        ),
    ],
    ids=["empty", "list", "folder", "dangling"],
)
def test_a_broken_run_breaks_nothing_else(tmp_path: Path, make: Callable[[Path], Any], message: str) -> None:
    make_run(tmp_path / "whole", ONE, created="2026-01-02T03:04:05+01:00")
    folder = make_run(tmp_path / "broken", ONE, TWO)
    write_state(folder, "done")
    (folder / "config.json").unlink()
    make(folder / "config.json")
    broken, whole = list_runs(tmp_path)
    expected = message.format(folder / "config.json")
    assert (whole.name, whole.state, whole.error) == ("whole", "stopped", None)
    assert broken == ("broken", folder, None, None, "broken", None, None, None, None, None, expected)
    with pytest.raises(ModelFileError) as error:
        read_run_config(folder)
    assert str(error.value) == expected


def test_what_the_files_do_not_say_is_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "first")
    (folder / "config.json").write_text("{}")
    (folder / "metrics.jsonl").unlink()
    [run] = list_runs(tmp_path)
    assert run == ("first", folder, None, None, "stopped", 0, None, None, None, None, None)


def test_settings_may_be_plain_values(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "first")
    (folder / "config.json").write_text('{"model": "net", "data": "digits", "settings": {"epochs": 5}}')
    [run] = list_runs(tmp_path)
    assert (run.model, run.data, run.epochs) == ("net", "digits", 5)


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


def test_the_run_that_a_person_is_in_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "first")
    monkeypatch.chdir(tmp_path / "first")
    assert find_run(Path("runs"), ".") == tmp_path / "first"
