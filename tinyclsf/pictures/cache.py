"""The folder of decoded pictures: one file for each set, of which those that were not used for longest make room for others."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from tinyclsf.errors import StorageError
from tinyclsf.machine.json_text import is_whole, json_text, parse_json
from tinyclsf.machine.locks import lock
from tinyclsf.progress.telling import tell_progress

ENDING, _PART, _LOCK = ".pictures", ".part", ".lock"
_KEY = "[0-9a-f]" * 32  # what names of ours begin with; the folder may hold files of others
DIGEST_BYTES = 8  # of each file
_LENGTH_BYTES = 8
_WAITING, _WAIT_SECONDS = "waiting for another process that decodes these pictures", 0.1


class About(NamedTuple):
    """What a file of decoded pictures says of them at its end, after the pixels of those that can be read and all digests.

    `folder` holds all of the picture files; `unreadable` are the numbers of files, `checksums` are of the pixels of each split.
    """

    folder: str
    files: int
    size: int
    channels: int
    fit: str
    unreadable: list[int]
    checksums: list[int]

    @property
    def pixel_bytes(self) -> int:
        """How much of the file is pixels."""
        return (self.files - len(self.unreadable)) * self.channels * self.size**2


class KeptSet(NamedTuple):
    """A set of decoded pictures in the cache; `used` is when it was last used, `about` is None if its file is broken."""

    path: Path
    bytes: int
    used: float
    about: About | None


def cache_folder() -> Path:
    """Where decoded pictures are kept: $TINYCLSF_CACHE, else ~/.cache/tinyclsf/pictures.

    Raises: OSError if there is no home.
    """
    if folder := os.environ.get("TINYCLSF_CACHE"):
        return Path(folder)
    try:
        return Path("~/.cache/tinyclsf/pictures").expanduser()
    except RuntimeError as error:
        raise OSError(errno.ENOENT, "there is no home folder") from error


def kept_sets(folder: Path) -> list[KeptSet]:
    """The sets in a cache, the one that was used last first.

    Raises: OSError if the folder cannot be read.
    """
    found = []
    for path in folder.glob(f"{_KEY}{ENDING}"):
        # Another process may remove it, or it may be another person's.
        with contextlib.suppress(FileNotFoundError, PermissionError), path.open("rb") as file:
            status = os.fstat(file.fileno())
            found.append(KeptSet(path, status.st_size, status.st_mtime, read_about(file)))
    return sorted(found, key=lambda each: each.used, reverse=True)


def empty_cache(folder: Path) -> list[KeptSet]:
    """Remove all sets from a cache, but not what a process makes now, and say what they were.

    Raises: StorageError if one cannot be removed.
    """
    found = kept_sets(folder)
    for each in found:
        try:
            each.path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot remove {each.path}: {error.strerror}; make its folder one that can be written"
            ) from error
    remove_torn(folder)
    return found


def make_room(folder: Path, needed: int) -> None:
    """Remove the sets that were not used for longest, until all take at most half of what is free without them.

    Raises: OSError if that is not enough.
    """
    sets = kept_sets(folder)
    taken = sum(each.bytes for each in sets)
    limit = (shutil.disk_usage(folder).free + taken) // 2
    if needed > limit:
        raise OSError(errno.ENOSPC, f"they need {size_text(needed)} there, and half of what is free is {size_text(limit)}")
    while taken + needed > limit:
        oldest = sets.pop()
        with contextlib.suppress(PermissionError):  # Windows removes no file that is in use
            oldest.path.unlink(missing_ok=True)
        taken -= oldest.bytes


def read_about(file: IO[bytes]) -> About | None:
    """What a file in the cache says of its pictures, or None if it is not whole."""
    try:
        end = file.seek(-_LENGTH_BYTES, os.SEEK_END)
        start = file.seek(end - int.from_bytes(file.read(_LENGTH_BYTES), "little"))
        about = About(**parse_json(file.read(end - start)))
        texts, lists = (about.folder, about.fit), (about.unreadable, about.checksums)
        if not all(isinstance(each, str) for each in texts) or not all(isinstance(each, list) for each in lists):
            return None
        if not all(map(is_whole, [about.files, about.size, about.channels, *about.checksums])):
            return None
        if not all(is_whole(each, most=about.files - 1) for each in about.unreadable):
            return None
    except (OSError, ValueError, TypeError):
        return None
    return about if about.pixel_bytes + DIGEST_BYTES * about.files == start else None


def write_about(file: IO[bytes], about: About) -> None:
    """Write the end of a file for the cache."""
    text = json_text(about).encode()
    file.write(text + len(text).to_bytes(_LENGTH_BYTES, "little"))


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name at the end of the block if all went well, and is gone otherwise.

    Raises: OSError if it cannot be written.
    """
    part = path.with_suffix(_PART)
    try:
        with part.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(PermissionError):  # on Windows, as long as it is mapped
            part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Work on a file of the cache while no other process does.

    Raises: BlockingIOError if another one does and `wait` is false; OSError if files cannot be locked there.
    """
    name, waited = path.with_suffix(_LOCK), False
    while True:
        with name.open("ab") as file:
            try:
                lock(file, shared=False)
                held = name.exists() and os.path.samestat(os.fstat(file.fileno()), name.stat())
            except BlockingIOError:
                held = False
                if not wait:
                    raise
            if held:  # and not one that was removed since it was opened
                if waited:
                    tell_progress(_WAITING, 1, 1)
                try:
                    yield
                finally:
                    with contextlib.suppress(PermissionError):  # on Windows, where it stays
                        name.unlink(missing_ok=True)
                return
        tell_progress(_WAITING, 0, 1)
        waited = True
        time.sleep(_WAIT_SECONDS)


def remove_torn(folder: Path) -> None:
    """Remove what processes left behind that were killed."""
    for name in folder.glob(f"{_KEY}{_LOCK}"):
        with contextlib.suppress(OSError), alone(name, wait=False):
            name.with_suffix(_PART).unlink(missing_ok=True)


def size_text(size: int) -> str:
    """Bytes as a person reads them."""
    power = min(2, max(0, size.bit_length() - 11) // 10)
    return f"{size / 2 ** (10 * power + 10):,.1f} {'KMG'[power]}iB"
