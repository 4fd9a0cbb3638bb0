"""Folders of pictures: what lies in them, links followed and hidden names passed over, and how paths are shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinyclsf.machine.storage import StrPath
from tinyclsf.pictures.picture import picture_endings

_USUAL = (".jpg", ".jpeg", ".png")  # to know the others, Pillow imports all that it reads


@dataclass(frozen=True)
class FolderContent:
    """What is in a folder and not hidden, by name: the names of folders, the paths of files."""

    folders: list[str]
    files: list[str]


def read_folder(folder: StrPath) -> FolderContent:
    """The folders and files of a folder; pipes and devices are neither.

    Raises: OSError if it cannot be read.
    """
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if _leads_to(entry.is_file):
                files.append(entry.path)
            elif _leads_to(entry.is_dir):
                folders.append(entry.name)
            elif not os.path.exists(entry.path):  # a link to nothing is told of as a file; pipes and devices are not
                files.append(entry.path)
    return FolderContent(sorted(folders), sorted(files))


def pictures_in(folder: StrPath, on_error: Callable[[str, OSError], object]) -> tuple[list[str], list[str]]:
    """The files in a folder and the folders in it that are named as pictures, and those that are not, both sorted.

    Links are followed, but not in a circle. `on_error` is called with a folder that cannot be read and the reason.
    """
    pictures: list[str] = []
    others: list[str] = []
    real = Path(folder).resolve()
    # A link to a folder above, or to one that was seen already, is not followed: there would be no end to it.
    seen = {_identity(each) for each in real.parents}
    waiting = [os.fspath(folder)]
    while waiting:
        inside = waiting.pop()
        try:
            identity = _identity(inside)
            content = read_folder(inside)
        except OSError as error:
            on_error(inside, error)
            continue
        if identity not in seen:
            seen.add(identity)
            for path in content.files:
                (pictures if is_named_as_picture(path) else others).append(path)
            waiting += [os.path.join(inside, name) for name in content.folders]
    return sorted(pictures), sorted(others)


def is_named_as_picture(path: str) -> bool:
    """Whether the name ends as those of pictures do."""
    name = path.lower()
    return name.endswith(_USUAL) or os.path.splitext(name)[1] in picture_endings()


def _leads_to(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that leads in a circle, or where nobody may look
        return False


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
