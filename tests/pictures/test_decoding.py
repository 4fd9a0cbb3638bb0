"""Many pictures end in their rows, whichever thread decodes them; no thread goes on after an error or an interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyclsf.modules import Fit
from tinyclsf.pictures import decoding
from tinyclsf.pictures.decoding import decode_pictures
from tinyclsf.pictures.picture import read_picture
from tinyclsf.progress import telling as progress

THREADED = pytest.mark.usefixtures("_threads")
ODD_NAMES = ["a b.png", "new\nline.png", 'it\'s "quoted".png', "größe.png", os.fsdecode(b"not-utf8-\xff.png"), "-v.png"]


@pytest.fixture(params=[1, 3])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and many threads, each with few pictures at a time."""
    monkeypatch.setattr(decoding, "_CHUNK_FILES", 4)
    monkeypatch.setattr(decoding, "processor_count", lambda: request.param)


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


@THREADED
@pytest.mark.parametrize(("channels", "fit"), [(1, "crop"), (3, "pad"), (3, "stretch")])
def test_every_picture_is_put_into_its_row(files: list[str], channels: int, fit: Fit) -> None:
    out = np.empty((40, channels, 5, 5), np.uint8)
    found = decode_pictures(files, 5, channels, out, fit=fit)
    assert found.reasons == BAD
    for row in set(range(40)) - set(BAD):
        np.testing.assert_array_equal(out[row], read_picture(files[row], 5, channels, fit))
    assert decode_pictures([], 5, 3, np.zeros((0, 3, 5, 5), np.uint8)).reasons == {}


def test_digests_are_of_the_files_bytes(files: list[str]) -> None:
    found = decode_pictures(files, 5, 3)  # and no pixels are kept
    assert found.reasons == BAD
    assert found.digests[38] == found.digests[0]
    assert {row for row in range(40) if found.digests[row] == 0} == set(BAD)
    assert len(set(found.digests.tolist())) == 40 - 1 - (len(BAD) - 1)  # one is a copy


@THREADED
def test_progress_is_told_to_the_end(files: list[str]) -> None:
    told: list[tuple[str, int, int]] = []
    with progress.listening(lambda *word: told.append(word)):
        decode_pictures(files, 5, 3)
    assert {(what, total) for what, _, total in told} == {("decoding pictures", 40)}
    counts = [done for _, done, _ in told]
    assert counts == sorted(set(counts))
    assert counts[-1] == 40
    assert len(counts) < 10


@THREADED
def test_no_thread_goes_on_where_a_listener_raises(files: list[str]) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("enough")

    before = threading.active_count()
    with progress.listening(fail), pytest.raises(RuntimeError, match="enough") as error:
        decode_pictures([files[0]] * 1_000_000, 5, 3)
    assert error.tb  # which holds on to all that was going on
    assert threading.active_count() == before


@THREADED
def test_what_no_picture_is_to_blame_for_is_raised(files: list[str]) -> None:
    with pytest.raises(ValueError, match="could not broadcast"):
        decode_pictures(files, 5, 3, np.empty((40, 3, 4, 4), np.uint8))


@THREADED
def test_pillow_is_not_heard_and_the_filters_of_warnings_are_as_before(
    files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # of which it warns
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_pictures([files[0]] * 200, 5, 3).reasons == dict.fromkeys(range(200), "more than 20 pixels")
        warnings.warn("after", stacklevel=1)
    assert [str(each.message) for each in caught] == ["after"]


SCRIPT = """
import sys
from tinyclsf.pictures.decoding import decode_pictures
from tinyclsf.progress import telling as progress
with progress.listening(lambda *_: print("begun", flush=True)):
    decode_pictures([sys.argv[1]] * 10_000_000, 5, 3)
"""


def test_ctrl_c_ends_all_threads(files: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, files[0]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
