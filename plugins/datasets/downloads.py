"""Downloads by torchvision's own code that leave whole files, or none and one sentence that says why."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import socket
import tarfile
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

from tinyclsf.plugin import DataError, printable, tell_progress

_SILENCE = 60.0  # seconds that a server may send nothing, or less than _SLOWEST allows
_SLOWEST = 1000  # bytes a second
_MOST = 10_000_000_000  # bytes of a server that does not say how many there are
_ABANDONED = 900.0  # seconds in which nothing has changed in a scratch folder: whoever made it was killed
_PIECE = 1 << 15
_SCRATCH = ".download-"
_DISK = {
    getattr(errno, name)
    for name in ("EACCES", "EDQUOT", "EEXIST", "EFBIG", "ENOSPC", "ENOTDIR", "EPERM", "EROFS")
    if hasattr(errno, name)
}


def download(
    what: str, folder: Path, fetch: Callable[[Path], Iterable[Path]], *, otherwise: str, where: str = "point --data-dir at"
) -> None:
    """Let `fetch` download into a scratch folder; when all is there, move the files or folders that it returns into `folder`.

    Two downloads at the same time still end with whole files: existing files are replaced, one at a time.
    Raises: DataError that names `what`, the folder, the address, the reason, and what to do: `otherwise` if nothing can be
    downloaded, `where` to name another folder.
    """
    made = [each for each in (folder, *folder.parents) if not os.path.exists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        # Beside the final place, so that moving is renaming.
        with tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as scratch:
            with _patience(Path(scratch)), _shown(what), _safe_unpacking():
                paths = fetch(Path(scratch))
            for path in paths:
                _move(path, folder / path.name)
    except Exception as error:  # what torchvision raises where a file is not what it wants can be anything
        advice = f"check the network, or {otherwise}"
        if getattr(error, "errno", None) in _DISK:
            advice = f"{where} a folder that can be written and has room"
        address = "" if "://" in str(error) else _address(error)
        # A server's own words may be in it.
        said = printable(f"{what} is not in {folder} and cannot be downloaded{address} {explain_failure(error, advice)}")
        raise DataError(said) from error
    finally:
        for each in made:
            with contextlib.suppress(OSError):  # it holds something
                each.rmdir()


def explain_failure(error: Exception, advice: str) -> str:
    """Why torchvision failed, in brackets, and what to do: the given advice, or to install a package that is missing."""
    if isinstance(error, ImportError) and error.name:
        package = error.name.partition(".")[0]
        return f"(it needs {package}); pip install {package}"
    return f"({_reason(error)}); {advice}"


def _reason(error: Exception) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _reason(error.reason)
    if isinstance(error, TimeoutError):
        return f"the server sent nothing for {_SILENCE:g} seconds"
    text = " ".join(str(error).split())
    if not isinstance(error, (OSError, RuntimeError, ValueError)) or not text:
        return f"{type(error).__name__}: {text}".rstrip(": ")
    return text.replace("File not found or corrupted.", "what came is cut short or damaged: its checksum is wrong").rstrip(".")


def _address(error: Exception) -> str:
    # Most errors do not say where from, and the functions that download do: they call it url.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if isinstance(url := frame.f_locals.get("url"), str):
            return f" from {url}"
    return ""


def _move(source: Path, target: Path) -> None:
    if source.is_symlink():
        raise RuntimeError(f"{source.name} in the archive is a link")
    try:
        os.replace(source, target)
    except OSError:
        if not (source.is_dir() and target.is_dir()):
            raise
        for each in source.iterdir():
            _move(each, target / each.name)


def _sweep(folder: Path) -> None:
    """Remove the scratch folders that killed downloads left behind."""
    for left in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # it may have been removed meanwhile
            found = [each.lstat() for each in (left, *left.rglob("*"))]
            # What is unpacked has the times of the archive, and where there is one that of its unpacking too.
            if time.time() - max(max(each.st_mtime, each.st_ctime) for each in found) > _ABANDONED:
                shutil.rmtree(left)


@contextlib.contextmanager
def _patience(folder: Path) -> Iterator[None]:
    """End a download whose server stops sending, sends almost nothing, or sends more than there is room for."""
    timeout, urlopen = socket.getdefaulttimeout(), urllib.request.urlopen
    adapters: list[tuple[Any, Any]] = []
    with contextlib.suppress(ImportError):  # what gdown fetches by, for torchvision's sets from Google Drive
        from requests.adapters import HTTPAdapter

        adapters.append((HTTPAdapter, HTTPAdapter.send))

    def watched(*args: Any, **options: Any) -> Any:
        response = urlopen(*args, **options)
        response.read = _Watched(response.read1, response.length, folder).read  # by which torchvision reads it
        return response

    def sent(adapter: Any, request: Any, **options: Any) -> Any:
        response = adapters[0][1](adapter, request, **{**options, "timeout": _SILENCE})
        # As a browser reads it: a page may come packed, and its length is that of what is packed.
        length = None if "Content-Encoding" in response.headers else response.raw.length_remaining
        watch = _Watched(partial(response.raw.read1, decode_content=True), length, folder)
        response.raw.stream = lambda *args, **options: iter(lambda: watch.read(_PIECE), b"")
        return response

    socket.setdefaulttimeout(_SILENCE)
    urllib.request.urlopen = watched
    for adapter, _ in adapters:
        adapter.send = sent
    try:
        yield
    finally:
        for adapter, send in adapters:
            adapter.send = send
        urllib.request.urlopen = urlopen
        socket.setdefaulttimeout(timeout)


class _Watched:
    """Reads what a server sends as it comes.

    Raises: OSError if there is no room for it in the folder; RuntimeError if it comes too slowly, or is too long and the
    server did not announce its length.
    """

    def __init__(self, read: Callable[[int], bytes], length: int | None, folder: Path) -> None:
        if length is not None and length > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, f"the server has {length:,} bytes to send, more than the disk has room for")
        self._read = read
        self._most = _MOST if length is None else length
        self._count = self._before = 0
        self._since = time.monotonic()

    def read(self, amount: int = -1) -> bytes:
        if amount < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        data = self._read(amount)
        self._count += len(data)
        if self._count > self._most:
            raise RuntimeError(f"the server sent more than {self._most:,} bytes and does not say how many there are")
        if data and (seconds := time.monotonic() - self._since) > _SILENCE:
            if self._count - self._before < _SLOWEST * seconds:
                raise RuntimeError(f"the server sent less than {_SLOWEST:,} bytes a second for {_SILENCE:g} seconds")
            self._since, self._before = time.monotonic(), self._count
        return data


@contextlib.contextmanager
def _shown(what: str) -> Iterator[None]:
    """Report that a download begins, the progress of each file, and that it has ended.

    torchvision's own bar is not shown: with tqdm installed, a signal while the bar is made leads to an error on stderr.
    """
    what = f"downloading {what}"
    tell_progress(what, 0, 1)
    from torchvision.datasets import utils  # type: ignore[import-untyped]

    bar = utils.tqdm

    @contextlib.contextmanager
    def told(total: int | None, **look: Any) -> Iterator[Any]:
        done = 0

        def update(count: int) -> None:
            nonlocal done
            done += count
            if total is not None and done < total:
                tell_progress(what, done, total)

        yield SimpleNamespace(update=update)

    utils.tqdm = told
    try:
        yield
    finally:
        utils.tqdm = bar
    tell_progress(what, 1, 1)


@contextlib.contextmanager
def _safe_unpacking() -> Iterator[None]:
    """Keep every file of an archive inside the folder that it is unpacked into.

    torchvision before 0.29 leaves this to Python, which does it by default from 3.14 on.
    """
    name = "extraction_filter" if hasattr(tarfile, "data_filter") else "extractall"
    before = vars(tarfile.TarFile)[name]
    setattr(tarfile.TarFile, name, staticmethod(getattr(tarfile, "data_filter", _refuse)))
    try:
        yield
    finally:
        setattr(tarfile.TarFile, name, before)


def _refuse(*args: Any, **options: Any) -> None:
    raise RuntimeError(f"Python {platform.python_version()} cannot unpack safely; use 3.10.12, 3.11.4 or later")
