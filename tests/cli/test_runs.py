"""`tinyclsf runs`: the whole table and document for a fixed set of folders, and nothing heavy imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import write_run
from tinyclsf.metrics import Epoch, Score
from tinyclsf.runs.ending import write_state
from tinyclsf.runs.folder import occupied

HELD_OUT = Score("test", 360, 0.125, 0.975, (0.95, 0.99))
LOOK = """
import sys
from tinyclsf.cli.app import main

code = main(["runs", "--runs", sys.argv[1]])
print(code, sorted({"torch", "numpy", "rich", "safetensors"} & set(sys.modules)))
"""


def make_run(name: str, model: str, data: str, day: int, *accuracies: float | None, root: str = "runs") -> Path:
    settings = {"epochs": {"value": 5, "source": "recipe"}}
    created = f"2026-01-{day:02}T03:04:05+01:00"
    config = {"created": created, "model": {"name": model}, "data": {"name": data}, "settings": settings}
    rows = [Epoch(epoch, 1.0, 0.5, accuracy, 2.0) for epoch, accuracy in enumerate(accuracies, 1)]
    return write_run(Path(root, name), config, rows or None)


def test_the_table_has_a_line_a_run(cli: Any) -> None:
    write_state(make_run("b", "mnist-cnn", "digits", 3, 0.5, 0.97216, 0.9, 0.9, 0.9), "done", held_out=HELD_OUT)
    write_state(make_run("z-first", "vgg", "cifar10", 1, None), "stopped", held_out=HELD_OUT._replace(split="valid"))
    write_state(make_run("nan", "mlp", "digits", 4), "failed", error="the loss is nan in step 3")
    make_run("killed", "mlp", "digits", 5, 0.25)
    broken = make_run("broken", "mlp", "digits", 2, 1.0)
    (broken / "config.json").write_text("")
    with occupied(make_run("longer-than-others", "lenet", "fashion-mnist", 6, 0.125, 0.25, 0.25)):
        result = cli("runs")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "run                 state    model      data           epochs  best valid accuracy  test     started\n"
        "broken              broken   -          -              -       -                    -        -\n"
        "z-first             stopped  vgg        cifar10        1/5     - in epoch 1         -        2026-01-01 03:04\n"
        "b                   done     mnist-cnn  digits         5/5     97.22 % in epoch 2   97.50 %  2026-01-03 03:04\n"
        "nan                 failed   mlp        digits         0/5     -                    -        2026-01-04 03:04\n"
        "killed              stopped  mlp        digits         1/5     25.00 % in epoch 1   -        2026-01-05 03:04\n"
        "longer-than-others  running  lenet      fashion-mnist  3/5     25.00 % in epoch 2   -        2026-01-06 03:04\n"
        "broken: config file runs/broken/config.json is not JSON (Expecting value: line 1 column 1 (char 0)); "
        "wanted a run's config.json\n"
        "nan: the loss is nan in step 3\n"
    )


def test_the_runs_as_json_are_one_document(cli: Any) -> None:
    write_state(make_run("first", "mnist-cnn", "digits", 1, 0.5, 0.75), "done", held_out=HELD_OUT)
    make_run("second", "mlp", "digits", 2)
    result = cli("runs", "--json")
    assert (result.code, result.err) == (0, "")
    first = {
        "name": "first",
        "path": "runs/first",
        "model": "mnist-cnn",
        "data": "digits",
        "state": "done",
        "epochs_done": 2,
        "epochs": 5,
        "best": {"epoch": 2, "train_loss": 1.0, "valid_loss": 0.5, "valid_accuracy": 0.75, "seconds": 2.0},
        "held_out": {"split": "test", "images": 360, "loss": 0.125, "accuracy": 0.975, "interval": [0.95, 0.99]},
        "created": "2026-01-01T03:04:05+01:00",
        "error": None,
    }
    second = {**first, "name": "second", "path": "runs/second", "model": "mlp", "state": "stopped", "epochs_done": 0}
    second |= {"best": None, "held_out": None, "created": "2026-01-02T03:04:05+01:00"}
    assert result.document == {"version": 1, "command": "runs", "runs": [first, second]}


def test_no_runs(cli: Any) -> None:
    result = cli("runs")
    assert (result.code, result.err) == (0, "")
    assert result.out == "there are no runs in runs; 'tinyclsf fit mnist-cnn' makes one\n"
    assert cli("runs", "--json").document == {"version": 1, "command": "runs", "runs": []}
    assert not Path("runs").exists()


def test_where_runs_are_is_an_option_or_a_variable(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("by-option", "mlp", "digits", 1, root="here")
    make_run("by-variable", "mlp", "digits", 1, root="there")
    monkeypatch.setenv("TINYCLSF_RUNS", "there")
    assert [run["path"] for run in cli("runs", "--json").document["runs"]] == ["there/by-variable"]
    assert [run["path"] for run in cli("runs", "--json", "--runs", "here").document["runs"]] == ["here/by-option"]


def test_runs_in_a_file_are_an_error(cli: Any) -> None:
    Path("runs").write_text("")
    message = "cannot look for runs in runs: Not a directory; choose another --runs"
    result = cli("runs")
    assert (result.code, result.out, result.err) == (2, "", f"error: {message}\n")
    error = {"kind": "configuration", "exit_code": 2, "message": message, "tip": None}
    assert cli("runs", "--json").document == {"version": 1, "error": error}


def test_to_list_runs_imports_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with occupied(make_run("first", "mlp", "digits", 1, 0.5)):
        found = subprocess.run([sys.executable, "-c", LOOK, "runs"], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    header, run, last = found.stdout.splitlines()
    assert (header.split()[:2], run.split()[:2], last) == (["run", "state"], ["first", "running"], "0 []")
