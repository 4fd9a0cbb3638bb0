"""The program's stdout, for what a command found and nothing else, and its stderr; neither ends work when nobody reads it."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class _Enduring(io.TextIOWrapper):
    """A stream of the system that leads nowhere once it cannot be written: what is lost is not worth the work behind it."""

    def __init__(self, number: int, name: str, before: TextIO | None, errors: list[OSError]) -> None:
        encoding = "utf-8" if before is None else before.encoding
        binary = open(number, "wb", closefd=False)  # noqa: SIM115  # to the end of the process
        super().__init__(binary, encoding, line_buffering=True)
        self._name = name
        self._errors = errors

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._lead_nowhere(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._lead_nowhere(error)

    def _lead_nowhere(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):  # where the reader, `head` for one, has all that it wanted
            self._errors.append(OSError(error.errno, error.strerror, self._name))


def take_streams() -> list[OSError]:
    """Have stdout and stderr go on when they cannot be written; what is returned gets the reasons, not of readers gone.

    Only what is printed to `sys.stdout` reaches stdout from here on. What libraries and other processes write to file
    descriptor 1 goes to stderr, to the end of the process.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed, as by 2>&-: the next file to be opened must not take its place
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    errors: list[OSError] = []
    sys.stdout = _Enduring(os.dup(1), "stdout", sys.stdout, errors)
    sys.stderr = _Enduring(2, "stderr", sys.stderr, errors)
    os.dup2(2, 1)
    return errors
