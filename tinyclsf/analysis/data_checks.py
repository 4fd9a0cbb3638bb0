"""What can be wrong with a data set: its labels, its scaling and its classes."""

from __future__ import annotations

import random
from collections.abc import Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, default_collate

from tinyclsf.analysis.model_checks import NAMED, Finding, Sample
from tinyclsf.errors import join_names

_MOST = 0.9  # share of the images in one class


def in_memory(dataset: Dataset[Any]) -> bool:
    """Whether the images are tensors in memory, so that looking at them takes no time and leaves no trace."""
    if isinstance(dataset, Subset):
        return in_memory(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        return all(in_memory(each) for each in dataset.datasets)
    # A subclass may fetch its samples in another way than TensorDataset does.
    return isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__


def sample_of(dataset: Dataset[Any], number: int) -> Sample | None:
    """Some of the images, always the same ones; None of a stream, which can be read only once."""
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        return None
    rows = random.Random(0).sample(range(len(dataset)), min(number, len(dataset)))
    x, y = default_collate([dataset[row] for row in rows])
    return Sample(x, y)


def labels_of(dataset: Dataset[Any]) -> Tensor | None:
    """All labels of images in memory; None of others, whose labels may come with the pixels alone."""
    if not in_memory(dataset):
        return None
    if isinstance(dataset, Subset):
        below = labels_of(dataset.dataset)
        return None if below is None else below[torch.tensor(dataset.indices, dtype=torch.int64)]
    if isinstance(dataset, ConcatDataset):
        labels = [labels_of(each) for each in dataset.datasets]
        return None if any(each is None for each in labels) else torch.cat([each for each in labels if each is not None])
    assert isinstance(dataset, TensorDataset)
    y = dataset.tensors[1]
    return y if y.ndim == 1 and not y.is_floating_point() else None


def check_labels(split: str, labels: Tensor, classes: tuple[str, ...]) -> Finding | None:
    """Find labels that no class has."""
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if not len(outside):
        return None
    return Finding(
        "labels",
        f"{len(outside):,} of {len(labels):,} labels of the {split} split are outside 0 to {len(classes) - 1}, "
        f"as {int(outside[0])} is, and there are {len(classes)} classes",
        "count the classes from 0, and name every class",
    )


def check_inputs(mean: float, std: float, images: int, *, strict: bool = False) -> Finding | None:
    """Find inputs far from a mean of 0 and a deviation of 1; strictly also those that only slow the training."""
    seen = f"the inputs of the network have mean {mean:.2f} and standard deviation {std:.2f} over {images:,} images"
    scaled = "-d normalize=stats scales them to 0 and 1 in the data sets that come along"
    if std < 0.05 or abs(mean) > 3 or std > 5:
        why = "the images hardly differ" if std < 0.05 else "steps that suit most models are far too large for such inputs"
        return Finding("inputs", f"{seen}: {why}", f"{scaled}; in others mend the preprocess")
    if strict and (abs(mean) > 1 or not 0.2 < std < 2):
        return Finding("inputs", f"{seen}, wanted near 0 and 1: training is a little slower by it at most", scaled)
    return None


def check_classes(labels: Tensor, classes: tuple[str, ...]) -> Finding | None:
    """Find classes without a training image, or one that has nearly all."""
    counts = torch.bincount(labels[(labels >= 0) & (labels < len(classes))], minlength=len(classes)).tolist()
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        return Finding(
            "classes",
            f"{len(empty)} of {len(classes)} classes have no training image: {join_names(empty, NAMED)}",
            "add images, or leave the class out: it cannot be learned",
        )
    most = max(counts)
    if most <= _MOST * sum(counts):
        return None
    return Finding(
        "classes",
        f"class {classes[counts.index(most)]} has {most / sum(counts):.2%} of the {sum(counts):,} training images, "
        "so a model that always says it is right as often",
        "look at the accuracy of each class, and balance them: -d fraction=... takes as many of each",
    )
