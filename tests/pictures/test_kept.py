"""Pictures are decoded once: later calls map the very same pixels, whoever made them, and what is half made is never used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tinyclsf.errors import ConfigurationError, DataWarning
from tinyclsf.pictures import kept
from tinyclsf.pictures.cache import About, kept_sets
from tinyclsf.pictures.decoding import decode_pictures
from tinyclsf.pictures.kept import KeptPictures, keep_pictures
from tinyclsf.pictures.picture import read_picture
from tinyclsf.progress import telling as progress


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Twelve pictures that differ, in files of the same size and time."""
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.bmp")
        os.utime(tmp_path / f"{number:02}.bmp", (1, 1))
    return [str(path) for path in sorted(tmp_path.glob("*.bmp"))]


@pytest.fixture(autouse=True)
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures were decoded, time by time."""
    found: list[int] = []

    def decode(files: list[str], *args: Any, **options: Any) -> Any:
        found.extend([len(files)] if files else [])
        return decode_pictures(files, *args, **options)

    monkeypatch.setattr(kept, "decode_pictures", decode)
    return found


def keep(files: list[str], cache: Any, *, size: int = 8, fit: Any = "crop") -> KeptPictures:
    return keep_pictures([files[:8], files[8:]], size, 3, fit=fit, cache=cache)


def right(files: list[str], size: int = 8) -> Any:
    return np.stack([read_picture(path, size, 3) for path in files])


def test_the_second_call_decodes_nothing_and_has_the_same_pixels(
    files: list[str], decoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = keep(files, tmp_path / "kept"), keep(files, tmp_path / "kept")
    assert decoded == [12]
    for each in (first, second):
        np.testing.assert_array_equal(each.pixels, right(files))
        assert each.checksums == [zlib.crc32(right(files)[:8].tobytes()), zlib.crc32(right(files)[8:].tobytes())]
        assert (each.digests != 0).all()
        assert each.sizes == [os.path.getsize(path) for path in files]
    np.testing.assert_array_equal(first.digests, second.digests)
    second.pixels[:] = 0  # in this process alone
    np.testing.assert_array_equal(keep(files, tmp_path / "kept").pixels, right(files))
    assert decoded == [12]


def test_a_relative_path_means_another_file_in_another_folder(
    files: list[str], decoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [Path(path).name for path in files]
    (tmp_path / "other").mkdir()
    for path, name in zip(files, reversed(names), strict=True):
        shutil.copy2(path, tmp_path / "other" / name)
    for folder, wanted in ((tmp_path, files), (tmp_path / "other", files[::-1])):
        monkeypatch.chdir(folder)
        np.testing.assert_array_equal(keep(names, tmp_path / "kept").pixels, right(wanted))
        wanted = [str(folder / name) for name in names]
        np.testing.assert_array_equal(keep(wanted, tmp_path / "kept").pixels, right(wanted))
    assert decoded == [12, 12]


def test_the_same_names_in_a_folder_and_beside_it_are_other_sets(files: list[str], decoded: list[int], tmp_path: Path) -> None:
    """Only where the folder ends tells `one/a/00` from `one-a/00`, and all else is the same."""
    for inside, beside in (("pictures/a", "pictures/b"), ("picturesa", "picturesb")):
        moved = []
        for place, some in ((inside, files[:8]), (beside, files[8:])):
            (tmp_path / place).mkdir(parents=True)
            some = some if inside == "pictures/a" else some[::-1]
            moved += [str(shutil.copy2(path, tmp_path / place / f"{number:02}.bmp")) for number, path in enumerate(some)]
        np.testing.assert_array_equal(keep(moved, tmp_path / "kept").pixels, right(moved))
    assert decoded == [12, 12]


def test_other_files_sizes_and_ways_to_fit_are_other_sets(files: list[str], decoded: list[int], tmp_path: Path) -> None:
    keep(files, tmp_path / "kept")
    Image.new("RGB", (12, 12), "red").save(files[3])  # of another length
    np.testing.assert_array_equal(keep(files, tmp_path / "kept").pixels, right(files))
    os.utime(files[4], (2, 2))
    keep(files, tmp_path / "kept")
    assert keep(files, tmp_path / "kept", size=5).pixels.shape == (12, 3, 5, 5)
    keep(files, tmp_path / "kept", fit="stretch")
    keep_pictures([files[:9], files[9:]], 8, 3, cache=tmp_path / "kept")
    assert decoded == [12] * 6
    keep(files, "off")
    keep(files, "off")
    assert decoded == [12] * 8
    assert len(kept_sets(tmp_path / "kept")) == 6


def test_files_that_cannot_be_read_are_tried_again(files: list[str], decoded: list[int], tmp_path: Path) -> None:
    for bad in (files[2], files[9]):
        Path(bad).write_bytes(b"text")
    rest = [path for row, path in enumerate(files) if row not in (2, 9)]
    for _ in range(2):
        found = keep(files, tmp_path / "kept")
        assert set(found.reasons) == {2, 9}
        np.testing.assert_array_equal(found.pixels, right(rest))
        assert found.checksums == [zlib.crc32(right(rest)[:7].tobytes()), zlib.crc32(right(rest)[7:].tobytes())]
        assert found.digests.nonzero()[0].tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 10, 11]
        assert found.sizes == [os.path.getsize(path) for path in rest]
    assert decoded == [12, 2]


def test_a_file_that_can_be_read_now_is_not_left_out(files: list[str], decoded: list[int], tmp_path: Path) -> None:
    whole = Path(files[2]).read_bytes()
    for content, bad in ((bytes(len(whole)), {2}), (whole, set())):  # as where it was forbidden, or its disk away
        Path(files[2]).write_bytes(content)
        os.utime(files[2], (1, 1))
        assert set(keep(files, tmp_path / "kept").reasons) == bad
    assert decoded == [12, 1, 1, 12]  # it is tried again before and after the set is locked


PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from tinyclsf.pictures import kept

folder, files, how = Path(sys.argv[1]), sys.argv[3:], sys.argv[2]
decode = kept.decode_pictures

def slowly(names, size, channels, out=None, **options):
    out[:] = 7
    (folder / "began").touch()
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while not (folder / "go").exists():
        time.sleep(0.01)
    return decode(names, size, channels, out, **options)

kept.decode_pictures = slowly
kept.keep_pictures([files[:8], files[8:]], 8, 3, cache=folder / "kept")
"""


def started(folder: Path, how: str, files: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), how, *files])


def test_a_process_waits_for_another_that_decodes_the_same(files: list[str], decoded: list[int], tmp_path: Path) -> None:
    other = started(tmp_path, "wait", files)
    told = []

    def listen(what: str, done: int, total: int) -> None:
        told.append((what, done, total))
        (tmp_path / "go").touch()

    while not (tmp_path / "began").exists():
        assert other.poll() is None
    with progress.listening(listen):
        found = keep(files, tmp_path / "kept")
    assert other.wait() == 0
    assert decoded == []
    np.testing.assert_array_equal(found.pixels, right(files))
    what = "waiting for another process that decodes these pictures"
    assert (told[0], told[-1]) == ((what, 0, 1), (what, 1, 1))
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".pictures"]


def test_what_a_killed_process_left_is_removed_and_never_used(files: list[str], decoded: list[int], tmp_path: Path) -> None:
    assert started(tmp_path, "die", files).wait() == -signal.SIGKILL
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == [".lock", ".part"]
    keep(files[:10], tmp_path / "kept")  # another set: who comes next sweeps
    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".pictures"]
    np.testing.assert_array_equal(keep(files, tmp_path / "kept").pixels, right(files))
    assert decoded == [10, 12]


@pytest.mark.parametrize("cut", [lambda data: data[:-1], lambda data: b"", lambda data: data[4:], lambda data: data + b"\0"])
def test_a_file_that_is_not_whole_is_not_used(
    files: list[str], decoded: list[int], tmp_path: Path, cut: Callable[[bytes], bytes]
) -> None:
    keep(files, tmp_path / "kept")
    [each] = kept_sets(tmp_path / "kept")
    each.path.write_bytes(cut(each.path.read_bytes()))
    assert kept_sets(tmp_path / "kept")[0].about is None
    np.testing.assert_array_equal(keep(files, tmp_path / "kept").pixels, right(files))
    assert decoded == [12, 12]


def test_the_set_that_was_not_used_for_longest_makes_room(files: list[str], decoded: list[int], small_disk: Path) -> None:
    sizes = (46, 47, 48)  # about 80 KB each, of half of 512
    for at, size in enumerate(sizes):
        keep(files, small_disk, size=size)
        for path in small_disk.iterdir():
            os.utime(path, (at, at)) if path.stat().st_mtime > 100 else None
    keep(files, small_disk, size=46)  # so that 47 is the oldest
    keep(files, small_disk, size=49)
    left = sorted(each.about.size for each in kept_sets(small_disk) if each.about)
    assert left == [46, 48, 49]
    assert decoded == [12] * 4


def test_a_full_disk_is_a_warning_and_what_fits_nowhere_an_error(
    files: list[str], decoded: list[int], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = "they need 351.6 KiB there, and half of what is free is 256.0 KiB"
    full = "they need 2.2 KiB there, and half of what is free is 2.0 KiB"
    for filler, size, reason in ((0, 100, large), (508 << 10, 8, full)):
        (small_disk / "filler").write_bytes(bytes(filler))
        with pytest.warns(DataWarning) as caught:
            found = keep(files, small_disk, size=size)
        np.testing.assert_array_equal(found.pixels, right(files, size))
        assert [str(each.message) for each in caught] == [
            f"decoded pictures cannot be kept in {small_disk}: {reason}; so every run decodes them again: make room there, or "
            "give another folder with -d cache=DIR, or keep none with -d cache=off"
        ]
    (small_disk / "filler").write_bytes(bytes(512 << 10))
    monkeypatch.setattr(kept, "make_room", lambda folder, needed: None)  # as where another program takes it just then
    with pytest.warns(DataWarning, match="No space left on device; so every run"):
        keep(files, small_disk)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    monkeypatch.setattr(kept, "free_memory", lambda: 100)
    with pytest.warns(DataWarning), pytest.raises(ConfigurationError, match=r"^12 pictures of 8x8 need 2\.2 KiB and half of "):
        keep(files, small_disk)
    assert decoded == [12] * 3


def test_rows_of_a_set_that_may_be_too_large_for_the_memory_are_read_ahead(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keep(files, tmp_path / "kept").ahead is None
    monkeypatch.setattr(kept, "free_memory", lambda: 2 * 12 * 3 * 8**2 - 1)
    found = keep(files, tmp_path / "kept")
    assert found.ahead is not None
    found.ahead(range(12))  # of which the last ends within a page
    np.testing.assert_array_equal(found.pixels, right(files))


def test_without_a_home_there_is_a_warning(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYCLSF_CACHE")

    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.warns(DataWarning, match="^decoded pictures cannot be kept in its folder: there is no home folder; so every"):
        keep(files, "auto")


def test_a_mapped_set_may_be_larger_than_memory(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("other systems reserve no memory for a mapped file")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    about = About("/photos", 1, 1 << 14, memory // (1 << 28) + 2, "crop", [], [0])
    with (tmp_path / "sparse").open("w+b") as file:
        file.truncate(about.pixel_bytes + 8)
        found = kept._mapped(file, about, kept._Wanted([["/photos/sparse.png"]], about.size, about.channels, "crop"), {})
    assert found.pixels.nbytes > memory
    assert int(torch.from_numpy(found.pixels)[0, -1, -1, -1]) == 0
