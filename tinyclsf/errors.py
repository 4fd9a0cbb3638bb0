"""What can go wrong, each kind with the exit code that the command line gives it, and what messages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Value = TypeVar("Value")


class TinyclsfError(Exception):
    """A fault that a person can mend: one sentence with the file, what was found, what was wanted and what to do."""

    exit_code, kind = 1, "internal"

    def __init__(self, message: str, *, tip: str | None = None) -> None:
        super().__init__(printable_lines(message))
        self.tip = tip

    @property
    def tip(self) -> str | None:
        """What may have been meant, or what to do; tracebacks of Python 3.11 and later show it too."""
        return self._tip

    @tip.setter
    def tip(self, tip: str | None) -> None:
        self._tip = tip
        self.__notes__ = [] if tip is None else [printable_lines(f"tip: {tip}")]


class ConfigurationError(TinyclsfError):
    """A setting, an option or a name that cannot be used as it was given."""

    exit_code, kind = 2, "configuration"


class DataError(TinyclsfError):
    """A data file that is missing, broken or not what was asked for."""

    exit_code, kind = 3, "data"


class ModelFileError(TinyclsfError):
    """A saved model or checkpoint that cannot be read or does not fit."""

    exit_code, kind = 4, "model-file"


class PluginError(TinyclsfError):
    """A plugin that cannot be imported, fails, or returns something other than its contract says."""

    exit_code, kind = 5, "plugin"


class TrainingError(TinyclsfError):
    """A training run that cannot go on: a loss that is not a number, no memory left."""

    exit_code, kind = 6, "training"


class StorageError(TinyclsfError):
    """A result that cannot be written."""

    exit_code, kind = 7, "storage"


class Interrupted(TinyclsfError):
    """A run that its person stopped."""

    exit_code, kind = 130, "interrupted"

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: who pressed its stop button knows where."""
        return [str(self), *([f"go on with {self.tip}"] if self.tip else [])]


class Terminated(Interrupted):
    """A run that the system stopped, by SIGTERM."""

    exit_code, kind = 143, "terminated"


class HungUp(Interrupted):
    """A run whose terminal was closed, which the system tells it by SIGHUP."""

    exit_code, kind = 129, "hung-up"


class TinyclsfWarning(UserWarning):
    """Something that a person should know, and that does not keep a model from being trained."""


class DataWarning(TinyclsfWarning):
    """Something about the data that a person should know."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The tip that names the nearest of the known names, or None where nothing is near."""
    import difflib  # which a command that finds its names need not wait for

    by_lower = {each.lower(): each for each in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean '{by_lower[nearest[0]]}'?" if nearest else None


def pick(what: str, name: str, table: Mapping[str, Value]) -> Value:
    """The entry of a table by its name.

    Raises: ConfigurationError that lists the names if there is none.
    """
    if name not in table:
        raise ConfigurationError(
            f"there is no {what} '{name}'; choose one of {', '.join(sorted(table))}", tip=did_you_mean(name, table)
        )
    return table[name]


def join_names(names: Sequence[object], most: int = 10) -> str:
    """Names in a sentence: the first of them, and how many more there are."""
    more = [f"{len(names) - most:,} more"] if len(names) > most else []
    *first, last = [*map(str, names[:most]), *more]
    return f"{', '.join(first)} and {last}" if first else last


def printable(text: object) -> str:
    """A name or sentence as it can be printed: what could steer a terminal, or turn its text around, as an escape."""
    text = str(text)
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def printable_lines(text: str) -> str:
    """A text of several lines as it can be printed."""
    return "\n".join(map(printable, text.split("\n")))


def shape_as_text(shape: Iterable[int]) -> str:
    """The shape of an image as a person writes it, 1x28x28."""
    return "x".join(map(str, shape))
