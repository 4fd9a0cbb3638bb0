"""What can be wrong with a data set: a picture that is there twice, to the pixel or nearly."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from tinyclsf.analysis.data_checks import in_memory, labels_of
from tinyclsf.analysis.model_checks import Finding
from tinyclsf.analysis.near_copies import SIDE, near_copies, sketch
from tinyclsf.data import Splits, begin_reading

_MOST, _MOST_FILES = 10_000, 100_000  # pictures that are compared; files took longer to be decoded than this takes
_FEW = 0.001  # of the pictures of one split: so few copies hardly count
_AT_ONCE = 1 << 22  # values of pixels
_READ_AHEAD = 64  # pictures of a large set on the disk
_LISTED = 5  # pairs in a sentence
_NAMES = {"train": "training", "valid": "validation", "test": "test"}


class NearCopies(NamedTuple):
    """Pairs (pairs, 2) of pictures that are nearly the same, by their numbers among those that were compared.

    Of each compared picture there is the split, its row in it, and its label, -1 where that is not known. `same` are the pairs
    that `check_duplicates` tells of: pictures in memory, equal to the pixel.
    """

    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]
    split_of: NDArray[np.int64]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]


def check_duplicates(splits: Splits, *, from_share: float = 0.0) -> Finding | None:
    """Find pictures of images in memory that an earlier split has too, pixel for pixel.

    Fewer than that share of a split are let pass.
    """
    earlier, found = np.empty(0, np.int64), []
    places: list[tuple[str, Dataset[Any], int]] = []
    example: str | None = None
    for name, dataset in (("training", splits.train), ("validation", splits.valid), ("test", splits.test)):
        if dataset is None or not in_memory(dataset):
            continue
        digests = _digests(dataset)
        twins = np.isin(digests, earlier).nonzero()[0]
        if len(twins) and len(twins) >= from_share * len(digests):
            found.append(f"{len(twins):,} of {len(digests):,} {name} images")
            if example is None:
                row = int(np.flatnonzero(earlier == digests[twins[0]])[0])
                example = f"{_place(places, row)} and {_place([(name, dataset, 0)], int(twins[0]))} are the same, for one"
        places.append((name, dataset, len(earlier)))
        earlier = np.concatenate([earlier, digests])
    if not found:
        return None
    return Finding(
        "duplicates",
        f"{' and '.join(found)} are in an earlier split of the data too, pixel for pixel: {example}",
        "keep each picture in one split, as the figures on held-out images are too good by it",
    )


def find_near_copies(splits: Splits) -> NearCopies | str:
    """Compare pictures that are in memory, of large sets a part of them; or say why none can be."""
    if min(splits.image_shape[1:]) < SIDE:
        return f"the images are smaller than {SIDE}x{SIDE}"
    datasets: list[Any] = list(splits.by_name.values())
    if not all(in_memory(each) for each in datasets):
        return "not all pictures are in memory"
    most = _MOST if any(getattr(each, "paths", None) is None for each in datasets) else _MOST_FILES
    piece = max(1, _AT_ONCE // math.prod(splits.image_shape))
    sketches, split_of, rows, labels = [], [], [], []
    for number, chosen in enumerate(_chosen([len(each) for each in datasets], most)):
        found = torch.empty(len(chosen), SIDE, SIDE)  # at once: what is kept between large pieces would scatter the memory
        for part, each in zip(torch.split(found, piece), torch.split(chosen, piece), strict=True):
            part.copy_(sketch(_pixels(datasets[number], each), splits.white))
        known = labels_of(datasets[number])
        labels.append(torch.full_like(chosen, -1) if known is None else known[chosen])
        sketches.append(found)
        split_of.append(torch.full_like(chosen, number))
        rows.append(chosen)
    every = torch.cat(sketches)
    pairs = near_copies(every)
    same = (every[pairs[:, 0]] == every[pairs[:, 1]]).all(dim=(1, 2)).numpy()
    return NearCopies(pairs, same, *(torch.cat(each).numpy() for each in (split_of, rows, labels)))


def check_near_copies(found: NearCopies, splits: Splits) -> list[Finding]:
    """Find near copies in two classes, in two splits, but for those that are equal to the pixel, and in one split."""
    labels, split_of = found.labels[found.pairs], found.split_of[found.pairs]
    names = [_NAMES[name] for name in splits.by_name]
    places = [(name, dataset, 0) for name, dataset in zip(names, splits.by_name.values(), strict=True)]

    def place(picture: int) -> str:
        return _place([places[found.split_of[picture]]], int(found.rows[picture]))

    def counted(pairs: NDArray[np.int64], what: str) -> str:
        """How many pictures of each split are in the second column, what they are, and the first pair."""
        of, total = (np.bincount(found.split_of[each], minlength=len(names)) for each in (np.unique(pairs[:, 1]), slice(None)))
        counts = [f"{of[at]:,} of {total[at]:,} {name} images" for at, name in enumerate(names) if of[at]]
        return f"{' and '.join(counts)} {what}: {' and '.join(map(place, pairs[0]))}, for one"

    findings = []
    if len(pairs := found.pairs[(labels[:, 0] != labels[:, 1]) & (labels >= 0).all(axis=1)]):
        named = [" and ".join(f"{place(each)} ({splits.classes[found.labels[each]]})" for each in pair) for pair in pairs]
        count = "1 picture is" if len(pairs) == 1 else f"{len(pairs):,} pictures are"
        what = f"{count} in two classes, exactly or nearly: {'; '.join(named[:_LISTED])}"
        what += f"; and {len(pairs) - _LISTED:,} more" if len(pairs) > _LISTED else ""
        findings.append(Finding("two-classes", what, "look at both: one label is wrong, or the classes cannot be told apart"))
    if len(pairs := found.pairs[(split_of[:, 0] != split_of[:, 1]) & ~found.same]):
        what = counted(pairs, "are nearly the same as an image of an earlier split")
        advice = "look at them, and keep near copies in one split, as the figures on held-out images are too good by them"
        findings.append(Finding("near-copies", what, advice))
    pairs = found.pairs[split_of[:, 0] == split_of[:, 1]]
    if len(np.unique(pairs[:, 1])) > _FEW * len(found.rows):
        what = counted(pairs, "are the same, or nearly, as another image of their split")
        advice = "look at them: they count twice, and another split of the data could put them on both sides"
        findings.append(Finding("copies", what, advice))
    return findings


def _chosen(sizes: Sequence[int], most: int) -> list[Tensor]:
    """Rows of each split: all, or where there are too many, a share by chance that leaves the smaller splits whole."""
    chosen: dict[int, Tensor] = {}
    for left, number in zip(range(len(sizes), 0, -1), np.argsort(sizes).tolist(), strict=True):
        take = min(sizes[number], most // left)
        most -= take
        chosen[number] = torch.tensor(sorted(random.Random(0).sample(range(sizes[number]), take)))
    return [chosen[number] for number in range(len(sizes))]


def _pixels(dataset: Any, rows: Tensor) -> Tensor:
    if isinstance(dataset, TensorDataset):
        begin_reading(dataset, rows.tolist())
        return dataset.tensors[0][rows]
    return torch.stack([torch.as_tensor(dataset[row][0]) for row in rows.tolist()])


def _digests(dataset: Dataset[Any]) -> NDArray[np.int64]:
    """A number of 64 bits for each image: two pictures of a million have the same one once in 37 million times."""
    if isinstance(dataset, Subset):
        return _digests(dataset.dataset)[np.asarray(dataset.indices, np.int64)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([_digests(each) for each in dataset.datasets])
    assert isinstance(dataset, TensorDataset)
    pixels = dataset.tensors[0].numpy()

    def digests() -> Iterator[int]:
        for start in range(0, len(pixels), _READ_AHEAD):
            begin_reading(dataset, range(start, min(start + _READ_AHEAD, len(pixels))))
            yield from (hash(row.tobytes()) for row in pixels[start : start + _READ_AHEAD])

    return np.fromiter(digests(), np.int64, len(pixels))


def _place(places: list[tuple[str, Dataset[Any], int]], row: int) -> str:
    name, dataset, start = next(place for place in reversed(places) if row >= place[2])
    paths = getattr(dataset, "paths", None)
    return f"{name} image {row - start}" if paths is None else str(paths[row - start])
