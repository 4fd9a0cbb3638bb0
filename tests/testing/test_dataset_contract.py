"""The checks of a data set: each fails on one that is broken in just that way, and none on ours."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from tinyclsf.plugin import DataError, Images, Preparation, Preprocess, Splits, prepared
from tinyclsf.testing import ChecksFailed, check_dataset, parametrize_with_checks
from tinyclsf.testing.checking import BoundCheck


def images(n: int, seed: int, labels: torch.Tensor | None = None) -> Images:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8, generator=generator)
    return Images(x, torch.arange(n) % 3 if labels is None else labels)


def splits(**changes: Any) -> Splits:
    given: dict[str, Any] = {name: images(n, n) for name, n in (("train", 24), ("valid", 12), ("test", 9))}
    given |= {"classes": ("a", "b", "c"), "image_shape": (1, 4, 4), "preprocess": Preprocess(0.0, 255.0)}
    return Splits(**{**given, **changes})


class Single(Dataset[Any]):
    """Images read one at a time."""

    def __init__(self, labels: list[int] | None = None) -> None:
        self.images = images(12, 7)
        if labels is not None:
            self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.images.x[row], int(self.images.y[row])


class Growing(Single):
    """Images of several sizes."""

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return torch.zeros(1, 4 + row, 4), 0


class Beyond(Single):
    """Labels without a class."""

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.images.x[row], row


class Kept(Single):
    """Images that no other process can be handed."""

    def __init__(self) -> None:
        super().__init__()
        self.read = lambda: None


class Stream(IterableDataset[Any]):
    """Images one after the other, without an end."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        data = images(12, 8)
        return itertools.cycle(data[row] for row in range(len(data)))


def fine(*, size: int = 4, shades: tuple[float, ...] = (0.5, 1.0)) -> Splits:
    """Dots."""
    return splits()


def read_singly() -> Splits:
    """Dots, read one at a time."""
    return splits(train=Single([0, 1, 2] * 4))


def streamed() -> Splits:
    """Dots without an end."""
    return splits(train=Stream())


def of_a_file(*, table: Path) -> Splits:
    """Dots of a file."""
    if not table.is_file():
        raise DataError(f"{table} is missing; wanted a file of dots; give -d table=FILE")
    return splits()


@prepared
def shared(prepare: Preparation) -> Splits:
    """Dots that are split as asked for."""
    return prepare.splits(images(200, 0), images(9, 1), ("a", "b", "c"))


def silent() -> Splits:
    return splits()


def mumbling() -> Splits:
    """dots and the like"""
    return splits()


def words(*, size: int = "small") -> Splits:  # type: ignore[assignment]
    """Dots."""
    return splits()


def dictionary() -> Any:
    """Dots."""
    return {"train": images(3, 0)}


def mixed_sizes() -> Splits:
    """Dots."""

    return splits(train=Growing())


def fourth_class() -> Splits:
    """Dots."""

    return splits(valid=Beyond())


def printing() -> Splits:
    """Dots."""
    print("reading ...")
    return splits()


def not_finite() -> Splits:
    """Dots."""
    return splits(valid=Images(torch.full((9, 1, 4, 4), float("nan")), torch.arange(9) % 3))


def one_buffer() -> Splits:
    """Dots."""
    return splits(train=Images(images(1, 0).x.repeat(24, 1, 1, 1), torch.arange(24) % 3))


def without_scale() -> Splits:
    """Dots."""
    return splits(preprocess=Preprocess(0.0, 0.01))


def by_chance() -> Splits:
    """Dots."""
    seed = int(np.random.default_rng().integers(1 << 30))
    return splits(train=images(24, seed))


def seeding() -> Splits:
    """Dots."""
    torch.manual_seed(0)
    return splits()


def two_of_three() -> Splits:
    """Dots."""
    return splits(train=images(24, 24, torch.arange(24) % 2))


def wrong_list() -> Splits:
    """Dots."""
    return splits(train=Single([2, 1, 0] * 4))


def overlapping() -> Splits:
    """Dots."""
    return splits(test=Images(images(24, 24).x[:12], images(24, 24).y[:12]))


def broken_word(*, colours: Literal["plain", "inverted"] = "plain") -> Splits:
    """Dots."""
    return splits() if colours == "plain" else splits(train=1 / 0)


def bare_error(*, table: Path) -> Splits:
    """Dots."""
    if table.name == "dots":
        return splits()
    return splits(classes=(table.read_text(),))


def without_path(*, table: Path) -> Splits:
    """Dots."""
    if table.name == "dots":
        return splits()
    raise DataError("there are no dots")


def never_missing(*, table: Path) -> Splits:
    """Dots."""
    return splits()


def not_picklable() -> Splits:
    """Dots."""
    return splits(train=Kept())


GALLERY: dict[Callable[..., Any], tuple[str, str]] = {
    silent: (
        "description",
        "it has no docstring; wanted a first sentence for 'tinyclsf info': write one below its def or class",
    ),
    mumbling: (
        "description",
        "its docstring begins with 'dots and the like'; wanted a whole sentence that ends with a full stop",
    ),
    words: (
        "options",
        "option size has the default 'small', which is no int in Python; wanted a default of the annotated type",
    ),
    dictionary: (
        "reads",
        "dataset 'dictionary' (tests.testing.test_dataset_contract:dictionary) returned dict; wanted tinyclsf.data.Splits",
    ),
    mixed_sizes: ("reads", "image 1 of the train split is 1x5x4; wanted 1x4x4"),
    fourth_class: ("reads", "image 3 of the valid split has label 3; wanted 0 to 2"),
    printing: (
        "reads",
        "reading it prints to stdout, 'reading ...'; wanted stdout free for results: leave it out, or print to sys.stderr",
    ),
    not_finite: ("pixels", "a pixel of the valid split is no finite number; wanted numbers alone: mend how images are read"),
    one_buffer: (
        "pixels",
        "the first 24 images looked at in the train split are all the same; wanted different ones: "
        "look whether one buffer is filled again and again",
    ),
    without_scale: (
        "preprocessing",
        "preprocess gives numbers up to 25,500 for the train split; wanted numbers near 0: "
        "give Preprocess a mean and std in the units of the stored pixels, as Preprocess(0, 255) for 0 to 255",
    ),
    by_chance: (
        "same-data-again",
        "reading it twice gives another train split; wanted the same: "
        "draw random numbers from a torch.Generator with a seed of its own, and sort the names of files",
    ),
    seeding: (
        "global-random-numbers",
        "reading it draws from, or seeds, PyTorch's global generator, so a run with it gets other weights; "
        "wanted a torch.Generator of its own",
    ),
    two_of_three: (
        "every-class-trained",
        "1 of 3 classes have no training image: c; add images, or leave the class out: it cannot be learned",
    ),
    wrong_list: ("labels-of-images", "image 0 of the train split has label 0, and 2 in `labels`; wanted the same"),
    overlapping: (
        "disjoint-splits",
        "12 of 12 test images are in an earlier split of the data too, pixel for pixel: "
        "training image 0 and test image 0 are the same, for one; "
        "keep each picture in one split, as the figures on held-out images are too good by it",
    ),
    broken_word: (
        "option-values",
        "with -d colours=inverted: dataset 'broken_word' (tests.testing.test_dataset_contract:broken_word) failed: "
        "ZeroDivisionError: division by zero",
    ),
    not_picklable: (
        "worker-processes",
        "the train split cannot be sent to a worker process (AttributeError: "
        "Can't pickle local object 'Kept.__init__.<locals>.<lambda>'); "
        "wanted one that can be pickled: no lambda, open file or lock in it, and its class at the top of a module",
    ),
}
FILES: dict[Callable[..., Any], str] = {
    bare_error: (
        "where table is missing: dataset 'bare_error' (tests.testing.test_dataset_contract:bare_error) failed: "
        "NotADirectoryError: [Errno 20] Not a directory: 'PLACE'; wanted tinyclsf.plugin.DataError with the file"
    ),
    without_path: "where table is PLACE it says 'there are no dots'; wanted the path in the sentence",
    never_missing: "where table is missing it gives a data set all the same; wanted tinyclsf.plugin.DataError",
}


@pytest.mark.parametrize("broken", GALLERY, ids=lambda each: each.__name__)
def test_a_broken_data_set_fails_its_check_and_no_other(broken: Callable[..., Any]) -> None:
    check, sentence = GALLERY[broken]
    with pytest.raises(ChecksFailed) as caught:
        check_dataset(broken)
    assert str(caught.value) == f"dataset {broken.__name__} fails 1 of 14 checks\n- {check}: {sentence}"


@pytest.mark.parametrize("broken", FILES, ids=lambda each: each.__name__)
def test_a_data_set_that_says_nothing_of_a_missing_file_fails(broken: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "dots").touch()
    with pytest.raises(ChecksFailed) as caught:
        check_dataset(broken, table=tmp_path / "dots")
    found = re.sub(rf"{tempfile.gettempdir()}/\w+/missing", "PLACE", str(caught.value))
    assert found == f"dataset {broken.__name__} fails 1 of 14 checks\n- missing-files: {FILES[broken]}"


@parametrize_with_checks(check_dataset, fine)
def test_a_sound_data_set_passes_each_check(check: BoundCheck[Any]) -> None:
    check()


@pytest.mark.parametrize("sound", [shared, read_singly, streamed], ids=lambda each: each.__name__)
def test_other_sound_data_sets_pass(sound: Callable[..., Any]) -> None:
    assert not check_dataset(sound).failed


def test_the_verdicts_say_why_a_check_was_not_run(tmp_path: Path) -> None:
    (tmp_path / "dots").touch()
    verdicts = check_dataset(of_a_file, table=tmp_path / "dots")
    assert repr(verdicts) == (
        "11 of 14 checks passed\n"
        "  not run  labels-of-images: no split lists its `labels`\n"
        "  not run  option-values: it has no option of words, or of true and false, that is not given\n"
        "  not run  worker-processes: its images are held in memory, so no worker process reads them"
    )


def test_a_data_set_that_cannot_be_read_says_so_once() -> None:
    with pytest.raises(ChecksFailed) as caught:
        check_dataset(of_a_file, table="/missing/dots")
    sentence = "/missing/dots is missing; wanted a file of dots; give -d table=FILE"
    assert str(caught.value) == f"dataset of_a_file fails 1 of 14 checks\n- reads: {sentence}"
