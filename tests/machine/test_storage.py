"""A name holds the old content or the new, whatever happens, and what could not be written is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from tests.support.forking import Forks
from tinyclsf.errors import StorageError
from tinyclsf.machine.storage import check_target, remove_torn, write_whole

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import torch
from torch import nn
from tinyclsf import Classifier, Preprocess, save_model
from tinyclsf.runs.checkpoints import save_checkpoint
from tinyclsf.errors import StorageError
from tinyclsf.runs.folder import write_predictions
from tinyclsf.loop.evaluation import Predictions

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
model = Classifier(Preprocess(), nn.Linear(100, 100), ["a"], (1, 10, 10))
predictions = Predictions(torch.zeros(1000, 10), torch.zeros(1000, dtype=torch.int64))
for write in (
    lambda: save_model(model, folder),
    lambda: write_predictions(folder, "test", predictions),
    lambda: save_checkpoint(model.state_dict(), folder),
):
    try:
        write()
    except StorageError as error:
        print(error)
"""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("stop"), KeyboardInterrupt()])
def test_a_write_that_fails_part_way_keeps_the_old_file(tmp_path: Path, error: BaseException) -> None:
    def write(file: IO[bytes]) -> None:
        file.write(b"half of the new")
        file.flush()
        raise error

    path = tmp_path / "kept"
    path.write_bytes(b"old")
    wanted, message = type(error), str(error)
    if isinstance(error, OSError):
        wanted = StorageError
        message = f"cannot write {path}: No space left on device; what was there before is unchanged"
    with pytest.raises(wanted) as raised:
        write_whole(path, write)
    assert str(raised.value) == message
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_leaves_what_was_there(forks: Forks, tmp_path: Path) -> None:
    before = {"model.safetensors": b"old weights", "predictions.npz": b"old predictions", "checkpoint.pt": b"old state"}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = forks.run(tmp_path, str(tmp_path), code=FULL_DISK)
    assert out.splitlines() == [
        f"cannot write {tmp_path / name}: File too large; what was there before is unchanged" for name in before
    ]
    assert (code, err) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["model.json", *before])
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_file_is_replaced_with_ordinary_rights(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o600)
    write_whole(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    (tmp_path / "ordinary").touch()
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize(("name", "reason"), [("gone/file", "No such file or directory"), ("folder", "Is a directory")])
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError) as error:
        write_whole(tmp_path / name, lambda file: file.write(b"new"))
    assert str(error.value) == f"cannot write {tmp_path / name}: {reason}; what was there before is unchanged"
    assert error.value.exit_code == 7
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize("links", [True, False])
def test_what_was_there_goes_on_under_a_second_name(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", no_links)
    path, previous = tmp_path / "file", tmp_path / "before"
    for text in (b"one", b"two", b"three"):
        write_whole(path, partial(_write, text), keep_previous=previous)
        assert path.read_bytes() == text
        assert not previous.exists() if text == b"one" else previous.read_bytes() == {b"two": b"one", b"three": b"two"}[text]
    with pytest.raises(StorageError):
        write_whole(path, full_disk, keep_previous=previous)
    assert (path.read_bytes(), previous.read_bytes()) == (b"three", b"two")
    assert sorted(tmp_path.iterdir()) == [previous, path]


def _write(text: bytes, file: IO[bytes]) -> None:
    file.write(text)


def full_disk(file: IO[bytes]) -> None:
    raise OSError(28, "No space left on device")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    killed = (
        "import os, sys\nfrom pathlib import Path\nfrom tinyclsf.machine.storage import check_target, write_whole\n"
        "write_whole(Path(sys.argv[1]), lambda file: os._exit(9))"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(tmp_path / "file")], check=False).returncode == 9
    (torn,) = tmp_path.iterdir()
    assert torn.name.startswith(".file.")
    for name in ("file", ".other.tmp", ".file"):
        (tmp_path / name).touch()
    remove_torn(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".file", ".other.tmp", "file"]


def test_a_place_is_tried_before_long_work(tmp_path: Path) -> None:
    check_target(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []

    def refusal(path: Path) -> str:
        with pytest.raises(StorageError) as error:
            check_target(path)
        return str(error.value)

    assert refusal(tmp_path) == f"cannot write {tmp_path}: it is a folder; give the name of a file"
    (tmp_path / "file").write_text("")
    for folder, reason in (("gone", "No such file or directory"), ("file", "Not a directory")):
        path = tmp_path / folder / "page.html"
        assert refusal(path) == f"cannot write {path}: {reason}; give a name in a folder that can be written to"
