"""Runs in one picture: their losses and accuracy by epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine.arguments import as_path, check_type
from tinyclsf.machine.storage import StrPath
from tinyclsf.metrics import Epoch
from tinyclsf.runs.epochs import read_history
from tinyclsf.runs.listing import find_run
from tinyclsf.runs.trained_run import TrainedRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AnyRun = TrainedRun | list[Epoch] | StrPath


def plot(runs: AnyRun | Sequence[AnyRun] | Mapping[str, AnyRun], axes: Any = None) -> Figure:
    """Draw the losses and the validation accuracy of runs by epoch, one line per run, and return the figure.

    runs: one or several; each is a run, its history, its folder, or its name in $TINYCLSF_RUNS or else "runs". A dictionary
    gives the lines names of your own.
    axes: one per plot, to draw into; without them a new figure.
    Raises: ConfigurationError if a run is missing, no run has an epoch, or the number of axes is wrong; ModelFileError if a
    history is broken.
    """
    from tinyclsf.drawing.figures import draw_curves

    found: dict[str, list[Epoch]] = {}
    for name, run in _named(runs):
        own, history = _opened(run)
        name = name or own or f"run {len(found) + 1}"
        found[name if name not in found else f"{name} ({len(found) + 1})"] = history
    if not any(found.values()):
        raise ConfigurationError("there is no epoch to draw; give at least one run with a finished epoch")
    return draw_curves(found, axes=axes)


def _named(runs: Any) -> list[tuple[str | None, Any]]:
    """Each run with the name that it was given, if it was."""
    if isinstance(runs, Mapping):
        return list(runs.items())
    several = isinstance(runs, (list, tuple)) and not all(isinstance(each, Epoch) for each in runs)
    return [(None, each) for each in (runs if several else [runs])]


def _opened(run: Any) -> tuple[str | None, list[Epoch]]:
    """The name of a run, where it has one, and its epochs."""
    if isinstance(run, TrainedRun):
        return run.folder.resolve().name, run.history
    if isinstance(run, list) and all(isinstance(row, Epoch) for row in run):
        return None, run
    check_type("a run", run, str, os.PathLike, wanted="a run, its history, its folder or its name")
    folder = find_run(Path(os.environ.get("TINYCLSF_RUNS") or "runs"), str(as_path("a run", run)))
    return folder.resolve().name, read_history(folder)
