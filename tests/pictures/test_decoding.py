"""Many pictures end in their rows, whoever decodes them; processes that die or are interrupted leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tinyclsf.errors import DataError
from tinyclsf.modules import Fit
from tinyclsf.pictures import decoding
from tinyclsf.pictures.decoding import decode_pictures
from tinyclsf.pictures.picture import read_picture
from tinyclsf.progress import telling as progress

Started = list[subprocess.Popen[bytes]]
ODD_NAMES = ["a b.png", "new\nline.png", 'it\'s "quoted".png', "größe.png", os.fsdecode(b"not-utf8-\xff.png"), "-v.png"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Two processes for however few pictures; those that were started."""
    found: Started = []
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        found.append(popen(*args, **options))
        return found[-1]

    monkeypatch.setattr(decoding, "_STARTUP_SECONDS", 1e-9)
    monkeypatch.setattr(decoding, "_CHUNK_FILES", 4)
    monkeypatch.setattr(decoding, "_CHUNK_SECONDS", 60)
    monkeypatch.setattr(decoding, "processor_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", start)
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Forty pictures of odd names and sizes, all different, and a few files that are none."""
    names = ODD_NAMES + [f"{number}.png" for number in range(len(ODD_NAMES), 40)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (5 + number % 3, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / names[3]).write_bytes(b"")
    (tmp_path / names[30]).write_bytes(b"words")
    (tmp_path / names[39]).unlink()
    (tmp_path / names[38]).write_bytes((tmp_path / names[0]).read_bytes())
    return [str(tmp_path / name) for name in names]


BAD = {3: "empty file", 30: "not a picture, or broken from its first bytes on", 39: "no such file or directory"}


@pytest.mark.parametrize(("channels", "fit"), [(1, "crop"), (3, "pad"), (3, "stretch")])
def test_processes_put_every_picture_into_its_row(files: list[str], started: Started, channels: int, fit: Fit) -> None:
    out = np.empty((40, channels, 5, 5), np.uint8)
    found = decode_pictures(files, 5, channels, out, fit=fit)
    assert len(started) == 2
    assert found.reasons == BAD
    for row in set(range(40)) - set(BAD):
        np.testing.assert_array_equal(out[row], read_picture(files[row], 5, channels, fit))
    assert [process.poll() is not None for process in started] == [True, True]


def test_what_pillow_was_told_here_is_for_all_pictures(
    files: list[str], started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 35):
        pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(files[number])
        Path(files[number]).write_bytes(Path(files[number]).read_bytes()[:5000])
    assert decode_pictures(files, 5, 3).reasons == {**BAD, 1: "cut short", 35: "cut short"}
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    out = np.empty((40, 3, 5, 5), np.uint8)
    assert decode_pictures(files, 5, 3, out).reasons == BAD
    np.testing.assert_array_equal(out[1], out[35])
    assert len(started) == 4


def test_digests_are_of_the_files_bytes(files: list[str], started: Started) -> None:
    found = decode_pictures(files, 5, 3)  # and no pixels are kept
    assert found.reasons == BAD
    assert found.digests[38] == found.digests[0]
    assert {row for row in range(40) if found.digests[row] == 0} == set(BAD)
    assert len(set(found.digests.tolist())) == 40 - 1 - (len(BAD) - 1)  # one is a copy
    assert len(started) == 2


def test_a_few_pictures_start_no_process(files: list[str], started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    with_processes = decode_pictures(files, 5, 3, one := np.zeros((40, 3, 5, 5), np.uint8))
    monkeypatch.setattr(decoding, "_STARTUP_SECONDS", 0.25)
    started.clear()
    here = decode_pictures(files, 5, 3, other := np.zeros((40, 3, 5, 5), np.uint8))
    assert not started
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(here.digests, with_processes.digests)
    assert here.reasons == with_processes.reasons
    assert decode_pictures([], 5, 3, np.zeros((0, 3, 5, 5), np.uint8)).reasons == {}


def test_progress_is_told_to_the_end(files: list[str], started: Started) -> None:
    told: list[tuple[str, int, int]] = []
    with progress.listening(lambda *word: told.append(word)):
        decode_pictures(files, 5, 3)
    assert {(what, total) for what, _, total in told} == {("decoding pictures", 40)}
    counts = [done for _, done, _ in told]
    assert counts == sorted(set(counts))
    assert counts[-1] == 40
    assert len(counts) < 10


def test_a_process_that_is_killed_is_an_error_and_ends_the_others(files: list[str], started: Started) -> None:
    slow = [files[0]] * 20_000

    def kill(*_: object) -> None:
        for process in started[:1]:
            assert os.getpgid(process.pid) != os.getpgid(0)  # so that Ctrl-C in a terminal does not kill it
            process.kill()

    with progress.listening(kill), pytest.raises(DataError) as error:
        decode_pictures(slow, 5, 3)
    assert str(error.value) == (
        f"a process that decodes pictures was killed by signal 9; it was at 4 pictures from {files[0]} on, "
        "of which one may be to blame, or the memory has run out"
    )
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2


def test_a_process_that_cannot_work_says_why(files: list[str], started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_PROGRAM", "import no_such_module  # {}")
    with pytest.raises(DataError) as error:
        decode_pictures(files, 5, 3)
    assert str(error.value).startswith(
        "a process that decodes pictures ended with exit status 1: ModuleNotFoundError: No module named 'no_such_module'; "
    )


def test_processes_end_where_a_listener_raises(files: list[str], started: Started) -> None:
    def fail(*_: object) -> None:
        if started:
            raise RuntimeError("enough")

    with progress.listening(fail), pytest.raises(RuntimeError, match="enough") as error:
        decode_pictures([files[0]] * 20_000, 5, 3)
    assert error.tb  # which holds on to all that was going on
    assert [process.poll() is not None for process in started] == [True, True]


SCRIPT = """
import subprocess, sys
print("once", flush=True)
from tinyclsf.pictures import decoding
from tinyclsf.progress import telling as progress
popen = subprocess.Popen
def start(*args, **options):
    process = popen(*args, **options)
    print(process.pid, flush=True)
    return process
subprocess.Popen = start
decoding._STARTUP_SECONDS = 1e-9
decoding.processor_count = lambda: 2
number = int(sys.argv[2])
print(len(decoding.decode_pictures([sys.argv[1]] * number, 5, 3).digests), flush=True)
"""


def test_ctrl_c_ends_all_processes_without_a_word_from_them(files: list[str]) -> None:
    command = [sys.executable, "-c", SCRIPT, files[0], "10000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=20)
    assert lines[0] == "once"
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not [pid for pid in lines[1:] if Path("/proc", pid).exists()]


def test_a_script_without_a_main_guard_is_not_run_again(files: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script), files[0], "300"], capture_output=True, text=True, check=True)
    lines = done.stdout.split()
    assert (lines[0], len(lines), lines[-1], done.stderr) == ("once", 4, "300", "")
