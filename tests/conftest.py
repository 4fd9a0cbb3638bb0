"""What the tests share: the tutorial's own loop, the command line, and real MNIST where there is a copy."""

from __future__ import annotations

import gc
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli, Install, Result, write_package
from tests.support.forking import Forks
from tinyclsf.cli.app import main

# Before torch is imported, and for the processes that tests start: on little work threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is expected is what a CPU gives; a GPU is hidden from the tests and their processes unless it is asked for.
if "TINYCLSF_TEST_GPU" not in os.environ:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
# As a terminal has it; in the background, or under nohup, they would be ignored by what the tests start.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
# In memory where that can be: each run writes a dozen files, and waits until the disk has them.
if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")

ROOT = Path(__file__).parent.parent


def pytest_collection_finish() -> None:
    """Take what was imported out of each search for garbage: that is half a million objects."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _pictures_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests decode away from what the person who runs them has decoded."""
    os.environ["TINYCLSF_CACHE"] = str(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def tutorial_fit() -> Callable[..., list[float]]:
    """`fit` of "What is torch.nn really?", the reference; it returns the validation losses."""
    fit: Callable[..., list[float]] = runpy.run_path(str(ROOT / "benchmarks" / "tutorial_loop.py"))["fit"]
    return fit


@pytest.fixture
def mnist_dir() -> Path:
    """A folder with real MNIST in the layout of torchvision."""
    folder = os.environ.get("TINYCLSF_DATA")
    if not folder or not Path(folder, "MNIST", "raw", "train-images-idx3-ubyte").exists():
        pytest.skip("real MNIST is not here: TINYCLSF_DATA names no folder with MNIST/raw")
    return Path(folder)


@pytest.fixture
def narrow_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG with hidden layers of 16 units, as 4,096 of them make half a gigabyte; its own tests leave them as they are."""
    monkeypatch.setattr("tinyclsf_plugins.models.vgg._UNITS", 16)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Programs in processes of their own, which are forked from one that has imported torch."""
    found = Forks(tmp_path_factory.mktemp("forks"))
    yield found
    found.close()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINYCLSF_RUNS", raising=False)

    def run(*args: str) -> Result:
        code = main(args)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package that is one module and registers names of it."""
    installed = []

    def make(package: str, code: str, *, module: str, **more: Any) -> None:
        write_package(tmp_path / package, package, code, module=module, **more)
        installed.append(module)
        monkeypatch.syspath_prepend(tmp_path / package)

    yield make
    for module in installed:
        sys.modules.pop(module, None)
