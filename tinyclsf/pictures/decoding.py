"""Many pictures at once: decoded by processes of their own, straight into the rows of one array.

Threads would not do, as half of the work on a small picture is Python's own. The processes are started as programs are, not by
`multiprocessing`: that would run a script without a `__main__` guard again, or copy a process with PyTorch's threads in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import IO, TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from tinyclsf.errors import DataError
from tinyclsf.pictures.picture import PictureError, read_file, read_picture
from tinyclsf.progress.telling import tell_progress

if TYPE_CHECKING:
    from tinyclsf.modules import Fit

_SAMPLE = 16  # pictures that are decoded here first, to see how long one takes
_STARTUP_SECONDS = 0.25  # what a process takes before its first picture
_CHUNK_SECONDS, _CHUNK_FILES, _CHUNK_BYTES = 0.1, 256, 8 << 20  # the most that a process is given at a time
_TELL_SECONDS = 0.2
# A process imports what this one imports. `sys` is part of the interpreter: no file of that name can take its place.
_PROGRAM = "import sys; sys.path[:] = {}; from tinyclsf.pictures.decoding import serve; serve()"


@dataclass(frozen=True)
class Decoding:
    """Pictures and what became of them: their pixels, why some could not be read, and digests of the files' bytes.

    `reasons` are by row, and a row of `out` that has one means nothing. Without `out` no pixels are kept.
    Shapes: out (n, channels, size, size); digests (n,), 0 where there is a reason.
    """

    files: Sequence[str]
    size: int
    channels: int
    fit: Fit
    out: NDArray[np.uint8] | None
    digests: NDArray[np.uint64]
    reasons: dict[int, str] = field(default_factory=dict)

    def decode(self, row: int) -> None:
        """Decode one picture in this process."""
        try:
            data = read_file(self.files[row])
            pixels = read_picture(data, self.size, self.channels, self.fit)
        except PictureError as error:
            self.reasons[row] = str(error)
            return
        self.digests[row] = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
        if self.out is not None:
            self.out[row] = pixels


def decode_pictures(
    files: Sequence[str], size: int, channels: int, out: NDArray[np.uint8] | None = None, *, fit: Fit = "crop"
) -> Decoding:
    """Decode pictures into the rows of `out` as `read_picture` does, or without it only try whether they can be read.

    As many processes as there are processors share the work, where it is worth starting them.
    Shapes: out (n, channels, size, size).
    Raises: DataError if a process dies over it.
    """
    decoding = Decoding(files, size, channels, fit, out, np.zeros(len(files), np.uint64))
    done, next_word = 0, 0.0
    with contextlib.closing(_decode_all(decoding)) as counts:  # so that the processes end even where a listener raises
        for count in counts:
            done += count
            if done == len(files) or time.monotonic() >= next_word:
                tell_progress("decoding pictures", done, len(files))
                next_word = time.monotonic() + _TELL_SECONDS
    return decoding


def processor_count() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:  # noqa: RET505  # said, so that types are checked for each system
        return os.cpu_count() or 1


def serve() -> None:
    """The life of a decoding process: chunks of file names come on stdin; pixels, digests and reasons go to stdout."""
    size, channels, keep = (int(word) for word in sys.argv[1:4])
    fit = cast("Fit", sys.argv[4])
    requests = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints must not get among the pixels
        while head := requests.read(4):
            files = [os.fsdecode(name) for name in requests.read(int.from_bytes(head, "little")).split(b"\0")]
            out = np.zeros((len(files), channels, size, size), np.uint8) if keep else None
            decoding = Decoding(files, size, channels, fit, out, np.zeros(len(files), np.uint64))
            for row in range(len(files)):
                decoding.decode(row)
            reasons = b"\0".join(decoding.reasons.get(row, "").encode() for row in range(len(files)))
            if out is not None:
                answers.write(out.data)
            answers.write(decoding.digests.data)
            answers.write(len(reasons).to_bytes(4, "little") + reasons)
            answers.flush()


def _decode_all(decoding: Decoding) -> Generator[int, None, None]:
    seconds = []
    for row in range(min(_SAMPLE, len(decoding.files))):
        start = time.perf_counter()
        decoding.decode(row)
        seconds.append(time.perf_counter() - start)
        yield 1
    rest = range(len(seconds), len(decoding.files))
    each = statistics.median(seconds) if rest else 0.0
    processes = min(processor_count(), int(each * len(rest) / _STARTUP_SECONDS))
    if processes > 1 and sys.executable:
        chunk = min(int(_CHUNK_SECONDS / each), _CHUNK_FILES, _CHUNK_BYTES // (decoding.channels * decoding.size**2))
        chunks = [rest[at : at + max(1, chunk)] for at in range(0, len(rest), max(1, chunk))]
        yield from _decode_in_processes(decoding, chunks, processes)
        # Pillow may have been told in this process to take more: another format, or files that are cut short.
        for row in sorted(row for row in decoding.reasons if row in rest):
            del decoding.reasons[row]
            decoding.decode(row)
    else:
        for row in rest:
            decoding.decode(row)
            yield 1


def _decode_in_processes(decoding: Decoding, chunks: Sequence[range], processes: int) -> Iterator[int]:
    waiting: queue.SimpleQueue[range] = queue.SimpleQueue()
    for rows in chunks:
        waiting.put(rows)
    outcomes: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()

    def work_with(child: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        """Hand a process one chunk after the other, until there is none or it fails."""
        with contextlib.suppress(queue.Empty):
            while True:
                rows = waiting.get_nowait()
                try:
                    _ask(child, decoding, rows)
                except (OSError, EOFError):
                    outcomes.put(DataError(_obituary(child.wait(), log, decoding.files, rows)))
                    return
                except Exception as error:  # nobody would hear of it in a thread
                    outcomes.put(error)
                    return
                outcomes.put(len(rows))

    with contextlib.ExitStack() as stack:
        # A log for each, as the last words of two in one would be mixed.
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        children = [stack.enter_context(_start(decoding, log)) for log in logs]
        # Each thread waits for one process, and reads its pixels into their rows. Not an executor: with a submission for
        # each chunk, Ctrl-C may come while this thread holds the executor's lock, and nothing would ever end.
        threads = [Thread(target=work_with, args=pair, daemon=True) for pair in zip(children, logs, strict=True)]
        try:
            for thread in threads:
                thread.start()
            for _ in chunks:
                outcome = outcomes.get()
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
        finally:
            for child in children:
                child.kill()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()


def _start(decoding: Decoding, log: IO[bytes]) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(ascii([folder for folder in sys.path if isinstance(folder, str)]))
    words = (decoding.size, decoding.channels, int(decoding.out is not None), decoding.fit)
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # NumPy is there to hold bytes
        start_new_session=True,  # Ctrl-C in a terminal is for this process, which ends the others
    )


def _ask(child: subprocess.Popen[bytes], decoding: Decoding, rows: range) -> None:
    """Have a process decode some rows.

    Raises: OSError or EOFError if it has died.
    """
    assert child.stdin is not None
    # No file has a zero byte in its name, nor an empty name; any other byte is let through.
    wanted = [decoding.files[row] for row in rows]
    names = b"\0".join(b"" if "\0" in name else os.fsencode(name) for name in wanted)
    request = memoryview(len(names).to_bytes(4, "little") + names)
    while request:
        request = request[child.stdin.write(request) :]
    if decoding.out is not None:
        _read_into(child, decoding.out[rows.start : rows.stop].data)
    _read_into(child, decoding.digests[rows.start : rows.stop].data)
    length = bytearray(4)
    _read_into(child, memoryview(length))
    reasons = bytearray(int.from_bytes(length, "little"))
    _read_into(child, memoryview(reasons))
    decoding.reasons.update((row, reason.decode()) for row, reason in zip(rows, reasons.split(b"\0"), strict=True) if reason)


def _read_into(child: subprocess.Popen[bytes], buffer: memoryview) -> None:
    assert child.stdout is not None
    rest = buffer.cast("B")
    while rest:
        count = child.stdout.readinto(rest)  # type: ignore[attr-defined]  # unbuffered, so a FileIO
        if not count:
            raise EOFError
        rest = rest[count:]


def _obituary(status: int, log: IO[bytes], files: Sequence[str], rows: range) -> str:
    log.seek(0)
    last_words = log.read().decode(errors="replace").split("\n")[-2:-1]
    how = f"ended with exit status {status}" if status >= 0 else f"was killed by signal {-status}"
    return (
        f"a process that decodes pictures {': '.join([how, *last_words])}; it was at {len(rows)} pictures from "
        f"{files[rows[0]]} on, of which one may be to blame, or the memory has run out"
    )
