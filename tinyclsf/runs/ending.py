"""How a run ended, in its `state.json`, with an outline of the run: a list of many runs reads this one file of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tinyclsf.errors import ModelFileError, StorageError
from tinyclsf.machine.json_text import is_number, is_whole
from tinyclsf.machine.storage import write_json
from tinyclsf.metrics import Epoch, Score, best_of
from tinyclsf.runs.config_file import read_run_config
from tinyclsf.runs.epochs import as_epoch, mended, read_history
from tinyclsf.runs.folder import CONFIG, HELD_OUT, METRICS, STATE, is_there, odd_value, read_json

_STATES = ("done", "stopped", "failed")


class Outline(NamedTuple):
    """What a run trains, how far it came, its best epoch, and when it began; None where its files do not say."""

    model: str | None
    data: str | None
    epochs_done: int
    epochs: int | None
    best: Epoch | None
    created: str | None


class Ending(NamedTuple):
    """How a run ended: "done", "stopped" or "failed", why it failed, and its score on held-out images.

    `outline` is None if the files that it was made from have changed since.
    """

    state: str
    error: str | None
    held_out: Score | None
    outline: Outline | None = None


def read_outline(folder: Path) -> Outline:
    """The outline of a run, from its settings and all its epochs.

    Raises: ModelFileError if their files are broken.
    """
    config, history = read_run_config(folder), read_history(folder)
    return Outline(
        model=None if config.model is None else config.model.name,
        data=None if config.data is None else config.data.name,
        epochs_done=len(history),
        epochs=config.settings.get("epochs"),
        best=best_of(history),
        created=config.created,
    )


def write_state(
    folder: Path, state: Literal["done", "stopped", "failed"], *, error: str | None = None, held_out: Score | None = None
) -> None:
    """Write `state.json`: how the run ended and when, why it failed, its figures on held-out images, and its outline.

    Raises: StorageError if it cannot be written.
    """
    ended = datetime.now().astimezone().isoformat(timespec="seconds")
    sizes = _sizes(folder)
    try:
        outline = {**read_outline(folder)._asdict(), "sizes": sizes}
    except ModelFileError:  # who lists the runs is told of it
        outline = None
    content = {"version": 1, "state": state, "ended": ended, "error": error, "held_out": held_out, "outline": outline}
    write_json(folder / STATE, content)


def clear_state(folder: Path) -> None:
    """Remove `state.json`, where there is one: the run goes on.

    Raises: StorageError if it cannot be removed.
    """
    path = folder / STATE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}; make its folder one that can be written") from error


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
        raise odd_value(path, "state", state, f"done, stopped or failed; {mended(folder)}")
    if error is not None and not isinstance(error, str):
        raise odd_value(path, "error", error, f"text or null; {mended(folder)}")
    return Ending(state, error, None if held_out is None else _score(path, held_out), _outline(folder, found.get("outline")))


def _outline(folder: Path, found: Any) -> Outline | None:
    """The outline that was written, if it is one and is still true."""
    if not isinstance(found, dict) or found.get("sizes") != _sizes(folder):
        return None
    model, data, epochs_done, epochs, best, created = (found.get(key) for key in Outline._fields)
    texts = all(text is None or isinstance(text, str) for text in (model, data, created))
    if not texts or not is_whole(epochs_done) or not (epochs is None or is_whole(epochs)):
        return None
    epoch = None if best is None else as_epoch(best)
    return Outline(model, data, epochs_done, epochs, epoch, created) if (epoch is None) == (epochs_done == 0) else None


def _sizes(folder: Path) -> dict[str, int | None]:
    """The sizes in bytes of the files that an outline is made from, None where there is none."""
    found: dict[str, int | None] = {}
    for name in (CONFIG, METRICS):
        try:
            found[name] = os.stat(folder / name).st_size
        except OSError:
            found[name] = None
    return found


def _score(path: Path, found: Any) -> Score:
    if not isinstance(found, dict):
        raise odd_value(path, "held_out", found, f"an object or null; {mended(path.parent)}")
    wanted: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "split": ("test or valid", lambda value: value in HELD_OUT),
        "images": ("a whole number of at least 1", lambda value: is_whole(value, 1)),
        "loss": ("a finite number", is_number),
        "accuracy": ("a number from 0 to 1", _is_share),
        "interval": ("two numbers from 0 to 1", _is_interval),
    }
    for key, (words, holds) in wanted.items():
        if not holds(found.get(key)):
            raise odd_value(path, f"held_out.{key}", found.get(key), f"{words}; {mended(path.parent)}")
    return Score(*(found[key] for key in wanted))._replace(interval=tuple(found["interval"]))


def _is_share(value: object) -> bool:
    return is_number(value, 0, 1)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_share, value))
