"""The epochs that a run wrote down in its `metrics.jsonl`, read back into typed values."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

from tinyclsf.errors import ModelFileError
from tinyclsf.history import History
from tinyclsf.machine import launch
from tinyclsf.machine.json_text import is_number, is_whole, parse_json
from tinyclsf.metrics import Epoch
from tinyclsf.runs.folder import METRICS, is_there, reading

_FIELDS = itemgetter(*Epoch._fields)


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
            raise ModelFileError(f"{path} has no epoch in line {number}; {mended(folder)}")
    return History(rows.values())


def as_epoch(found: Any) -> Epoch | None:
    """An epoch as JSON holds it; None if it is none."""
    try:
        epoch, train_loss, valid_loss, accuracy, seconds = _FIELDS(found)
    except (KeyError, TypeError):
        return None
    figures = is_number(train_loss) and is_number(valid_loss) and is_number(seconds, 0)
    if not is_whole(epoch, 1) or not figures or not (accuracy is None or is_number(accuracy, 0, 1)):
        return None
    return Epoch(epoch, float(train_loss), float(valid_loss), None if accuracy is None else float(accuracy), float(seconds))


def mended(folder: Path) -> str:
    """What mends a broken record of a run."""
    return f"{launch.resume_command(folder)} writes it anew"


def _epoch(line: bytes) -> Epoch | None:
    try:
        return as_epoch(parse_json(line))
    except ValueError:
        return None
