"""Reading data files that may be gzipped, broken, or not what their names say."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from tinyclsf.plugin import DataError

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """A file opened for reading; gzip content is unzipped, whatever the file's name.

    Raises: DataError if it is not a file, cannot be read, is empty or a web page, or is gzip that is cut short or damaged.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path} is a folder or a device; wanted a file")
    try:
        with path.open("rb") as file:
            head = file.read(64)
            file.seek(0)
            if not head:
                raise DataError(f"{path} is empty; fetch it again")
            if head.lstrip().startswith(b"<"):
                raise DataError(f"{path} is a web page (HTML or XML), not data; fetch it again from another address")
            if head.startswith(_GZIP):
                with gzip.open(file) as unzipped:
                    yield unzipped
            else:
                yield file
    except EOFError as error:
        raise DataError(f"{path} is cut short: its gzip stream has no end; fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again") from error
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check its name and the folder that it is looked for in") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def read_up_to(file: BufferedIOBase, size: int) -> bytearray:
    """The next `size` bytes, or fewer at the end of the file; memory grows with what is there and not with `size`."""
    content = bytearray()
    while piece := file.read(min(_PIECE, size - len(content))):
        content += piece
    return content
