"""Picture files with known classes, as splits: divided, decoded, and held in memory or read when needed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tinyclsf.plugin import (
    ConfigurationError,
    DataError,
    DataWarning,
    Decoding,
    Fit,
    Images,
    PictureError,
    Preparation,
    Splits,
    decode_pictures,
    join_names,
    loader,
    printable,
    processor_count,
    read_picture,
    tell_progress,
)
from tinyclsf_plugins.datasets.picture_groups import whole_groups

_MEASURED_BYTES = 1 << 18  # of pixels at a time
_NAMED = 10  # pictures in a sentence


@dataclass(frozen=True)
class Files:
    """Paths of pictures, sorted by class and name, with the number of each one's class; a group is in one split only."""

    paths: list[str]
    labels: list[int]
    groups: list[str] | None = None

    def taken(self, rows: Sequence[int]) -> Files:
        """Some of them."""
        groups = None if self.groups is None else [self.groups[row] for row in rows]
        return Files([self.paths[row] for row in rows], [self.labels[row] for row in rows], groups)

    def parted(self, rows: Sequence[int]) -> tuple[Files, Files]:
        """Those that are not in the rows, and those that are."""
        return self.taken(sorted(set(range(len(self.paths))).difference(rows))), self.taken(rows)


@dataclass(frozen=True)
class Pictures:
    """The classes, and the pictures of the given splits: train, and valid and test if there are any."""

    classes: tuple[str, ...]
    splits: dict[str, Files]


def refuse_another_split(prepare: Preparation, pictures: Pictures, has: str, remedy: str) -> None:
    """For pictures with given splits: `has` says what gives them, `remedy` how not to use it.

    Raises: ConfigurationError if an option asks for a split that there is.
    """
    if "valid" in pictures.splits and prepare.asks_for_a_split:
        raise ConfigurationError(
            f"{has} to validate with, and valid_ratio, valid_size or split asks for another split; leave those options out, "
            f"or {remedy}"
        )
    if "test" in pictures.splits and prepare.test_ratio is not None:
        raise ConfigurationError(
            f"{has} to test with, and test_ratio asks for another split; leave that option out, or {remedy}"
        )


def picture_splits(
    prepare: Preparation,
    pictures: Pictures,
    image_shape: tuple[int, int, int],
    fit: Fit,
    *,
    in_memory: Literal["auto", True, False],
    skip_bad: bool,
) -> Splits:
    """The given splits, and those that `prepare` makes of the training pictures; each picture becomes a square.

    Raises: DataError if a picture cannot be read, unless `skip_bad` leaves it out; ConfigurationError if the size is below 1,
    or the pixels must fit into memory and do not.
    """
    channels, size, _ = image_shape
    if size < 1:
        raise ConfigurationError(f"size is {size}; wanted at least 1")
    splits = _divided(prepare, pictures.splits)
    paths = [path for split in splits.values() for path in split.paths]
    out = _room(len(paths), channels, size, in_memory)
    decoding = decode_pictures(paths, size, channels, out, fit=fit)
    _report_twins(decoding, splits)
    if decoding.reasons:
        _report_unreadable(decoding, skip_bad)
        splits = _without_unreadable(decoding, splits, pictures.classes)
    files = {name: PictureFiles(split, image_shape, fit) for name, split in splits.items()}
    datasets = files if out is None else _in_memory(splits, out)
    train, valid, test = datasets["train"], datasets["valid"], datasets.get("test")
    scaling = prepare.scaling(_pieces(train, image_shape))
    left_out = {paths[row]: reason for row, reason in sorted(decoding.reasons.items())}
    return Splits(train, valid, test, pictures.classes, image_shape, scaling, fit=fit, left_out=left_out)


class PictureFiles(Dataset[tuple[Tensor, int]]):
    """Pictures that stay on the disk, each decoded when it is needed.

    Shapes: x (channels, size, size) uint8 in 0..255.
    Raises: DataError for a picture that cannot be read.
    """

    loader_workers = min(processor_count(), 8)

    def __init__(self, files: Files, image_shape: tuple[int, int, int], fit: Fit) -> None:
        self.files, self.fit = files, fit
        self.paths = files.paths
        self.labels = files.labels
        self.channels, self.size, _ = image_shape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        try:
            pixels = read_picture(path, self.size, self.channels, self.fit)
        except PictureError as error:
            raise DataError(f"{printable(path)} cannot be read any more: {error}; mend it, or start again without it") from None
        return torch.from_numpy(pixels), self.files.labels[index]


def _divided(prepare: Preparation, splits: dict[str, Files]) -> dict[str, Files]:
    """The splits with the test and validation pictures asked for, and with the training pictures that `fraction` keeps."""
    train, others = splits["train"], {name: split for name, split in splits.items() if name != "train"}
    if prepare.test_ratio is not None:
        rows = prepare.tested(torch.tensor(train.labels)).tolist()
        train, others["test"] = train.parted(_with_whole_groups(train, rows, prepare.seed))
    if "valid" not in splits:
        rows = _held_out(prepare, torch.tensor(train.labels))
        train, others["valid"] = train.parted(_with_whole_groups(train, rows, prepare.seed))
    return {"train": train.taken(prepare.kept(torch.tensor(train.labels)).tolist()), **others}


def _with_whole_groups(files: Files, rows: list[int], seed: int) -> list[int]:
    """Rows to set aside; if there are groups, about as many other rows that keep all groups whole."""
    return rows if files.groups is None else whole_groups(files.labels, files.groups, len(rows), seed)


def _held_out(prepare: Preparation, y: Tensor) -> list[int]:
    """The rows for validation, ascending."""
    if prepare.split != "tail":
        return prepare.held_out(y).tolist()
    # The last of all would be of the last class alone: as many of each class as a fair split takes, but the last ones.
    fair = dataclasses.replace(prepare, split="stratified").held_out(y)
    takes = torch.bincount(y[fair]).tolist()
    ends = torch.bincount(y).cumsum(0).tolist()
    return [row for take, end in zip(takes, ends, strict=False) for row in range(end - take, end)]


def _room(number: int, channels: int, size: int, in_memory: bool | str) -> NDArray[np.uint8] | None:
    """An array for all pictures, or None if they are not to be kept in memory."""
    needed = number * channels * size**2
    if in_memory is False or (in_memory == "auto" and needed > _free_memory() / 2):
        return None
    try:
        return np.empty((number, channels, size, size), np.uint8)
    except (MemoryError, ValueError):
        raise ConfigurationError(
            f"{number:,} pictures of {size}x{size} need {needed / 2**30:,.0f} GiB of memory, which cannot be had; "
            "give a smaller size, or leave in_memory out"
        ) from None


def _free_memory() -> int:
    """Bytes of memory that are free now; if the system does not say, half of all, or what any machine has."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 4 << 30
    else:  # noqa: RET505  # said, so that types are checked for each system
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _report_unreadable(decoding: Decoding, skip: bool) -> None:
    named = [f"{printable(decoding.files[row])} ({reason})" for row, reason in sorted(decoding.reasons.items())]
    found = f"{len(named):,} of {len(decoding.files):,} pictures cannot be read"
    if not skip:
        raise DataError(f"{found}: {join_names(named)}; mend or remove them, or leave them out with -d skip_bad=true")
    rest = "; tinyclsf check lists all, and fit in left-out.csv of the run" if len(named) > _NAMED else ""
    left_out = f"{'is' if len(named) == 1 else 'are'} left out: {join_names(named, _NAMED)}{rest}"
    warnings.warn(f"{found} and {left_out}", DataWarning, stacklevel=2)


def _without_unreadable(decoding: Decoding, splits: dict[str, Files], classes: tuple[str, ...]) -> dict[str, Files]:
    """The splits without the pictures that cannot be read; the others' pixels are moved to the front, in place."""
    if decoding.out is not None:
        readable = (row for row in range(len(decoding.files)) if row not in decoding.reasons)
        for row, source in enumerate(readable):  # never behind `row`, so that none is written over before it is moved
            decoding.out[row] = decoding.out[source]
    kept, start = {}, 0
    for name, split in splits.items():
        rows = [row for row in range(len(split.paths)) if start + row not in decoding.reasons]
        kept[name] = split.taken(rows)
        if lost := set(split.labels) - set(kept[name].labels):
            whose = f"class {printable(classes[min(lost)])} in the {name} split"
            raise DataError(f"not one picture of {whose} can be read; mend one, or remove the class")
        start += len(split.paths)
    return kept


def _report_twins(decoding: Decoding, splits: dict[str, Files]) -> None:
    split_of = np.repeat(np.arange(len(splits)), [len(split.paths) for split in splits.values()])
    rows = decoding.digests.nonzero()[0]
    _, first, inverse = np.unique(decoding.digests[rows], return_index=True, return_inverse=True)
    originals = rows[first[inverse]]
    twins = split_of[rows] != split_of[originals]
    if twins.any():
        one, other = (printable(decoding.files[at[twins][0]]) for at in (originals, rows))
        count = int(twins.sum())
        what = "1 picture is in two splits" if count == 1 else f"{count:,} pictures are in two splits"
        warnings.warn(
            f"{what} of the data, which makes a model look better than it is: {one} and {other} are the same file, for one",
            DataWarning,
            stacklevel=2,
        )


def _in_memory(splits: dict[str, Files], out: NDArray[np.uint8]) -> dict[str, Dataset[Any]]:
    """Each split with its rows of the one array."""
    x, start = torch.from_numpy(out), 0
    images: dict[str, Dataset[Any]] = {}
    for name, split in splits.items():
        images[name] = Images(x[start : start + len(split.paths)], torch.tensor(split.labels), split.paths)
        start += len(split.paths)
    return images


def _pieces(train: Dataset[Any], image_shape: tuple[int, int, int]) -> Iterator[Tensor]:
    """The training pictures, some at a time."""
    done = 0
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed
        for xb, _ in loader(train, max(1, _MEASURED_BYTES // math.prod(image_shape))):
            yield xb
            done += len(xb)
            tell_progress("measuring pictures", done, len(train))  # type: ignore[arg-type]
