"""What a run wrote down of how it went, each file read in one place into typed values: its end and its epochs."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from tinyclsf.errors import ModelFileError
from tinyclsf.history import History
from tinyclsf.machine import launch
from tinyclsf.machine.json_text import is_number, is_whole, parse_json
from tinyclsf.metrics import Epoch, Score
from tinyclsf.runs.folder import HELD_OUT, METRICS, STATE, is_there, odd_value, read_json, reading

_FIELDS = itemgetter(*Epoch._fields)
_STATES = ("done", "stopped", "failed")


class Ending(NamedTuple):
    """How a run ended: "done", "stopped" or "failed", why it failed, and its score on held-out images."""

    state: str
    error: str | None
    held_out: Score | None


def read_ending(folder: Path) -> Ending | None:
    """What the `state.json` of a run says; None where there is none, as while it is trained or where it was killed.

    Raises: ModelFileError if it cannot be read, or says anything else than how a run ended.
    """
    path = folder / STATE
    if not is_there(path):
        return None
    found = read_json(path, "wanted the end of a run", "a run")
    state, error, held_out = (found.get(key) for key in ("state", "error", "held_out"))
    if state not in _STATES:
        raise odd_value(path, "state", state, f"done, stopped or failed; {_mended(folder)}")
    if error is not None and not isinstance(error, str):
        raise odd_value(path, "error", error, f"text or null; {_mended(folder)}")
    return Ending(state, error, None if held_out is None else _score(path, held_out))


def read_history(folder: Path) -> History:
    """The epochs of a run; of one that a resumed run trained again the last line counts, and a last line that is torn does not.

    Raises: ModelFileError if its `metrics.jsonl` cannot be read, or any other line is no epoch.
    """
    path = folder / METRICS
    if not is_there(path):
        return History()
    with reading(path, "wanted the epochs of a run"):
        lines = path.read_bytes().split(b"\n")
    rows = {}
    for number, line in enumerate(lines, 1):
        row = _epoch(line)
        if row is not None:
            rows[row.epoch] = row
        elif number < len(lines):
            raise ModelFileError(f"{path} has no epoch in line {number}; {_mended(folder)}")
    return History(rows.values())


def _score(path: Path, found: Any) -> Score:
    if not isinstance(found, dict):
        raise odd_value(path, "held_out", found, f"an object or null; {_mended(path.parent)}")
    wanted: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "split": ("test or valid", lambda value: value in HELD_OUT),
        "images": ("a whole number of at least 1", lambda value: is_whole(value, 1)),
        "loss": ("a finite number", is_number),
        "accuracy": ("a number from 0 to 1", _is_share),
        "interval": ("two numbers from 0 to 1", _is_interval),
    }
    for key, (words, holds) in wanted.items():
        if not holds(found.get(key)):
            raise odd_value(path, f"held_out.{key}", found.get(key), f"{words}; {_mended(path.parent)}")
    return Score(*(found[key] for key in wanted))._replace(interval=tuple(found["interval"]))


def _epoch(line: bytes) -> Epoch | None:
    try:
        found = parse_json(line)
        epoch, train_loss, valid_loss, accuracy, seconds = _FIELDS(found)
    except (ValueError, KeyError, TypeError):
        return None
    figures = is_number(train_loss) and is_number(valid_loss) and is_number(seconds, 0)
    if not is_whole(epoch, 1) or not figures or not (accuracy is None or _is_share(accuracy)):
        return None
    return Epoch(epoch, float(train_loss), float(valid_loss), None if accuracy is None else float(accuracy), float(seconds))


def _is_share(value: object) -> bool:
    return is_number(value, 0, 1)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_share, value))


def _mended(folder: Path) -> str:
    return f"{launch.command()} fit --resume {folder} writes it anew"
