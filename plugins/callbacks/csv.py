"""A run's figures as comma-separated values."""

from __future__ import annotations

from pathlib import Path

from tinyclsf.plugin import Epoch, LineEachEpoch


def csv(folder: Path, model_name: str) -> LineEachEpoch:
    """Write the figures of every epoch to `metrics.csv` in the run folder.

    An accuracy of None is an empty field. A resumed run adds its rows below those of the epochs before it.
    """
    return LineEachEpoch(folder / "metrics.csv", _line, head=",".join(Epoch._fields) + "\n")


csv.watches = True  # type: ignore[attr-defined]


def _line(row: Epoch) -> str:
    return ",".join("" if value is None else str(value) for value in row) + "\n"
