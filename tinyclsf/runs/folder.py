"""The run folder: one folder for each training run, made by one of those who ask for it and trained in by one at a time."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tinyclsf.errors import ConfigurationError, ModelFileError, StorageError
from tinyclsf.machine.csv_text import csv_bytes
from tinyclsf.machine.json_text import json_type, parse_json
from tinyclsf.machine.locks import lock, unlock
from tinyclsf.machine.storage import write_json, write_whole

if TYPE_CHECKING:
    from tinyclsf.loop.evaluation import Predictions

CONFIG = "config.json"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.npz"
STATE = "state.json"
LEFT_OUT = "left-out.csv"
LOCK = ".lock"
HELD_OUT = ("test", "valid")  # the splits that a run is scored on
RUN_FILES = (CONFIG, METRICS, PREDICTIONS, STATE, LEFT_OUT)

_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", re.IGNORECASE)  # devices, and a dot that it drops
_WAIT_SECONDS = 0.5  # for those who only look whether a run is occupied, and hold its lock for that moment


def check_run_name(name: str) -> str:
    """A run's name as it is, if it is a plain name of one folder.

    Raises: ConfigurationError if it could lead elsewhere or is not portable.
    """
    if len(name) > 100 or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise ConfigurationError(
            f"run name {shown!r} cannot be used; wanted at most 100 of a-z, A-Z, 0-9, '.', '_' and '-', the first no '.' or '-'"
        )
    if _OF_WINDOWS.fullmatch(name):
        raise ConfigurationError(f"run name {name!r} cannot be used; Windows does not allow it, so choose another")
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
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", default).lstrip("-")  # a plugin's name may hold anything, a slash too
    stem = f"{plain or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidates = (root / (stem if n == 1 else f"{stem}-{n}") for n in count(1))
    return next(folder for folder in candidates if _made(folder))


@contextlib.contextmanager
def reading(path: Path, advice: str) -> Iterator[None]:
    """Turn what the system says where a file cannot be read into a ModelFileError that names it."""
    try:
        yield
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}; {advice}", tip=likely_folder(path.parent)) from error


def read_json(path: Path, advice: str, owner: str) -> dict[str, Any]:
    """The object that a JSON file holds; `advice` is for one that cannot be read, `owner` is what such a file belongs to.

    Raises: ModelFileError if it cannot be read, or holds anything else.
    """
    with reading(path, advice):
        content = path.read_bytes()
    try:
        found = parse_json(content)
    except ValueError as error:
        raise ModelFileError(f"{path} is not JSON ({error}); the file is broken or not {owner}'s") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} holds {json_type(found)}; wanted an object; the file is broken or not {owner}'s")
    return found


def likely_folder(path: Path) -> str | None:
    """The tip for a folder that is not there, if it is where runs are kept."""
    inside = Path(os.environ.get("TINYCLSF_RUNS") or "runs") / path
    return f"did you mean '{inside}'?" if not path.exists() and is_there(inside / CONFIG) else None


def odd_value(path: Path, what: str, found: object, wanted: str) -> ModelFileError:
    """The error for a value in a JSON file that cannot be there."""
    text = json.dumps(found)
    return ModelFileError(f"{path}: {what} is {text if len(text) <= 40 else text[:40] + '...'}; wanted {wanted}")


def is_there(path: Path) -> bool:
    """Whether a folder has a file of that name, whatever it is; a folder that cannot be searched may have it."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # who reads the file says why it cannot be
        return True
    return True


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write `config.json`: every setting of the run, resolved.

    Raises: StorageError if it cannot be written.
    """
    write_json(folder / CONFIG, config)


def write_left_out(folder: Path, left_out: Mapping[str, str]) -> None:
    """Write `left-out.csv`, the files that are in no split of the data and why; no file where there are none.

    Raises: StorageError if it cannot be written.
    """
    if left_out:
        content = csv_bytes([("file", "reason"), *left_out.items()])
        write_whole(folder / LEFT_OUT, lambda file: file.write(content))


def write_predictions(folder: Path, split: str, predictions: Predictions) -> None:
    """Write `predictions.npz`: `split`, `logits` (n, classes) float32 and `labels` (n,) int64, in the order of the split.

    Raises: StorageError if it cannot be written.
    """
    import numpy as np  # here, as those who only look at runs need not wait for it

    logits, labels = predictions.logits.float().numpy(), predictions.labels.numpy()
    # Through memory: NumPy's zip writer complains once more on stderr when the file under it fails.
    content = io.BytesIO()
    np.savez(content, split=np.array(split), logits=logits, labels=labels)
    # A copy: its own buffer, in a cycle with the error of a full disk, has Python 3.12 crash when it collects garbage.
    write_whole(folder / PREDICTIONS, lambda file: file.write(content.getvalue()))


def read_predictions(folder: Path) -> tuple[str, Predictions]:
    """The name of the split that a run was scored on, and its predictions for it.

    Raises: ModelFileError if there are none, or the file is broken.
    """
    import numpy as np
    import torch

    from tinyclsf.loop.evaluation import Predictions

    path = folder / PREDICTIONS
    with reading(path, "a run has its predictions once its training is done"):
        content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as found:
            split, logits, labels = found["split"], found["logits"], found["labels"]
    except Exception as error:  # a broken zip file can bring up anything in NumPy
        raise ModelFileError(f"{path} is broken ({type(error).__name__}); wanted what a run writes when it is done") from error
    if logits.ndim != 2 or 0 in logits.shape or logits.dtype != np.float32:
        raise ModelFileError(f"{path} holds logits {logits.dtype} {logits.shape}; wanted float32 (n, classes)")
    if labels.shape != logits.shape[:1] or labels.dtype != np.int64:
        raise ModelFileError(f"{path} holds labels {labels.dtype} {labels.shape}; wanted int64 {logits.shape[:1]}")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ModelFileError(f"{path} has labels {labels.min()} to {labels.max()}; wanted 0 to {logits.shape[1] - 1}")
    if split.shape != () or str(split) not in HELD_OUT:
        raise ModelFileError(f"{path} is for split {split.tolist()!r:.40}; wanted {' or '.join(HELD_OUT)}")
    return str(split), Predictions(torch.from_numpy(logits), torch.from_numpy(labels))


@contextlib.contextmanager
def removed_unless_begun(folder: Path) -> Iterator[None]:
    """Remove the new folder of a run that ends before its settings are written down, with what callbacks put there."""
    try:
        yield
    except BaseException:
        if not (folder / CONFIG).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Hold a run for the one who trains in it; a process that is killed leaves it free.

    Raises: ConfigurationError if another one holds it; StorageError if the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context((folder / LOCK).open("wb"))
            _lock(file)
        except BlockingIOError:
            raise ConfigurationError(
                f"run {folder} is being trained by another process; wait for it, or choose another run"
            ) from None
        except OSError as error:
            raise StorageError(
                f"cannot lock run {folder}: {error.strerror}; make its folder one that can be written"
            ) from error
        # To close it is not enough where a process that loads data has it open too. It stays: who removed it could remove
        # the one that somebody else has just locked.
        stack.callback(unlock, file)
        yield


def _lock(file: IO[bytes]) -> None:
    """Lock a file that others may look at, and lock for that moment.

    Raises: BlockingIOError if another one keeps it.
    """
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return lock(file, shared=False)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(0.02)


def is_occupied(folder: Path) -> bool:
    """Whether somebody trains in a run now; nothing is written.

    Raises: ModelFileError if that cannot be found out.
    """
    path = folder / LOCK
    if not is_there(path):
        return False
    with reading(path, "wanted to see whether the run is being trained"), path.open("rb") as file:
        try:
            # Shared, so that of several who look none takes another one for a training process.
            lock(file, shared=True)
        except BlockingIOError:
            return True
        except OSError:  # where files cannot be locked nobody trains
            return False
    return False


def _made(folder: Path) -> bool:
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
