"""The state of a training run on disk, to go on from: two generations of whole files, and no pickle that could run code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tinyclsf.errors import ModelFileError
from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.storage import StrPath, remove_torn, write_whole
from tinyclsf.runs.folder import is_there, reading

VERSION = 1
CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"


class Checkpoint(NamedTuple):
    """A state that was read, and why it is not the newest one, where it is not."""

    state: dict[str, Any]
    warning: str | None


def save_checkpoint(state: Mapping[str, Any], folder: Path) -> None:
    """Write `checkpoint.pt`; the one that was there goes on as `checkpoint.previous.pt`.

    `state` holds tensors, numbers, text, None, and lists, tuples and dictionaries of those: `torch.load(weights_only=True)`
    reads it.
    Raises: StorageError if it cannot be written; what was there stays whole.
    """
    content, previous = {"version": VERSION, **state}, folder / PREVIOUS
    write_whole(folder / CHECKPOINT, lambda file: torch.save(content, file), keep_previous=previous)


def load_checkpoint(folder: StrPath) -> Checkpoint:
    """The newest checkpoint of a folder that is whole, on the CPU; nobody else may be saving there.

    Raises: ModelFileError if there is none.
    """
    path, previous = (as_path("folder", folder) / name for name in (CHECKPOINT, PREVIOUS))
    remove_torn(path)
    try:
        return Checkpoint(_read(path), None)
    except ModelFileError as newest:
        if not is_there(previous):
            raise
        try:
            return Checkpoint(_read(previous), f"{newest}; going on from the one before, {previous}")
        except ModelFileError as error:
            raise ModelFileError(f"{newest}; and {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        with reading(path, "wanted the checkpoint of a run"):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()  # PyTorch writes checksums and does not look at them
            if broken is not None:
                raise zipfile.BadZipFile(f"{broken} has a wrong checksum")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (ModelFileError, MemoryError):
        raise
    except Exception as error:  # a broken archive, a pickle that wants more than data: whatever it is, it is not ours
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": ")
        raise ModelFileError(f"{path} is not a whole checkpoint ({reason})") from error
    if not isinstance(state, dict) or "version" not in state:
        raise ModelFileError(f"{path} has no version; it is not the checkpoint of a run")
    version = state.pop("version")
    if type(version) is not int or version != VERSION:
        raise ModelFileError(f"{path} has another version than this tinyclsf reads, which is {VERSION}; upgrade tinyclsf")
    return state
