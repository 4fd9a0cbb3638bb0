"""Picture files in folders: which split and which class each belongs to."""

from __future__ import annotations

import os
import stat
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from tinyclsf.plugin import (
    DataError,
    DataWarning,
    FolderContent,
    is_named_as_picture,
    join_names,
    pictures_in,
    printable,
    read_folder,
)
from tinyclsf_plugins.datasets.picture_splits import Files, Pictures, split_of

_TRAIN = ("train", "Train", "training", "Training")
_USES = {"train": "train", "valid": "validate", "test": "test"}


def find_pictures(folder: Path) -> Pictures:
    """The pictures in FOLDER/train/CLASS, FOLDER/valid (or val)/CLASS and FOLDER/test/CLASS, or else in FOLDER/CLASS.

    A split's folder may have its long name, and capitals: Training, Validation, Testing.
    Hidden files and folders are skipped; a DataWarning says what else is not used. A class is named in Unicode's NFC, however
    the system that its folder comes from writes it.
    Raises: DataError if there are fewer than two classes, one has no picture, or the splits have different ones.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        is_folder = False
    except OSError as error:
        raise _unreadable(folder, error) from error
    if not is_folder:
        found = f"{printable(folder)} is a file" if os.path.exists(folder) else f"there is no folder {printable(folder)}"
        raise DataError(f"{found}; wanted a folder that has a folder of pictures for each class")
    given = split_folders(folder)
    if given:
        _tell_unused(folder, given["train"].name)
    sources = given or {"train": folder}
    named = {split: _classes_in(source) for split, source in sources.items()}
    classes = sorted(named["train"])
    _check_classes(folder, sources["train"], classes)
    for split, source in sources.items():
        _check_same(source, named[split], sources["train"], classes)
    misnamed: list[str] = []
    splits = {
        split: _files_of([source / named[split][name] for name in classes], misnamed) for split, source in sources.items()
    }
    if misnamed:
        _warn(
            f"{_count(len(misnamed), 'file')} left out, not ending in .jpg, .png or the like: {printable(misnamed[0])}, for one"
        )
    beside = [path for source in sources.values() for path in _content(source).files if is_named_as_picture(path)]
    if beside:
        _warn(f"{_count(len(beside), 'picture')} left out, lying in no class folder: {printable(beside[0])}, for one")
    return Pictures(tuple(map(printable, classes)), splits)


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of a folder that are named after splits, by split; none if train has no folders in it, as it is a class then.

    Raises: DataError if two are for one split.
    """
    named: dict[str, list[Path]] = {split: [] for split in _USES}
    for name in _content(folder).folders:
        if (split := split_of(name)) is not None:
            named[split].append(folder / name)
    if not any(_content(each).folders for each in named["train"]):
        return {}
    for split, found in named.items():
        if len(found) > 1:
            raise DataError(
                f"there are both {printable(found[0])} and {printable(found[1])}; wanted one to {_USES[split]} with"
            )
    return {split: found[0] for split, found in named.items() if found}


def _content(folder: str | Path) -> FolderContent:
    try:
        return read_folder(folder)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _classes_in(source: Path) -> dict[str, str]:
    """The names of folders by their names in NFC: a Mac takes Korean letters and accents apart, other systems do not."""
    found: dict[str, str] = {}
    for name in _content(source).folders:
        composed = unicodedata.normalize("NFC", name)
        if composed in found:
            raise DataError(f"{printable(source)} has two folders named {printable(composed)}, in NFC and in NFD; rename one")
        found[composed] = name
    return found


def _tell_unused(folder: Path, train: str) -> None:
    if others := [printable(name) for name in _content(folder).folders if split_of(name) is None]:
        _warn(
            f"{printable(folder)} has a folder {printable(train)}, so {join_names(others)} beside it "
            f"{'is' if len(others) == 1 else 'are'} not used; wanted train, valid (or val) and test"
        )


def _check_classes(folder: Path, train: Path, classes: list[str]) -> None:
    """Raise a DataError that helps if the folder given is one level too high or too low."""
    here, names = printable(train), [printable(name) for name in classes]
    if not classes:
        pictures = sum(map(is_named_as_picture, _content(train).files))
        found = f"{here} has {pictures:,} pictures and no class folders" if pictures else f"{here} has no class folders"
        tip = None
        if pictures:
            tip = f"make a folder of pictures for each class: {here}/cat, {here}/dog"
            if _is_one_of_classes(folder):
                tip = f"did you mean --data-dir {printable(os.path.normpath(folder / '..'))}?"
        raise DataError(f"{found}; wanted a folder of pictures for each class, in it or in {here}/train", tip=tip)
    if train == folder and all(map(split_of, classes)):
        inner = f"{here}/{next((name for name in classes if split_of(name) == 'train'), 'train')}"
        raise DataError(f"{here} has {join_names(names)} and no class folders in {inner}; wanted {inner}/CLASS/*")
    for name in classes if train == folder else []:
        # Asked for by name, as a class may have a million pictures to list.
        inside = [each for each in _TRAIN if os.path.isdir(folder / name / each)]
        if inside and _content(folder / name / inside[0]).folders:
            inner = f"{here}/{printable(name)}"
            found = f"{inner} is no class: it has a folder {inside[0]} with classes"
            raise DataError(found, tip=f"did you mean --data-dir {inner}?")
    if len(classes) == 1:
        tip = f"did you mean --data-dir {here}/{names[0]}?" if _content(train / classes[0]).folders else None
        raise DataError(f"{here} has one class folder, {names[0]}; wanted at least two", tip=tip)


def _is_one_of_classes(folder: Path) -> bool:
    """Whether there are folders beside it, and all have pictures."""
    above = folder / ".."
    try:
        inside = [read_folder(above / name).files for name in read_folder(above).folders]
    except OSError:
        return False
    return len(inside) > 1 and all(any(map(is_named_as_picture, files)) for files in inside)


def _check_same(source: Path, own: Iterable[str], train: Path, classes: list[str]) -> None:
    differences = [
        f"{kind} {join_names([repr(printable(name)) for name in names])}"
        for kind, names in (
            ("lacks", [name for name in classes if name not in own]),
            ("adds", [name for name in own if name not in classes]),
        )
        if names
    ]
    if differences:
        raise DataError(
            f"{printable(source)} {' and '.join(differences)}; "
            f"wanted the class folders of {printable(train)}, by the same names"
        )


def _files_of(folders: list[Path], misnamed: list[str]) -> Files:
    files: list[str] = []
    counts: list[int] = []
    for folder in folders:
        paths, others = pictures_in(folder, _refuse)
        misnamed += others
        if not paths:
            names = f"; it has other files, {printable(others[0])} for one" if others else ""
            raise DataError(
                f"the class folder {printable(folder)} has no picture{names}; wanted one at least, or no such folder"
            )
        files += paths
        counts.append(len(paths))
    return Files(files, torch.arange(len(folders)).repeat_interleave(torch.tensor(counts)))


def _refuse(folder: str, error: OSError) -> None:
    raise _unreadable(folder, error) from error


def _unreadable(folder: str | Path, error: OSError) -> DataError:
    return DataError(f"cannot read the folder {printable(folder)}: {error.strerror or error}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what} is" if number == 1 else f"{number:,} {what}s are"


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=3)
