"""The data set labelled."""

import csv
from pathlib import Path

import torch

from tinyclsf.plugin import DataError, Fit, Images, Preparation, Splits, keep_pictures, prepared


@prepared
def labelled(prepare: Preparation, *, table: Path, size: int = 64, fit: Fit = "crop") -> Splits:
    """Pictures that a CSV table lists, with the columns file and label.

    Shapes: x (n, 3, size, size) uint8 in 0..255; y (n,) int64, the index of the label among all labels, sorted.
    Raises: DataError if the table or a picture cannot be read.
    """
    rows = _rows(table)
    files = [str(table.parent / row["file"]) for row in rows]
    kept = keep_pictures([files], size, 3, fit=fit)
    for row, reason in kept.reasons.items():
        raise DataError(f"{files[row]} in line {row + 2} of {table} cannot be read: {reason}; mend it, or take the line out")
    classes = tuple(sorted({row["label"] for row in rows}))
    y = torch.tensor([classes.index(row["label"]) for row in rows])
    return prepare.splits(Images(torch.from_numpy(kept.pixels), y, paths=files), None, classes, fit=fit)


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table} cannot be read: {error}; give a CSV file as -d table=FILE") from error
    if not rows or not {"file", "label"} <= set(rows[0]):
        raise DataError(f"{table} is no table of pictures; wanted the columns file and label, and a line for each picture")
    return rows
