"""The run folder: one folder for each training run, made by exactly one of those who ask for it."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from tinyclsf.checkpoint import write_whole
from tinyclsf.errors import ConfigurationError, StorageError
from tinyclsf.trainer import Predictions

CONFIG = "config.json"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.npz"


def check_run_name(name: str) -> str:
    """A run's name as it is, if it is a plain name of one folder.

    Raises: ConfigurationError if it could lead elsewhere or is not portable.
    """
    if len(name) > 100 or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise ConfigurationError(
            f"run name {shown!r} cannot be used; wanted at most 100 letters, digits, '.', '_' or '-', the first no '.' or '-'"
        )
    return name


def create_run(root: Path, name: str | None, *, default: str) -> Path:
    """Make the folder of a new run, under its name or under the default with the time.

    Raises: ConfigurationError if a run of that name is there already; StorageError if the folder cannot be made.
    """
    if name is not None:
        folder = root / check_run_name(name)
        if not _made(folder):
            raise ConfigurationError(f"run folder {folder} is there already; choose another --run or move it away")
        return folder
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", default)  # a plugin's name may hold anything, a slash too
    stem = f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (root / (stem if n == 1 else f"{stem}-{n}") for n in count(1))
    return next(folder for folder in candidates if _made(folder))


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write `config.json`: every setting of the run, resolved.

    Raises: StorageError if it cannot be written.
    """
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / CONFIG, lambda file: file.write(text.encode()))


def write_predictions(folder: Path, split: str, predictions: Predictions) -> None:
    """Write `predictions.npz`: `split`, `logits` (n, classes) float32 and `labels` (n,) int64, in the order of the split.

    Raises: StorageError if it cannot be written.
    """
    logits, labels = predictions.logits.float().numpy(), predictions.labels.numpy()
    # Through memory: NumPy's zip writer complains once more on stderr when the file under it fails.
    content = io.BytesIO()
    np.savez(content, split=np.array(split), logits=logits, labels=labels)
    write_whole(folder / PREDICTIONS, lambda file: file.write(content.getbuffer()))


def _made(folder: Path) -> bool:
    """Make a folder; False if somebody else was first."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if folder.parent.is_dir():
            return False
        raise StorageError(f"cannot make run folder {folder}: {folder.parent} is not a folder; choose another --runs") from None
    except OSError as error:
        raise StorageError(f"cannot make run folder {folder}: {error.strerror}; choose another --runs") from error
    return True
