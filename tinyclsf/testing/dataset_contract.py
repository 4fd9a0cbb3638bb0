"""What a data set plugin has to keep, check by check."""

from __future__ import annotations

import math
import tempfile
from functools import cached_property
from itertools import islice
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Literal, get_origin

import torch
from torch.utils.data import Dataset, IterableDataset

from tinyclsf.analysis.copy_checks import check_duplicates
from tinyclsf.analysis.data_checks import check_classes, sample_of
from tinyclsf.data import Images, Splits, fingerprint, train_labels
from tinyclsf.errors import ConfigurationError, DataError, PluginError, TinyclsfError, shape_as_text
from tinyclsf.registry.components import build_splits
from tinyclsf.registry.options import as_text
from tinyclsf.testing.checking import Broken, CannotRun, Checks
from tinyclsf.testing.option_contract import Subject, description, imports, options, other_values, silent

_SAMPLE = 64  # images of each split that are looked at
_LARGEST = 100  # of what a network gets; scaled images lie within 5 of 0 or so
_COPIES = 0.05  # share of a split that may be in another, as real collections have a few by chance


class DatasetSubject(Subject):
    """A data set under check, read once for all checks."""

    @cached_property
    def read(self) -> Splits | Broken | TinyclsfError:
        """The data set, or what is wrong with it."""
        try:
            with silent("reading it"):
                splits = build_splits(self.component())
            _check_images(splits)
        except (Broken, TinyclsfError) as error:
            return error
        return splits

    @property
    def splits(self) -> Splits:
        """The data set.

        Raises: CannotRun if it cannot be read, which the check `reads` tells of.
        """
        if not isinstance(self.read, Splits):
            raise CannotRun("the data set cannot be read, as the check 'reads' says")
        return self.read


def reads(subject: DatasetSubject) -> None:
    """It gives Splits, whose images have the shape that they say and labels that are classes."""
    if not isinstance(subject.read, Splits):
        raise subject.read


def pixels(subject: DatasetSubject) -> None:
    """All pixels are finite numbers, and not all the same."""
    for name, x in _samples(subject.splits):
        if not x.isfinite().all():
            raise Broken(f"a pixel of the {name} split is no finite number; wanted numbers alone: mend how images are read")
        if len(x) > 1 and bool((x == x[:1]).all()):
            raise Broken(
                f"the first {len(x)} images looked at in the {name} split are all the same; wanted different ones: "
                "look whether one buffer is filled again and again"
            )


def preprocessing(subject: DatasetSubject) -> None:
    """What a network gets is finite, of the images' shape, and near 0."""
    splits = subject.splits
    for name, x in _samples(splits):
        given = splits.preprocess(x[x.flatten(1).isfinite().all(dim=1)] if x.is_floating_point() else x)
        if given.shape[1:] != x.shape[1:] or given.dtype != torch.float32:
            raise Broken(
                f"preprocess turns {tuple(x.shape)} into {tuple(given.shape)} of {_type(given)}; "
                "wanted the same shape as float32: crop and resize where the images are read"
            )
        if not len(given):
            continue
        if not given.isfinite().all():
            raise Broken(f"preprocess gives numbers of the {name} split that are not finite; wanted a std above 0")
        if (largest := float(given.abs().max())) > _LARGEST:
            raise Broken(
                f"preprocess gives numbers up to {largest:,.0f} for the {name} split; wanted numbers near 0: "
                "give Preprocess a mean and std in the units of the stored pixels, as Preprocess(0, 255) for 0 to 255"
            )


def same_data_again(subject: DatasetSubject) -> None:
    """The same options give the same images and labels in the same order."""
    first = _content(subject.splits)
    torch.rand(1)  # a data set that draws from the global generator would go on from here
    again = _content(build_splits(subject.component()))
    changed = [name for name, content in first.items() if content != again[name]]
    if changed:
        raise Broken(
            f"reading it twice gives another {' and '.join(changed)} split; wanted the same: "
            "draw random numbers from a torch.Generator with a seed of its own, and sort the names of files"
        )


def global_random_numbers(subject: DatasetSubject) -> None:
    """Reading it leaves the random numbers of the run alone."""
    assert subject.splits
    torch.rand(1)  # one that always seeds it in the same way has done so already
    before = torch.get_rng_state()
    build_splits(subject.component())
    if not torch.equal(before, torch.get_rng_state()):
        torch.set_rng_state(before)
        raise Broken(
            "reading it draws from, or seeds, PyTorch's global generator, so a run with it gets other weights; "
            "wanted a torch.Generator of its own"
        )


def every_class_trained(subject: DatasetSubject) -> None:
    """Each class has a training image."""
    splits = subject.splits
    labels = train_labels(splits)
    if labels is None:
        raise CannotRun("its labels come with its images alone; a split with `labels`, a list of int, can be checked")
    found = check_classes(labels, splits.classes)
    counts = labels.bincount(minlength=len(splits.classes))
    if found is not None and not counts.all():
        raise Broken(found.sentence)


def labels_of_images(subject: DatasetSubject) -> None:
    """The labels that a split lists are those that its images come with."""
    found = {name: getattr(each, "labels", None) for name, each in subject.splits.by_name.items()}
    listed = {name: labels for name, labels in found.items() if isinstance(labels, list)}
    if not listed:
        raise CannotRun("no split lists its `labels`")
    for name, labels in listed.items():
        dataset: Any = subject.splits.by_name[name]
        if len(labels) != len(dataset):
            raise Broken(f"the {name} split has {len(dataset):,} images and {len(labels):,} labels; wanted one of each image")
        for row in range(0, len(labels), math.ceil(len(labels) / _SAMPLE)):
            if (y := int(dataset[row][1])) != labels[row]:
                raise Broken(f"image {row} of the {name} split has label {y}, and {labels[row]} in `labels`; wanted the same")


def disjoint_splits(subject: DatasetSubject) -> None:
    """No image is in two splits, pixel for pixel, but for the few that any collection has."""
    if not all(isinstance(each, Images) for each in subject.splits.by_name.values()):
        raise CannotRun("its images are not held in memory; 'tinyclsf check' compares pictures that are files")
    if (found := check_duplicates(subject.splits, from_share=_COPIES)) is not None:
        raise Broken(found.sentence)


def option_values(subject: DatasetSubject) -> None:
    """Each other value of its options gives a data set as sound, or a sentence that says why not."""
    assert subject.splits
    tried = 0
    for option in subject.known.values():
        for value in other_values(option):
            if option.name in subject.options:
                continue
            tried += 1
            try:
                _check_images(build_splits(subject.component(**{option.name: value})))
            except (ConfigurationError, DataError):
                continue
            except (Broken, TinyclsfError) as error:
                raise Broken(f"with -d {option.name}={as_text(value)}: {error}") from None
    if not tried:
        raise CannotRun("it has no option of words, or of true and false, that is not given")


def missing_files(subject: DatasetSubject) -> None:
    """Where its files are not there, it says so in a sentence that names the place."""
    types = {name: option.alternatives for name, option in subject.known.items()}
    # A folder that a word may stand for, as cache=off, is one that it can do without.
    names = [name for name, each in types.items() if Path in each and not any(get_origin(one) is Literal for one in each)]
    if not names:
        raise CannotRun("it reads no files: it has no option of type Path")
    # Below a file nothing can be, and nothing can be downloaded to.
    with tempfile.NamedTemporaryFile() as file:
        for name in names:
            place = Path(file.name) / "missing"
            try:
                build_splits(subject.component(**{name: place}))
            except PluginError as error:
                raise Broken(f"where {name} is missing: {error}; wanted tinyclsf.plugin.DataError with the file") from None
            except TinyclsfError as error:
                if file.name not in str(error):
                    raise Broken(f"where {name} is {place} it says '{error}'; wanted the path in the sentence") from None
            else:
                raise Broken(f"where {name} is missing it gives a data set all the same; wanted tinyclsf.plugin.DataError")


def worker_processes(subject: DatasetSubject) -> None:
    """A split that reads image by image can be handed to worker processes."""
    others = {name: each for name, each in subject.splits.by_name.items() if not isinstance(each, Images)}
    if not others:
        raise CannotRun("its images are held in memory, so no worker process reads them")
    for name, dataset in others.items():
        try:
            ForkingPickler.dumps(dataset)
        except Exception as error:
            raise Broken(
                f"the {name} split cannot be sent to a worker process ({type(error).__name__}: {error}); "
                "wanted one that can be pickled: no lambda, open file or lock in it, and its class at the top of a module"
            ) from None


def _check_images(splits: Splits) -> None:
    for name, dataset in splits.by_name.items():
        for row, (x, y) in enumerate(_first(dataset)):
            if not isinstance(x, torch.Tensor) or tuple(x.shape) != tuple(splits.image_shape):
                found = shape_as_text(x.shape) if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"
                raise Broken(f"image {row} of the {name} split is {found}; wanted {shape_as_text(splits.image_shape)}")
            if not 0 <= int(y) < len(splits.classes):
                raise Broken(f"image {row} of the {name} split has label {int(y)}; wanted 0 to {len(splits.classes) - 1}")


def _first(dataset: Dataset[Any]) -> list[tuple[Any, Any]]:
    if isinstance(dataset, IterableDataset):
        return list(islice(dataset, _SAMPLE))
    return [dataset[row] for row in range(min(_SAMPLE, len(dataset)))]  # type: ignore[arg-type]


def _samples(splits: Splits) -> list[tuple[str, torch.Tensor]]:
    """Some images of each split, from all over it, (n, c, h, w)."""
    found = []
    for name, dataset in splits.by_name.items():
        sample = sample_of(dataset, _SAMPLE)
        found.append((name, torch.stack([x for x, _ in _first(dataset)]) if sample is None else sample.x))
    return found


def _content(splits: Splits) -> dict[str, Any]:
    """What tells the splits of two data sets apart: checksums of those in memory, some images of the others."""
    known = fingerprint(splits)
    content: dict[str, Any] = {}
    for name, dataset in splits.by_name.items():
        first = None if isinstance(dataset, Images) else [(x.tolist(), int(y)) for x, y in _first(dataset)]
        content[name] = known[name], known[f"{name}_checksum"], first
    return content


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


check_dataset = Checks(
    "dataset",
    DatasetSubject,
    (
        *(
            imports,
            description,
            options,
            reads,
            pixels,
            preprocessing,
            same_data_again,
            global_random_numbers,
            every_class_trained,
        ),
        *(labels_of_images, disjoint_splits, option_values, missing_files, worker_processes),
    ),
    quick=(imports, description, options),
)
