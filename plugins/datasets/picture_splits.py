"""Picture files with known classes, as splits: divided, decoded once, and held in memory."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from tinyclsf.plugin import (
    ConfigurationError,
    DataError,
    DataWarning,
    Fit,
    Images,
    KeptPictures,
    Preparation,
    Splits,
    begin_reading,
    join_names,
    keep_pictures,
    printable,
    tell_progress,
)
from tinyclsf_plugins.datasets.picture_groups import whole_groups

_MEASURED_BYTES = 1 << 18  # of pixels at a time
_READ_AHEAD = 64  # pictures of a large set on the disk
_NAMED = 10  # pictures in a sentence
_SPLITS = {"train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test", "testing")}


@dataclass(frozen=True)
class Files:
    """Paths of pictures, sorted by class and name, with the number of each one's class; a group is in one split only."""

    paths: list[str]
    labels: Tensor
    groups: list[str] | None = None

    def taken(self, rows: Tensor) -> Files:
        """Some of them."""
        numbers = rows.tolist()
        groups = None if self.groups is None else [self.groups[row] for row in numbers]
        return Files([self.paths[row] for row in numbers], self.labels[rows], groups)

    def parted(self, rows: Tensor) -> tuple[Files, Files]:
        """Those that are not in the rows, and those that are."""
        rest = torch.ones(len(self.paths), dtype=torch.bool).index_fill_(0, rows, False)
        return self.taken(rest.nonzero().flatten()), self.taken(rows)


@dataclass(frozen=True)
class Pictures:
    """The classes, and the pictures of the given splits: train, and valid and test if there are any."""

    classes: tuple[str, ...]
    splits: dict[str, Files]


def split_of(name: str) -> str | None:
    """The split that a folder, or a part of a table, is named after, in capitals or not; None if it is none."""
    return next((split for split, names in _SPLITS.items() if name.lower() in names), None)


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
    cache: Literal["auto", "off"] | Path,
    skip_bad: bool,
) -> Splits:
    """The given splits, and those that `prepare` makes of the training pictures; each picture becomes a square.

    Raises: DataError if a picture cannot be read, unless `skip_bad` leaves it out; ConfigurationError if the size is below 1,
    or the pixels fit neither on the disk nor into memory.
    """
    channels, size, _ = image_shape
    if size < 1:
        raise ConfigurationError(f"size is {size}; wanted at least 1")
    if fit not in get_args(Fit):
        raise ConfigurationError(f"fit is {fit!r}; wanted {', '.join(get_args(Fit)[:-1])} or {get_args(Fit)[-1]}")
    if channels not in (1, 3):
        raise ConfigurationError(f"channels is {channels!r}; wanted 1 or 3")
    splits = _divided(prepare, pictures.splits)
    paths = [path for split in splits.values() for path in split.paths]
    kept = keep_pictures([split.paths for split in splits.values()], size, channels, fit=fit, cache=cache)
    _report_twins(kept, paths, splits)
    if kept.reasons:
        _report_unreadable(kept, paths, skip_bad)
        splits = _without_unreadable(kept, splits, pictures.classes)
    images = _images(kept, splits)
    train, valid, test = images["train"], images["valid"], images.get("test")
    left_out = {paths[row]: reason for row, reason in sorted(kept.reasons.items())}
    return Splits(
        train, valid, test, pictures.classes, image_shape, prepare.scaling(_pieces(train)), fit=fit, left_out=left_out
    )


def _divided(prepare: Preparation, splits: dict[str, Files]) -> dict[str, Files]:
    """The splits with the test and validation pictures asked for, and with the training pictures that `fraction` keeps."""
    train, others = splits["train"], {name: split for name, split in splits.items() if name != "train"}
    if prepare.test_ratio is not None:
        rows = prepare.tested(train.labels)
        train, others["test"] = train.parted(_with_whole_groups(train, rows, prepare.seed))
    if "valid" not in splits:
        rows = _held_out(prepare, train.labels)
        train, others["valid"] = train.parted(_with_whole_groups(train, rows, prepare.seed))
    return {"train": train.taken(prepare.kept(train.labels)), **others}


def _with_whole_groups(files: Files, rows: Tensor, seed: int) -> Tensor:
    """Rows to set aside; if there are groups, about as many other rows that keep all groups whole."""
    if files.groups is None:
        return rows
    return torch.tensor(whole_groups(files.labels.tolist(), files.groups, len(rows), seed))


def _held_out(prepare: Preparation, y: Tensor) -> Tensor:
    """The rows for validation, ascending."""
    if prepare.split != "tail":
        return prepare.held_out(y)
    # The last of all would be of the last class alone: as many of each class as a fair split takes, but the last ones.
    fair = dataclasses.replace(prepare, split="stratified").held_out(y)
    takes = torch.bincount(y[fair]).tolist()
    ends = torch.bincount(y).cumsum(0).tolist()
    return torch.cat([torch.arange(end - take, end) for take, end in zip(takes, ends, strict=False)])


def _report_unreadable(kept: KeptPictures, paths: list[str], skip: bool) -> None:
    named = [f"{printable(paths[row])} ({reason})" for row, reason in sorted(kept.reasons.items())]
    found = f"{len(named):,} of {len(paths):,} pictures cannot be read"
    if not skip:
        raise DataError(f"{found}: {join_names(named)}; mend or remove them, or leave them out with -d skip_bad=true")
    rest = "; tinyclsf check lists all, and fit in left-out.csv of the run" if len(named) > _NAMED else ""
    left_out = f"{'is' if len(named) == 1 else 'are'} left out: {join_names(named, _NAMED)}{rest}"
    warnings.warn(f"{found} and {left_out}", DataWarning, stacklevel=2)


def _without_unreadable(kept: KeptPictures, splits: dict[str, Files], classes: tuple[str, ...]) -> dict[str, Files]:
    """The splits without the pictures that cannot be read."""
    readable, start = {}, 0
    for name, split in splits.items():
        rows = [row for row in range(len(split.paths)) if start + row not in kept.reasons]
        readable[name] = split.taken(torch.tensor(rows, dtype=torch.int64))
        if lost := set(split.labels.tolist()) - set(readable[name].labels.tolist()):
            whose = f"class {printable(classes[min(lost)])} in the {name} split"
            raise DataError(f"not one picture of {whose} can be read; mend one, or remove the class")
        start += len(split.paths)
    return readable


def _report_twins(kept: KeptPictures, paths: list[str], splits: dict[str, Files]) -> None:
    split_of = np.repeat(np.arange(len(splits)), [len(split.paths) for split in splits.values()])
    rows = kept.digests.nonzero()[0]
    _, first, inverse = np.unique(kept.digests[rows], return_index=True, return_inverse=True)
    originals = rows[first[inverse]]
    twins = split_of[rows] != split_of[originals]
    if twins.any():
        one, other = (printable(paths[at[twins][0]]) for at in (originals, rows))
        count = int(twins.sum())
        what = "1 picture is in two splits" if count == 1 else f"{count:,} pictures are in two splits"
        warnings.warn(
            f"{what} of the data, which makes a model look better than it is: {one} and {other} are the same file, for one",
            DataWarning,
            stacklevel=2,
        )


def _images(kept: KeptPictures, splits: dict[str, Files]) -> dict[str, Images]:
    """Each split with its rows of the one array."""
    x, start = torch.from_numpy(kept.pixels), 0
    images = {}
    for (name, split), checksum in zip(splits.items(), kept.checksums, strict=True):
        stop = start + len(split.paths)
        ahead = None if kept.ahead is None else functools.partial(_read_ahead, kept.ahead, start)
        sizes = kept.sizes[start:stop]
        images[name] = Images(x[start:stop], split.labels, split.paths, file_sizes=sizes, x_checksum=checksum, ahead=ahead)
        start = stop
    return images


def _read_ahead(ahead: Callable[[Iterable[int]], None], start: int, rows: Iterable[int]) -> None:
    ahead(start + row for row in rows)


def _pieces(train: Images) -> Iterator[Tensor]:
    """The training pictures, some at a time."""
    done = asked = 0
    for piece in torch.split(train.x, max(1, _MEASURED_BYTES // train.x[0].numel())):
        upto = min(len(train), done + len(piece) + _READ_AHEAD)
        begin_reading(train, range(asked, upto))
        asked = upto
        yield piece
        done += len(piece)
        tell_progress("measuring pictures", done, len(train))
