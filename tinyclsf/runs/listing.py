"""The runs that are there, as their files tell: what each trains, how far it came and how good it was."""

from __future__ import annotations

import math
import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tinyclsf.errors import ConfigurationError, ModelFileError, did_you_mean
from tinyclsf.metrics import Epoch, Score
from tinyclsf.runs.ending import Ending, Outline, read_ending, read_outline
from tinyclsf.runs.folder import CONFIG, is_occupied, is_there


class RunSummary(NamedTuple):
    """One run; None where its files do not say.

    `state` is "done", "stopped" or "failed" as the run itself ended, "running" while it is trained, "stopped" too where it
    was killed, and "broken" where a file cannot be read or says what cannot be. `error` says why it failed or is broken.
    """

    name: str
    path: Path
    model: str | None
    data: str | None
    state: str
    epochs_done: int | None
    epochs: int | None
    best: Epoch | None
    held_out: Score | None
    created: str | None
    error: str | None


def list_runs(root: Path) -> list[RunSummary]:
    """Every run in a folder, the oldest first; one that is broken is among them.

    Of a run that has ended only `state.json` is read, unless its other files have another size than when it was written.
    Raises: ConfigurationError if the folder cannot be read; one that is not there has no runs.
    """
    runs = [_listed(folder) for folder in _runs(root)]
    return sorted(runs, key=lambda run: _moment(run.created))  # those of one moment by name, as the folders come


def run_names(root: Path) -> list[str]:
    """The names of all runs in a folder.

    Raises: ConfigurationError if the folder cannot be read; one that is not there has no runs.
    """
    return [folder.name for folder in _runs(root)]


def describe_run(folder: Path) -> RunSummary:
    """What the files of one run tell.

    Raises: ModelFileError if one of them is broken.
    """
    outline, ending = read_outline(folder), read_ending(folder)
    running = ending is None and is_occupied(folder)
    ending = ending if ending or running else read_ending(folder)  # read again, as it may have ended in between
    return _summary(folder, outline, ending or Ending("running" if running else "stopped", None, None))


def find_run(root: Path, name: str) -> Path:
    """The folder of a run that a person names: by its name in the root, else by a path.

    Raises: ConfigurationError if there is no such folder, or it is not a run's.
    """
    folders = {folder.name: folder for folder in _folders(root)}
    found = [folders[name]] if name in folders else []
    found += [Path(name)] if os.path.isdir(name) else []
    for folder in found:
        if is_there(folder / CONFIG):
            return folder if folder.name else folder.resolve()  # "." is no name to be told by
    if found:
        raise ConfigurationError(f"{found[0]} has no {CONFIG}, so it is no run; 'tinyclsf runs' shows all")
    tip = did_you_mean(os.path.basename(name), run_names(root))
    raise ConfigurationError(f"there is no run {name!r} in {root}; 'tinyclsf runs' shows all", tip=tip)


def _listed(folder: Path) -> RunSummary:
    try:
        ending = read_ending(folder)
        if ending is None or ending.outline is None:
            return describe_run(folder)
        return _summary(folder, ending.outline, ending)
    except ModelFileError as error:
        return RunSummary(folder.name, folder, None, None, "broken", None, None, None, None, None, str(error))


def _summary(folder: Path, outline: Outline, ending: Ending) -> RunSummary:
    return RunSummary(
        name=folder.name, path=folder, state=ending.state, held_out=ending.held_out, error=ending.error, **outline._asdict()
    )


def _runs(root: Path) -> list[Path]:
    return [folder for folder in _folders(root) if is_there(folder / CONFIG)]


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [root / name for name in sorted(entry.name for entry in entries if entry.is_dir())]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"cannot look for runs in {root}: {error.strerror}; choose another --runs") from error


def _moment(created: str | None) -> float:
    try:
        return datetime.fromisoformat(created or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return -math.inf
