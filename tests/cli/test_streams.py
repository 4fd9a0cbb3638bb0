"""stdout is for what a command found alone, and neither stream ends a command when nobody reads it or it cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import write_package
from tests.support.forking import Forks

THEIRS = """
import atexit, ctypes, os

print("import")
os.write(1, b"descriptor 1\\n")
ctypes.CDLL(None).puts(b"in a buffer of the C library")
os.system("echo another process")
atexit.register(print, "at exit")

def talks(image_shape, num_classes):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes))
"""
LEAVES = """
import os, signal
from tinyclsf.plugin import Callback

class Leaves(Callback):
    '''Has the reader of stderr go away, and with it the person, by the signal that $HALT names.'''

    def __init__(self, folder, model_name):
        self.batches = 0

    def on_batch_end(self, trainer):
        self.batches += 1
        if self.batches == 3:
            os.close(int(os.environ["READER"]))
            if "HALT" in os.environ:
                os.kill(os.getpid(), getattr(signal, os.environ["HALT"]))
"""
# `tinyclsf` with a descriptor or two made into something else.
PROGRAM = """
import os, sys
{}
sys.argv[0] = "tinyclsf"
from tinyclsf.cli.app import main
sys.exit(main())
"""
FULL = "os.dup2(os.open('/dev/full', os.O_WRONLY), {})"
PIPE = "reader, writer = os.pipe(); os.dup2(writer, 1); os.dup2(writer, 2); os.environ['READER'] = str(reader)"
FIT = ("fit", "mnist-logistic", "-d", "train_size=640", "--epochs", "2", "--device", "cpu", "--run", "r")
FULL_DISK = "No space left on device"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plugin that writes to stdout in every way there is."""
    site = tmp_path_factory.mktemp("site")
    callbacks = {"leaves": "leaves:Leaves"}
    write_package(site, "theirs", THEIRS, module="theirs", models={"talks": "theirs:talks"}, callbacks=callbacks)
    (site / "leaves.py").write_text(LEAVES)
    return site


def run(forks: Forks, folder: Path, site: Path, *args: str, streams: str = "", **environment: str) -> tuple[int, str, str]:
    return forks.run(folder, *args, code=PROGRAM.format(streams), path=site, environment=environment)


def state(folder: Path) -> Any:
    return json.loads((folder / "runs" / "r" / "state.json").read_text())


@pytest.mark.stress
def test_what_a_plugin_writes_stays_off_stdout(site: Path, tmp_path: Path) -> None:
    written = {"import", "descriptor 1", "in a buffer of the C library", "another process", "at exit"}
    for json_flag in ((), ("--json",)):
        command = [sys.executable, "-m", "tinyclsf", "info", "talks", *json_flag]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (found.returncode, set(found.stderr.splitlines())) == (0, written)
        assert found.stdout.startswith('{"version": 1, "command": "info"' if json_flag else "model talks (theirs:talks, ")


@pytest.mark.parametrize("halt", [*(pytest.param(each, marks=pytest.mark.stress) for each in (None, "SIGINT")), "SIGTERM"])
def test_training_outlasts_its_reader(forks: Forks, site: Path, tmp_path: Path, halt: str | None) -> None:
    halted = {} if halt is None else {"HALT": halt}
    found = run(forks, tmp_path, site, *FIT, "--callback", "leaves", streams=PIPE, **halted)
    assert found == ({None: 0, "SIGINT": 130, "SIGTERM": 143}[halt], "", "")
    ended = state(tmp_path)
    if halt is None:
        assert (ended["state"], ended["error"]) == ("done", None)
    else:
        word = {"SIGINT": "interrupted", "SIGTERM": "terminated"}[halt]
        sentence = f"{word} in epoch 1, after 3 of 10 batches; the run is saved in runs/r"
        assert (ended["state"], ended["error"]) == ("stopped", sentence)


def test_streams_that_are_full_or_closed(forks: Forks, site: Path, tmp_path: Path) -> None:
    for args in (("list",), ("list", "--json"), ("list", "--help"), ("--version",)):
        found = run(forks, tmp_path, site, *args, streams=FULL.format(1))
        assert found == (7, "", f"error: cannot write to stdout: {FULL_DISK}\n")
    code, out, err = run(forks, tmp_path, site, *FIT, streams=FULL.format(2))
    assert (code, out.splitlines()[-1:], err) == (7, ["run   runs/r"], "")
    assert state(tmp_path)["state"] == "done"  # training goes on where its lines are lost
    code, out, err = run(forks, tmp_path, site, *FIT[:-1], "closed", streams="os.close(2); sys.stderr = None")
    assert (code, out.splitlines()[-1:], err) == (0, ["run   runs/closed"], "")
