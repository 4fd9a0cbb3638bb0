"""Run folders: names that stay inside the root, one winner among all who ask, one who trains, files that read back."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Timer
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tinyclsf.errors import ConfigurationError, ModelFileError, StorageError
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.runs.folder import (
    check_run_name,
    create_run,
    is_occupied,
    occupied,
    read_predictions,
    write_config,
    write_predictions,
)

WORKERS = 8
# Waits for a word, says whether it got the run, and keeps it until its input ends.
TRAINING = """
import sys
from pathlib import Path
from tinyclsf.errors import ConfigurationError
from tinyclsf.runs.folder import occupied

sys.stdin.readline()
try:
    with occupied(Path(sys.argv[1])):
        print("won", flush=True)
        sys.stdin.read()
except ConfigurationError as error:
    print(error, flush=True)
"""
BAD_NAMES = [
    "../x",
    "/abs",
    "a/../../b",
    "a/b",
    "a\\b",
    "a\0b",
    "a\n",
    "\n",
    "",
    ".",
    "..",
    ".hidden",
    "-rf",
    "a b",
    "ä",
    "$HOME",
    "a" * 101,
]


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock that default names are made of."""
    monkeypatch.setattr("tinyclsf.runs.folder.time", SimpleNamespace(strftime=lambda form: "20260102-030405"))


def all_at_once(make: Callable[[], Path]) -> list[Path | Exception]:
    """What each of several threads gets that start at the same moment."""
    barrier = Barrier(WORKERS)

    def one(_: int) -> Path | Exception:
        barrier.wait()
        try:
            return make()
        except ConfigurationError as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, range(WORKERS)))


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_that_could_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    shown = name if len(name) <= 40 else "a" * 40 + "..."
    with pytest.raises(ConfigurationError) as error:
        create_run(tmp_path / "runs", name, default="m-d")
    assert str(error.value) == (
        f"run name {shown!r} cannot be used; wanted at most 100 of a-z, A-Z, 0-9, '.', '_' and '-', the first no '.' or '-'"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["con", "Aux", "COM1", "lpt9.txt", "nul.a.b", "first."])
def test_names_that_windows_gives_to_devices_or_cuts_are_refused_everywhere(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        check_run_name(name)
    assert str(error.value) == f"run name {name!r} cannot be used; Windows does not allow it, so choose another"


@pytest.mark.parametrize("name", ["console", "com", "com10", "aux-1", "first.1"])
def test_names_that_only_begin_so_are_not(name: str) -> None:
    assert check_run_name(name) == name


def test_a_name_of_300_characters_is_shown_in_part() -> None:
    with pytest.raises(ConfigurationError) as error:
        check_run_name("x" * 300)
    assert str(error.value).startswith(f"run name '{'x' * 40}...' cannot be used; ")


@pytest.mark.parametrize("name", ["a", "_", "0", "first-try.2", "A..b", "x" * 100])
def test_plain_names_are_folders_in_the_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "deep" / "runs"
    folder = create_run(root, name, default="m-d")
    assert folder == root / name
    assert [path for path in tmp_path.rglob("*") if path not in (root, root.parent)] == [folder]


def test_a_folder_that_is_there_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "first", default="m-d")
    (folder / "kept").write_text("as it was")
    with pytest.raises(ConfigurationError) as error:
        create_run(tmp_path, "first", default="m-d")
    assert str(error.value) == f"run folder {folder} is there already; choose another --run or move it away"
    assert (folder / "kept").read_text() == "as it was"


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to(path.parent / "nowhere")], ids=["file", "dangling"])
def test_a_name_that_is_taken_by_anything_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "first")
    with pytest.raises(ConfigurationError) as error:
        create_run(tmp_path, "first", default="m-d")
    assert str(error.value) == f"run folder {tmp_path / 'first'} is there already; choose another --run or move it away"
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("attempt", range(10))
def test_of_several_who_want_a_name_one_gets_it(tmp_path: Path, attempt: int) -> None:
    found = all_at_once(lambda: create_run(tmp_path / "runs", "first", default="m-d"))
    assert [each for each in found if isinstance(each, Path)] == [tmp_path / "runs" / "first"]


@pytest.mark.usefixtures("still")
def test_of_several_without_a_name_each_gets_its_own(tmp_path: Path) -> None:
    found = all_at_once(lambda: create_run(tmp_path, None, default="m-d"))
    stem = "m-d-20260102-030405"
    assert sorted(map(str, found)) == sorted(
        str(tmp_path / name) for name in [stem, *(f"{stem}-{n}" for n in range(2, WORKERS + 1))]
    )


@pytest.mark.usefixtures("still")
def test_a_default_name_stays_inside_the_root(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "runs", None, default="../../up/net:1-my data")
    assert folder == tmp_path / "runs" / "..-..-up-net-1-my-data-20260102-030405"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("name", ["first", None])
@pytest.mark.usefixtures("still")
def test_a_root_that_is_no_folder(tmp_path: Path, name: str | None) -> None:
    root = tmp_path / "runs"
    root.write_text("a file")
    shown = name or "m-d-20260102-030405"
    with pytest.raises(StorageError) as error:
        create_run(root, name, default="m-d")
    assert str(error.value) == f"cannot make run folder {root / shown}: {root} is not a folder; choose another --runs"
    with pytest.raises(StorageError) as error:
        create_run(root / "below", name, default="m-d")
    assert str(error.value) == (f"cannot make run folder {root / 'below' / shown}: Not a directory; choose another --runs")
    assert root.read_text() == "a file"


@contextmanager
def processes(folder: Path, number: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of their own that all want to train in a run, as soon as they are told to."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINING, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for _ in range(number)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def refusal(folder: Path) -> str:
    return f"run {folder} is being trained by another process; wait for it, or choose another run"


def test_of_several_processes_one_trains_in_a_run(tmp_path: Path) -> None:
    with processes(tmp_path, 3) as started:
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
        assert sorted(said(process) for process in started) == sorted(["won", *2 * [refusal(tmp_path)]])
        assert is_occupied(tmp_path)


def test_a_process_that_is_killed_leaves_its_run_free(tmp_path: Path) -> None:
    with processes(tmp_path, 1) as [process]:
        assert process.stdin is not None
        process.stdin.write("go\n")
        assert said(process) == "won"
        assert is_occupied(tmp_path)
        with pytest.raises(ConfigurationError) as error, occupied(tmp_path):
            pass
        assert str(error.value) == refusal(tmp_path)
        process.kill()
        process.wait()
        assert not is_occupied(tmp_path)
        with occupied(tmp_path):
            assert is_occupied(tmp_path)


def test_a_run_is_occupied_once_in_a_process_and_free_after_any_exit(tmp_path: Path) -> None:
    def fail() -> None:
        with occupied(tmp_path):
            with pytest.raises(ConfigurationError) as error, occupied(tmp_path):
                pass
            assert str(error.value) == refusal(tmp_path)
            assert is_occupied(tmp_path)  # the one who was refused has not set it free
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not is_occupied(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_to_look_at_a_run_takes_it_from_nobody(tmp_path: Path) -> None:
    assert not is_occupied(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with (tmp_path / ".lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not is_occupied(tmp_path)  # two who look
        free = Timer(0.1, fcntl.flock, [looking, fcntl.LOCK_UN])
        free.start()
        with occupied(tmp_path):
            assert is_occupied(tmp_path)
        free.join()


def test_a_lock_that_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ModelFileError) as error:
        is_occupied(tmp_path)
    path = tmp_path / ".lock"
    assert str(error.value) == f"cannot read {path}: Is a directory; wanted to see whether the run is being trained"


def test_a_run_that_cannot_be_locked_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StorageError) as error, occupied(tmp_path):
        pass
    assert str(error.value) == f"cannot lock run {tmp_path}: Is a directory; make its folder one that can be written"


def test_config_reads_back(tmp_path: Path) -> None:
    config = {"version": 1, "model": {"name": "net", "options": {"größe": 3, "limit": None}}, "lr": 0.1}
    write_config(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == config
    assert "größe" in (tmp_path / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_predictions_read_back_without_pickle(tmp_path: Path, dtype: torch.dtype) -> None:
    logits, labels = torch.randn(5, 3).to(dtype), torch.tensor([2, 0, 1, 1, 0])
    write_predictions(tmp_path, "test", Predictions(logits, labels))
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as found:
        assert sorted(found) == ["labels", "logits", "split"]
        assert found["split"].item() == "test"
        assert (found["logits"].dtype, found["labels"].dtype) == (np.float32, np.int64)
        assert np.array_equal(found["logits"], logits.float().numpy())
        assert np.array_equal(found["labels"], labels.numpy())
    split, predictions = read_predictions(tmp_path)
    assert split == "test"
    assert torch.equal(predictions.logits, logits.float())
    assert torch.equal(predictions.labels, labels)


def test_predictions_that_are_missing_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"

    def refusal() -> str:
        with pytest.raises(ModelFileError) as error:
            read_predictions(tmp_path)
        return str(error.value)

    assert refusal() == (f"cannot read {path}: No such file or directory; a run has its predictions once its training is done")
    for content in (b"", b"PK", b"nothing"):
        path.write_bytes(content)
        assert refusal().startswith(f"{path} is broken (")
    good = np.zeros((2, 3), np.float32)
    for logits, labels, found in (
        (np.zeros((2, 3)), np.zeros(2, int), "holds logits float64 (2, 3); wanted float32 (n, classes)"),
        (good[0], np.zeros(3, int), "holds logits float32 (3,); wanted float32 (n, classes)"),
        (good[:, :0], np.zeros(2, int), "holds logits float32 (2, 0); wanted float32 (n, classes)"),
        (good[:0], np.zeros(0, int), "holds logits float32 (0, 3); wanted float32 (n, classes)"),
        (good, np.zeros(3, int), "holds labels int64 (3,); wanted int64 (2,)"),
        (good, np.zeros(2, np.int32), "holds labels int32 (2,); wanted int64 (2,)"),
        (good, np.array([-100, 3]), "has labels -100 to 3; wanted 0 to 2"),
    ):
        np.savez(path, split="test", logits=logits, labels=labels)
        assert refusal() == f"{path} {found}"
    for split, found in (("train", "'train'"), (3, "3"), (["test"], "['test']")):
        np.savez(path, split=np.array(split), logits=good, labels=np.zeros(2, int))
        assert refusal() == f"{path} is for split {found}; wanted test or valid"
    np.savez(path, split="test", logits=np.array([{}]), labels=np.zeros(1, int))
    assert refusal() == f"{path} is broken (ValueError); wanted what a run writes when it is done"


def test_a_folder_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as error:
        write_config(tmp_path / "gone", {})
    path = tmp_path / "gone" / "config.json"
    assert str(error.value) == f"cannot write {path}: No such file or directory; what was there before is unchanged"
