"""Pictures that are decoded once: the pixels stay on the disk as one array, which later runs map into their memory."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import mmap
import os
import sys
import warnings
import zlib
from array import array
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ImageFile

from tinyclsf.errors import ConfigurationError, DataWarning
from tinyclsf.machine.memory import free_memory
from tinyclsf.pictures import picture
from tinyclsf.pictures.cache import (
    DIGEST_BYTES,
    ENDING,
    About,
    alone,
    cache_folder,
    make_room,
    new_file,
    read_about,
    remove_torn,
    size_text,
    write_about,
)
from tinyclsf.pictures.decoding import decode_pictures

if TYPE_CHECKING:
    from tinyclsf.modules import Fit

_ZEROS = bytes(1 << 20)
_NORESERVE = 0x4000  # MAP_NORESERVE, which Python names from 3.13 on


@dataclass(frozen=True)
class KeptPictures:
    """Decoded pictures: the pixels and file sizes of those that can be read; why others cannot be; the digests of all files.

    `reasons` are by the number of the file; `checksums` are of the pixels of each split, as zlib.crc32 gives them.
    `ahead` begins to read rows that will be needed soon, if there may be too many for the memory.
    Shapes: pixels (readable, channels, size, size); digests (files,), 0 where there is a reason.
    Units: `sizes` are bytes.
    """

    pixels: NDArray[np.uint8]
    sizes: list[int]
    digests: NDArray[np.uint64]
    reasons: dict[int, str]
    checksums: list[int]
    ahead: Callable[[Iterable[int]], None] | None = None


@dataclass(frozen=True)
class _Wanted:
    splits: Sequence[Sequence[str]]
    size: int
    channels: int
    fit: Fit

    @functools.cached_property
    def files(self) -> list[str]:
        return [path for split in self.splits for path in split]

    @property
    def bytes(self) -> int:
        return len(self.files) * self.channels * self.size**2

    @functools.cached_property
    def stamps(self) -> array[int]:
        """The size in bytes and the time in ns of each file in turn; -1, 0 where there is none, which decoding will tell of."""
        found = array("q")
        for path in self.files:
            try:
                status = os.stat(path)
                found.extend((status.st_size, status.st_mtime_ns))
            except (OSError, ValueError):
                found.extend((-1, 0))
        return found

    def sizes(self, reasons: Container[int]) -> list[int]:
        """The sizes of the files without a reason why they cannot be read."""
        return [size for row, size in enumerate(self.stamps[::2]) if row not in reasons]

    @functools.cached_property
    def folder(self) -> str:
        """What holds all of the files, as it is written in their paths."""
        return os.path.dirname(os.path.commonprefix(self.files))  # noqa: RUF071

    def key(self) -> str:
        """What tells these pixels from all others: how they are decoded, and of which files, by name, size and time."""
        start = len(os.path.join(self.folder, ""))
        how = [inspect.getsource(picture), PIL.__version__, str(ImageFile.LOAD_TRUNCATED_IMAGES)]
        how.append(f"{self.size} {self.channels} {self.fit}")
        names = [path[start:] for path in self.files]
        where = [*(str(len(split)) for split in self.splits), os.path.abspath(self.folder), *names]
        text = os.fsencode("\0".join(how + where))
        return hashlib.blake2b(text + self.stamps.tobytes(), digest_size=16).hexdigest()


def keep_pictures(
    splits: Sequence[Sequence[str]],
    size: int,
    channels: int,
    *,
    fit: Fit = "crop",
    cache: Literal["auto", "off"] | Path = "auto",
) -> KeptPictures:
    """Decode the picture files of each split as `read_picture` does, once: later calls map the pixels from the disk.

    They are kept in $TINYCLSF_CACHE, else ~/.cache/tinyclsf/pictures, or in the folder `cache`. Where that cannot be, or with
    "off", they are decoded into memory; a DataWarning says why.
    Raises: ConfigurationError if they cannot be kept and need more than half of the free memory; DataError if a process dies
    over them.
    """
    wanted = _Wanted(splits, size, channels, fit)
    if cache != "off":
        folder = "its folder"
        try:
            folder = str(place := cache_folder() if cache == "auto" else Path(cache))
            return _kept(wanted, place / f"{wanted.key()}{ENDING}")
        except OSError as error:
            warnings.warn(
                f"decoded pictures cannot be kept in {folder}: {error.strerror or error}; so every run decodes them again: "
                "make room there, or give another folder with -d cache=DIR, or keep none with -d cache=off",
                DataWarning,
                stacklevel=2,
            )
    free = free_memory()
    if wanted.bytes > free / 2:
        raise ConfigurationError(
            f"{len(wanted.files):,} pictures of {size}x{size} need {size_text(wanted.bytes)} and half of the free memory is "
            f"{size_text(free // 2)}; have them kept on a disk with room, -d cache=DIR, or give a smaller size"
        )
    pixels = np.empty((len(wanted.files), channels, size, size), np.uint8)
    decoding = decode_pictures(wanted.files, size, channels, pixels, fit=fit)
    return _in_order(wanted, pixels, decoding.digests, decoding.reasons)


def _kept(wanted: _Wanted, path: Path) -> KeptPictures:
    if (found := _found(wanted, path)) is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        if (found := _found(wanted, path)) is not None:  # made by another process, for which this one has waited
            return found
        remove_torn(path.parent)
        path.unlink(missing_ok=True)
        make_room(path.parent, wanted.bytes)
        with new_file(path) as file:
            reasons = _decode_into(file, wanted)
        with path.open("rb") as file:
            about = read_about(file)
            assert about is not None
            return _mapped(file, about, wanted, reasons)


def _found(wanted: _Wanted, path: Path) -> KeptPictures | None:
    """What the cache has; None if that is nothing, or a file that could not be read then can be read now."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        about = read_about(file)
        known = (len(wanted.files), wanted.size, wanted.channels, wanted.fit)
        if about is None or about[1:5] != known or len(about.checksums) != len(wanted.splits):
            return None
        again = decode_pictures([wanted.files[row] for row in about.unreadable], wanted.size, wanted.channels, fit=wanted.fit)
        if len(again.reasons) < len(about.unreadable):
            return None
        kept = _mapped(file, about, wanted, {row: again.reasons[at] for at, row in enumerate(about.unreadable)})
    with contextlib.suppress(OSError):  # where nothing can be written
        os.utime(path)  # it was used now
    return kept


def _decode_into(file: IO[bytes], wanted: _Wanted) -> dict[int, str]:
    """Fill a file for the cache, and say why pictures are not in it."""
    length = wanted.bytes + DIGEST_BYTES * len(wanted.files)
    _allocate(file, length)
    digests, reasons, checksums = _decode_there(mmap.mmap(file.fileno(), length), wanted)
    about = About(
        os.path.abspath(wanted.folder), len(wanted.files), wanted.size, wanted.channels, wanted.fit, sorted(reasons), checksums
    )
    file.seek(about.pixel_bytes)
    file.write(digests.tobytes())
    write_about(file, about)
    file.truncate()
    return reasons


def _decode_there(memory: mmap.mmap, wanted: _Wanted) -> tuple[NDArray[np.uint64], dict[int, str], list[int]]:
    pixels = np.frombuffer(memory, np.uint8, wanted.bytes).reshape(-1, wanted.channels, wanted.size, wanted.size)
    decoding = decode_pictures(wanted.files, wanted.size, wanted.channels, pixels, fit=wanted.fit)
    kept = _in_order(wanted, pixels, decoding.digests, decoding.reasons)
    memory.flush()
    return kept.digests, kept.reasons, kept.checksums  # and nothing that holds on to the memory


def _in_order(wanted: _Wanted, pixels: NDArray[np.uint8], digests: NDArray[np.uint64], reasons: dict[int, str]) -> KeptPictures:
    """The pixels without the rows of files that cannot be read: the others move to the front, in place."""
    if reasons:
        readable = (row for row in range(len(pixels)) if row not in reasons)
        for row, source in enumerate(readable):  # never behind `row`, so that none is written over before it is moved
            pixels[row] = pixels[source]
    checksums, start, first = [], 0, 0
    for split in wanted.splits:
        stop = start + len(split) - sum(row in reasons for row in range(first, first + len(split)))
        checksums.append(zlib.crc32(pixels[start:stop].data))
        start, first = stop, first + len(split)
    return KeptPictures(pixels[:start], wanted.sizes(reasons), digests, reasons, checksums)


def _mapped(file: IO[bytes], about: About, wanted: _Wanted, reasons: dict[int, str]) -> KeptPictures:
    """The content of a file, read as it is needed; what a program changes in it stays in that program."""
    if sys.platform == "linux":
        # Otherwise the system refuses a set that is larger than its memory, as each page might be changed.
        prot, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _NORESERVE
        memory = mmap.mmap(file.fileno(), 0, flags=flags, prot=prot)
    else:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    pixels = np.frombuffer(memory, np.uint8, about.pixel_bytes).reshape(-1, about.channels, about.size, about.size)
    digests = np.frombuffer(memory, np.uint64, about.files, about.pixel_bytes).copy()
    ahead = None
    if sys.platform == "linux" and pixels.nbytes > free_memory() / 2:
        memory.madvise(mmap.MADV_RANDOM)  # or it reads megabytes around each row, and drops others for them
        ahead = functools.partial(_read_ahead, memory, about.channels * about.size**2)
    return KeptPictures(pixels, wanted.sizes(reasons), digests, reasons, about.checksums, ahead)


def _read_ahead(memory: mmap.mmap, row_bytes: int, rows: Iterable[int]) -> None:
    """Have the system read rows, all at the same time."""
    if sys.platform == "linux":  # said, so that types are checked for each system
        for row in rows:
            start = row * row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
            memory.madvise(mmap.MADV_WILLNEED, start, (row + 1) * row_bytes - start)


def _allocate(file: IO[bytes], length: int) -> None:
    """Take room on the disk: a mapped file that finds none later ends the process."""
    if hasattr(os, "posix_fallocate") and sys.platform != "win32":
        os.posix_fallocate(file.fileno(), 0, length)
    else:
        for start in range(0, length, len(_ZEROS)):
            file.write(_ZEROS[: length - start])
        file.flush()
