"""What a person does first, on a Windows that is made of this system: see `support/as_windows.py` for what that is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.read_one_by_one import LAZY

FIT = ["fit", "lenet", "--data", "image-folder", "--data-dir", "photos", "-d", "size=16", "-d", "channels=1", "--epochs", "3"]
FIT += ["--batch-size", "4", "--progress", "none"]
PROGRAM = f"""
import signal, sys
from tests.support.as_windows import become
become()
import tinyclsf.machine.locks
from tinyclsf.cli.app import main
from tinyclsf.trainer import Trainer

assert tinyclsf.machine.locks.msvcrt is sys.modules["msvcrt"]
train_batch = Trainer._train_batch

coming = {{(2, 3): signal.SIGINT, (3, 2): signal.SIGBREAK}}

def interrupted(trainer, xb, yb):
    if number := coming.pop((trainer.epoch, trainer.batch), None):
        signal.raise_signal(number)
    train_batch(trainer, xb, yb)

fit = {FIT!r}
Trainer._train_batch = interrupted
resume = ["fit", "--resume", "stopped", "--progress", "none"]
codes = [main(["list"]), main([*fit, "--run", "stopped"]), main(resume), main(resume)]
codes += [main([*fit, "--run", "aux"]), main(["runs"])]
codes += [main(["evaluate", "stopped"]), main(["predict", "stopped", "photos"])]
print(*codes, file=sys.stderr)
"""


@pytest.fixture
def photos(tmp_path: Path) -> None:
    for kind, tone in (("Katze \u732b", 60), ("dog", 190)):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (18, 20), tone + number).save(tmp_path / "photos" / kind / f"{number}.png")


@pytest.mark.stress
@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
@pytest.mark.usefixtures("photos")
def test_windows_trains_stops_resumes_and_predicts_as_here(root: Path, tmp_path: Path, cli: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "", "OMP_NUM_THREADS": "1", "TINYCLSF_CACHE": str(tmp_path / "kept")},
        capture_output=True,
        encoding="cp1252",
        timeout=120,
        check=True,
    )
    *said, codes = done.stderr.splitlines()
    assert codes == "0 130 129 0 2 0 0 0"
    assert "error: run name 'aux' cannot be used; Windows does not allow it, so choose another" in said
    assert "Katze \\u732b" in done.stdout
    assert cli(*FIT, "--run", "here").code == 0
    assert Path("runs/stopped/model.safetensors").read_bytes() == Path("runs/here/model.safetensors").read_bytes()


LAZILY = ["fit", "mnist-logistic", "--data", "lazy", "--epochs", "2", "--batch-size", "4", "--progress", "none"]
SPAWNED = f"""
import multiprocessing, sys
from tinyclsf.cli.app import main

multiprocessing.set_start_method("spawn")
sys.exit(main({[*LAZILY, "--run", "spawned"]!r}))
"""


@pytest.mark.stress
def test_processes_that_are_spawned_load_as_those_that_are_forked(
    root: Path, tmp_path: Path, cli: Any, install: Callable[..., None]
) -> None:
    # Windows and macOS can only spawn: what a loader's processes are given has to be pickled.
    install("late", LAZY, module="lazily", datasets={"lazy": "lazily:lazy"})
    path = os.pathsep.join(map(str, (root, tmp_path / "late")))
    subprocess.run([sys.executable, "-c", SPAWNED], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=True)
    assert cli(*LAZILY, "--run", "forked").code == 0
    assert Path("runs/spawned/model.safetensors").read_bytes() == Path("runs/forked/model.safetensors").read_bytes()
