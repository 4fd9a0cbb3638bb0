"""The runs that are there, as their files tell: what each trains, how far it came and how good it was."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tinyclsf.errors import ConfigurationError, ModelFileError, did_you_mean
from tinyclsf.metrics import Epoch, best_of
from tinyclsf.runs.folder import CONFIG, METRICS, STATE, is_occupied, read_json

Value = TypeVar("Value")


class RunSummary(NamedTuple):
    """One run; None where its files do not say.

    `state` is "done", "stopped" or "failed" as the run itself ended, "running" while it is trained, "stopped" too where it
    was killed, and "broken" where its settings cannot be read. `error` says why it failed or is broken.
    """

    name: str
    path: Path
    model: str | None
    data: str | None
    state: str
    epochs_done: int
    epochs: int | None
    best: Epoch | None
    held_out: dict[str, Any] | None
    created: str | None
    error: str | None


def list_runs(root: Path) -> list[RunSummary]:
    """Every run in a folder, the oldest first; one that is broken is among them.

    Raises: ConfigurationError if the folder cannot be read; one that is not there has no runs.
    """
    runs = [describe_run(folder) for folder in _folders(root) if _is_run(folder)]
    return sorted(runs, key=lambda run: _moment(run.created))  # those of one moment by name, as the folders come


def describe_run(folder: Path) -> RunSummary:
    """What the files of one run tell."""
    history = read_history(folder)
    running = not _read_state(folder) and is_occupied(folder)
    ended = {} if running else _read_state(folder)  # read again, as it may have ended in between
    state, error = "running" if running else ended.get("state", "stopped"), value_at(str, ended, "error")
    config: dict[str, Any] = {}
    try:
        config = read_run_config(folder)
    except ModelFileError as reason:
        state, error = "broken", str(reason)
    return RunSummary(
        name=folder.name,
        path=folder,
        model=value_at(str, config, "model", "name"),
        data=value_at(str, config, "data", "name"),
        state=state,
        epochs_done=len(history),
        epochs=value_at(int, config, "settings", "epochs", "value"),
        best=best_of(history),
        held_out=value_at(dict, ended, "held_out"),
        created=value_at(str, config, "created"),
        error=error,
    )


def find_run(root: Path, name: str) -> Path:
    """The folder of a run that a person names: by its name in the root, else by a path.

    Raises: ConfigurationError if there is no such folder, or it is not a run's.
    """
    folders = {folder.name: folder for folder in _folders(root)}
    found = [folders[name]] if name in folders else []
    found += [Path(name)] if os.path.isdir(name) else []
    for folder in found:
        if _is_run(folder):
            return folder
    if found:
        raise ConfigurationError(f"{found[0]} has no {CONFIG}, so it is no run; 'tinyclsf runs' shows all")
    tip = did_you_mean(name, [each for each, folder in folders.items() if _is_run(folder)])
    raise ConfigurationError(f"there is no run {name!r} in {root}; 'tinyclsf runs' shows all", tip=tip)


def read_run_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a run as it is.

    Raises: ModelFileError if it is missing, not JSON or not an object.
    """
    path = folder / CONFIG
    config = read_json(path, "wanted the settings of a run", "a run")
    if not isinstance(config, dict):
        raise ModelFileError(f"{path} holds a {type(config).__name__}; wanted an object with the settings of a run")
    return config


def value_at(kind: type[Value], found: Any, *keys: str) -> Value | None:
    """What stands under these keys, one inside the other, if it is of that type."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, kind) else None


def setting_of(config: dict[str, Any], name: str, default: Any = None) -> Any:
    """The value of a setting in a run's `config.json`, as `lr` or `batch_size`; the default where it is not there."""
    found = value_at(dict, config, "settings", name)
    return default if found is None else found.get("value", default)


def read_history(folder: Path) -> list[Epoch]:
    """The epochs of a run that are whole; of one that a resumed run trained again, the last row."""
    try:
        lines = (folder / METRICS).read_bytes().splitlines()
    except OSError:
        return []
    rows = [row for line in lines if (row := _read_row(line)) is not None]
    return list({row.epoch: row for row in rows}.values())


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"cannot look for runs in {root}: {error.strerror}; choose another --runs") from error


def _is_run(folder: Path) -> bool:
    return os.path.lexists(folder / CONFIG)


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = read_json(folder / STATE, "wanted the end of a run", "a run")
    except ModelFileError:
        return {}
    return state if value_at(str, state, "state") in ("done", "stopped", "failed") else {}


def _read_row(line: bytes) -> Epoch | None:
    try:
        values = json.loads(line)
        train_loss, valid_loss, seconds = (float(values[name]) for name in ("train_loss", "valid_loss", "seconds"))
        accuracy = None if values["valid_accuracy"] is None else float(values["valid_accuracy"])
        return Epoch(int(values["epoch"]), train_loss, valid_loss, accuracy, seconds)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _moment(created: str | None) -> float:
    try:
        return datetime.fromisoformat(created or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return -math.inf
