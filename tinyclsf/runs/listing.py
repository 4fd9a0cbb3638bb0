"""The runs that are there, as their files tell: what each trains, how far it came and how good it was."""

from __future__ import annotations

import math
import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tinyclsf.errors import ConfigurationError, ModelFileError, did_you_mean
from tinyclsf.metrics import Epoch, Score, best_of
from tinyclsf.runs.config_file import read_run_config
from tinyclsf.runs.folder import CONFIG, is_occupied, is_there
from tinyclsf.runs.records import read_ending, read_history


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

    Raises: ConfigurationError if the folder cannot be read; one that is not there has no runs.
    """
    runs = [_described(folder) for folder in _folders(root) if is_there(folder / CONFIG)]
    return sorted(runs, key=lambda run: _moment(run.created))  # those of one moment by name, as the folders come


def describe_run(folder: Path) -> RunSummary:
    """What the files of one run tell.

    Raises: ModelFileError if one of them is broken.
    """
    config, history, ending = read_run_config(folder), read_history(folder), read_ending(folder)
    running = ending is None and is_occupied(folder)
    ending = ending if ending or running else read_ending(folder)  # read again, as it may have ended in between
    epochs = config.settings.get("epochs")
    return RunSummary(
        name=folder.name,
        path=folder,
        model=None if config.model is None else config.model.name,
        data=None if config.data is None else config.data.name,
        state="running" if running else "stopped" if ending is None else ending.state,
        epochs_done=len(history),
        epochs=epochs,
        best=best_of(history),
        held_out=None if ending is None else ending.held_out,
        created=config.created,
        error=None if ending is None else ending.error,
    )


def _described(folder: Path) -> RunSummary:
    try:
        return describe_run(folder)
    except ModelFileError as error:
        return RunSummary(folder.name, folder, None, None, "broken", None, None, None, None, None, str(error))


def find_run(root: Path, name: str) -> Path:
    """The folder of a run that a person names: by its name in the root, else by a path.

    Raises: ConfigurationError if there is no such folder, or it is not a run's.
    """
    folders = {folder.name: folder for folder in _folders(root)}
    found = [folders[name]] if name in folders else []
    found += [Path(name)] if os.path.isdir(name) else []
    for folder in found:
        if is_there(folder / CONFIG):
            return folder
    if found:
        raise ConfigurationError(f"{found[0]} has no {CONFIG}, so it is no run; 'tinyclsf runs' shows all")
    tip = did_you_mean(name, [each for each, folder in folders.items() if is_there(folder / CONFIG)])
    raise ConfigurationError(f"there is no run {name!r} in {root}; 'tinyclsf runs' shows all", tip=tip)


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
