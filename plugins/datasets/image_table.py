"""Your own pictures, listed in a table."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from tinyclsf.plugin import (
    ConfigurationError,
    DataError,
    Fit,
    Preparation,
    Splits,
    did_you_mean,
    join_names,
    prepared,
    printable,
)
from tinyclsf_plugins.datasets.picture_splits import Files, Pictures, picture_splits, refuse_another_split, split_of
from tinyclsf_plugins.datasets.table_files import read_table


class _Row(NamedTuple):
    number: int
    path: str
    label: str
    part: str = "train"
    group: str = ""  # where there is no such column


@prepared
def image_table(
    prepare: Preparation,
    *,
    table: Path,
    data_dir: Path | None = None,
    path: str = "path",
    label: str = "label",
    part: str | None = "auto",
    group: str | None = "auto",
    size: int = 64,
    channels: Literal[1, 3] = 3,
    fit: Fit = "crop",
    cache: Literal["auto", "off"] | Path = "auto",
    skip_bad: bool = False,
) -> Splits:
    """Pictures listed in a CSV or Parquet table, with a row for each: its path and its label.

    Relative paths start at data_dir, else at the folder of the table. A column for the part (train, valid or val, test, or
    their long names) says which split a picture is in. Without it, or without valid in it, a fifth of the training pictures is
    for validation, or as many as you ask for. Pictures of one group (a patient, a burst, a camera) are never in two splits.
    `path`, `label`, `part` and `group` name the columns; part=auto is the column part if there is one, part=none ignores it,
    and so for group. All other options are as in image-folder.
    Shapes: x (n, channels, size, size) uint8 in 0..255; y (n,) int64, the index of the label in the sorted training labels,
    which are sorted as numbers if all of them are integers. Labels are in Unicode's NFC.
    Raises: DataError if the table or a picture cannot be read, or a row is impossible; ConfigurationError if size is below 1,
    you ask for a split that the table has, or for split="tail" with groups.
    """
    where, base = printable(table), table.parent if data_dir is None else data_dir
    found = read_table(table, {"path": path, "label": label}, {"part": part, "group": group})
    rows = [_row(number, texts, base) for number, texts in found]
    _check_parts(rows, where)
    classes = _classes_of(rows, where)
    _check_pairs(rows, where)
    if not skip_bad:
        _check_files(rows, where, base)
    pictures = _pictures_of(rows, classes)
    refuse_another_split(prepare, pictures, f"{where} has rows", "leave the column out with -d part=none")
    if prepare.split == "tail" and pictures.splits["train"].groups is not None:
        raise ConfigurationError(
            "split=tail takes the last pictures of each class, whatever their groups; leave it out, or give -d group=none"
        )
    return picture_splits(prepare, pictures, (channels, size, size), fit, cache=cache, skip_bad=skip_bad)


def _row(number: int, texts: dict[str, str], base: Path) -> _Row:
    """A row with the path of its file; names may be in Unicode's NFD, as a Mac writes them, here and in NFC there."""
    path, label = os.path.join(base, texts["path"]), unicodedata.normalize("NFC", texts["label"])
    if not texts["path"].isascii() and not os.path.exists(path):
        others = (os.path.join(base, unicodedata.normalize(form, texts["path"])) for form in ("NFC", "NFD"))
        path = next(filter(os.path.exists, others), path)
    return _Row(number, **{**texts, "path": path, "label": label})


def _check_parts(rows: list[_Row], where: str) -> None:
    for row in rows:
        if split_of(row.part) is None:
            raise DataError(
                f"row {row.number:,} of {where} has the part '{printable(row.part)}'; wanted train, valid or test; "
                "if the column says something else, ignore it with -d part=none"
            )


def _classes_of(rows: list[_Row], where: str) -> list[str]:
    """The training labels, sorted."""
    labels = {row.label for row in rows if split_of(row.part) == "train"}
    if len(labels) < 2:
        found = f"one label to train on, '{printable(*labels)}'" if labels else "no row to train on"
        raise DataError(f"{where} has {found}; wanted at least two labels")
    for row in rows:
        if row.label not in labels:
            raise DataError(
                f"row {row.number:,} of {where} has the label '{printable(row.label)}', which no row of the part train has; "
                "mend it, or take the row out",
                tip=did_you_mean(row.label, labels),
            )
    numbers = all(re.fullmatch(r"-?\d{1,18}", label) for label in labels)
    return sorted(labels, key=lambda label: (int(label) if numbers else 0, label))


def _check_pairs(rows: list[_Row], where: str) -> None:
    """Refuse a picture that is listed twice, and a group in two parts."""
    by_path: dict[str, _Row] = {}
    by_group: dict[str, _Row] = {}
    for row in rows:
        first = by_path.setdefault(os.path.normpath(row.path), row)
        if first is not row:
            labels = "" if row.label == first.label else f", as '{printable(first.label)}' and as '{printable(row.label)}'"
            raise DataError(
                f"rows {first.number:,} and {row.number:,} of {where} list the same picture, {printable(row.path)}{labels}; "
                "take one of them out"
            )
        first = by_group.setdefault(row.group, row) if row.group else row
        if split_of(first.part) != split_of(row.part):
            raise DataError(
                f"rows {first.number:,} and {row.number:,} of {where} have the group '{printable(row.group)}' in two parts, "
                f"{first.part} and {row.part}; wanted all of a group in one"
            )


def _check_files(rows: list[_Row], where: str, base: Path) -> None:
    lost = [f"row {row.number:,} ({printable(row.path)})" for row in rows if not os.path.isfile(row.path)]
    if lost:
        raise DataError(
            f"there is no file for {len(lost):,} of {len(rows):,} rows of {where}: {join_names(lost)}; mend the paths, which "
            f"begin at {printable(base)}, give their folder as --data-dir, or leave these rows out with -d skip_bad=true"
        )


def _pictures_of(rows: list[_Row], classes: list[str]) -> Pictures:
    """The pictures of each split, sorted by class and path, so that the order of the rows does not matter."""
    number_of = {name: number for number, name in enumerate(classes)}
    splits: dict[str, Files] = {}
    for split in ("train", "valid", "test"):
        own = sorted((number_of[row.label], row.path, row.group) for row in rows if split_of(row.part) == split)
        if own:
            labels, paths, groups = zip(*own, strict=True)
            splits[split] = Files([*paths], torch.tensor(labels), [*groups] if rows[0].group else None)
    return Pictures(tuple(map(printable, classes)), splits)


image_table.former_options = ("in_memory",)  # type: ignore[attr-defined]
