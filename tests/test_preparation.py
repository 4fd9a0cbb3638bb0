"""The options that data sets share: what validates, how much is kept, how pixels are scaled, and how a data set gets them."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedShuffleSplit  # type: ignore[import-untyped]
from torch import Tensor
from torchvision.transforms.v2.functional import normalize  # type: ignore[import-untyped]

from tests.support.commands import Install
from tests.support.messages import message
from tinyclsf import splitting
from tinyclsf.augment.geometry import random_affine
from tinyclsf.errors import ConfigurationError, DataWarning
from tinyclsf.metrics import SET_ASIDE
from tinyclsf.plugin import Images, Preparation, Splits, prepared
from tinyclsf.registry.options import REQUIRED, Option, as_text
from tinyclsf.registry.signatures import options_of
from tinyclsf.splitting import set_aside
from tinyclsf_plugins.datasets import digits as digits_module
from tinyclsf_plugins.datasets.digits import digits
from tinyclsf_plugins.datasets.idx import idx
from tinyclsf_plugins.datasets.mnist import mnist
from tinyclsf_plugins.datasets.mnist_pickle import mnist_pickle

Counts = dict[int, int]

EVEN: Counts = dict.fromkeys(range(10), 100)
UNEVEN: Counts = {0: 500, 1: 90, 2: 9, 3: 1}
GAPS: Counts = {2: 40, 7: 10, 65_535: 13}


def labels(counts: Counts, seed: int = 0) -> Tensor:
    """So many of each label, in a random order."""
    y = np.repeat(list(counts), list(counts.values()))
    return torch.from_numpy(np.random.default_rng(seed).permutation(y))


def images(y: Tensor, *shape: int) -> Images:
    """Random pixels for the labels."""
    x = np.random.default_rng(1).integers(0, 256, (len(y), *(shape or (1, 2, 3))), dtype=np.uint8)
    return Images(torch.from_numpy(x), y)


def counted(y: Tensor) -> Counts:
    values, counts = np.unique(y.numpy(), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def parts(splits: Splits) -> tuple[Images, Images, Images]:
    assert isinstance(splits.train, Images)
    assert isinstance(splits.valid, Images)
    assert isinstance(splits.test, Images)
    return splits.train, splits.valid, splits.test


def same(one: Images, other: Images) -> bool:
    return torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


# What validates.


@pytest.mark.parametrize("size", [1, 7, 30, 62])
@pytest.mark.parametrize("counts", [EVEN, UNEVEN, GAPS, {5: 63}], ids=["even", "uneven", "gaps", "one class"])
def test_each_class_validates_by_its_share(counts: Counts, size: int) -> None:
    y = labels(counts)
    rows = Preparation(valid_size=size).held_out(y)
    assert len(rows) == size
    assert (rows.diff() > 0).all()
    taken = counted(y[rows])
    for label, count in counts.items():
        assert abs(taken.get(label, 0) - size * count / len(y)) < 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [40, 61, 133])
def test_class_counts_are_those_of_scikit_learn(size: int, seed: int) -> None:
    y = labels({0: 101, 1: 53, 2: 17, 3: 7})
    _, rows = next(StratifiedShuffleSplit(1, test_size=size, random_state=seed).split(np.zeros(len(y)), y.numpy()))
    assert counted(y[Preparation(valid_size=size, seed=seed).held_out(y)]) == counted(y[rows])


def test_a_class_keeps_an_image_to_train_on_where_another_can_give_one() -> None:
    y = labels({0: 10, 1: 1})
    assert counted(y[Preparation(valid_size=8).held_out(y)]) == {0: 8}  # by share 7.27 and 0.73
    assert counted(y[Preparation(valid_size=10).held_out(y)]) == {0: 9, 1: 1}  # by share 9.09 and 0.91


def test_only_the_labels_and_the_seed_decide_which_rows_validate() -> None:
    y = labels(UNEVEN)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = Preparation(valid_size=100, seed=3).held_out(y)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(Preparation(valid_size=100, seed=3).held_out(y), first)
    drawn = {tuple(Preparation(valid_size=100, seed=seed).held_out(y).tolist()) for seed in (0, 1, 2, 3, 2**31, 2**32 - 1)}
    assert len(drawn) == 6


def test_every_image_of_a_class_is_as_likely_to_validate() -> None:
    y = labels({0: 20, 1: 30})
    rows = torch.cat([Preparation(valid_ratio=0.2, seed=seed).held_out(y) for seed in range(500)])
    times = rows.bincount(minlength=50)  # 100 is to be expected, with a deviation of 9
    assert times.min() > 60
    assert times.max() < 140


@pytest.mark.parametrize(
    ("options", "own", "size", "tail"),
    [
        ({}, {}, 20, False),
        ({}, {"own_size": 30, "own_split": "tail"}, 30, True),
        ({"seed": 4, "fraction": 0.5, "normalize": "half"}, {"own_size": 30, "own_split": "tail"}, 30, True),
        ({"split": "tail"}, {}, 20, True),
        ({"split": "tail"}, {"own_size": 30}, 30, True),
        ({"split": "stratified"}, {"own_size": 30, "own_split": "tail"}, 30, False),
        ({"valid_size": 7}, {"own_size": 30, "own_split": "tail"}, 7, False),
        ({"valid_ratio": 0.29}, {"own_size": 30, "own_split": "tail"}, 29, False),
        ({"valid_size": 7, "split": "tail"}, {"own_size": 30}, 7, True),
        ({"valid_ratio": 0.076, "split": "tail"}, {}, 8, True),
    ],
)
def test_what_a_person_asks_goes_before_a_data_sets_own_way(
    options: dict[str, Any], own: dict[str, Any], size: int, tail: bool
) -> None:
    y = labels({0: 50, 1: 50})
    prepare = Preparation(**options)
    by_class = Preparation(valid_size=size, seed=prepare.seed).held_out(y)
    expected = torch.arange(100 - size, 100) if tail else by_class
    assert torch.equal(prepare.held_out(y, **own), expected)
    assert not torch.equal(torch.arange(100 - size, 100), by_class)


@pytest.mark.parametrize("own_valid", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"valid_ratio": 0.3}, {"valid_size": 20, "split": "tail"}, {"fraction": 0.5, "normalize": "stats"}], ids=str
)
def test_what_tests_is_set_aside_first_and_the_rest_is_split_as_ever(options: dict[str, Any], own_valid: bool) -> None:
    def split(train: Images, test: Images | None, **more: Any) -> tuple[Images, Images, Images]:
        valid = images(labels({0: 60, 1: 40}, seed=1)) if own_valid else None
        prepare = Preparation(**options, **more)
        return parts(prepare.splits(train, test, tuple("0123"), valid=valid, own_size=90, own_split="tail"))

    given = images(labels(UNEVEN))
    x, y = given.x.clone(), given.y.clone()
    rows = Preparation(test_ratio=0.2, seed=3).tested(y)
    right = Images(x[rows], y[rows])
    assert counted(right.y) == {0: 100, 1: 18, 2: 2}  # by share 100, 18, 1.8 and 0.2
    rest = torch.ones(len(y), dtype=torch.bool).index_fill(0, rows, False)
    expected = split(Images(x[rest], y[rest]), right, seed=3)
    found = split(given, None, seed=3, test_ratio=0.2)
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    assert not torch.equal(Preparation(test_ratio=0.2, seed=4).tested(y), rows)


def test_every_image_of_a_class_is_as_likely_to_test_and_to_validate() -> None:
    times = torch.zeros(2, 50)
    for seed in range(500):
        given = Images(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1), torch.arange(50) // 20 % 2)
        _, valid, test = parts(Preparation(test_ratio=0.2, valid_ratio=0.25, seed=seed).splits(given, None, ("a", "b")))
        for row, split in zip(times, (valid, test), strict=True):
            row[split.x.flatten().long()] += 1
    assert times.min() > 60  # 100 is to be expected, with a deviation of 9
    assert times.max() < 140


def test_parts_are_views_of_the_images_in_their_order() -> None:
    given = images(labels(UNEVEN))
    x, y = given.x.clone(), given.y.clone()
    prepare = Preparation(valid_size=120, fraction=0.05)
    train, valid, _ = parts(prepare.splits(given, images(y[:5]), tuple("0123")))
    rows = prepare.held_out(y)
    rest = torch.tensor(sorted(set(range(len(y))) - set(rows.tolist())))
    assert same(valid, Images(x[rows], y[rows]))
    kept = rest[prepare.kept(y[rest])]
    assert same(train, Images(x[kept], y[kept]))
    storages = {tensor.untyped_storage().data_ptr() for part in (given, train, valid) for tensor in part.tensors}
    assert len(storages) == 2


def test_a_validation_choose_split_its_own_joins_only_where_a_split_is_asked_for() -> None:
    def split(**options: Any) -> tuple[Images, Images, Images]:
        train, valid, test = images(labels(EVEN)), images(labels({0: 60, 1: 40}, seed=1)), images(labels({0: 9}))
        return parts(Preparation(**options).splits(train, test, tuple("0123456789"), valid=valid))

    train, valid, test = split()
    for options in ({}, {"seed": 3, "normalize": "stats"}, {"fraction": 0.5}):
        found = split(**options)
        assert same(found[1], valid)
        assert same(found[2], test)
    assert same(split()[0], train)
    last = split(split="tail")
    assert same(last[0], train)
    assert same(last[1], valid)
    drawn = split(split="stratified")
    assert (len(drawn[0]), len(drawn[1])) == (1000, 100)
    assert counted(drawn[1].y) == {0: 15, 1: 13, **dict.fromkeys(range(2, 10), 9)}  # of 160, 140 and eight times 100
    assert sorted(map(bytes, torch.cat([drawn[0].x, drawn[1].x]).numpy())) == sorted(
        map(bytes, torch.cat([train.x, valid.x]).numpy())
    )
    assert len(split(valid_ratio=0.5)[1]) == 550


@pytest.mark.parametrize("piece", [1, 40, splitting._PIECE])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_setting_aside_equals_indexing(dtype: torch.dtype, share: float, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "_PIECE", piece)
    given = images(labels({0: 90, 1: 110}), 3, 2, 2)
    given = Images(given.x.to(dtype), given.y)
    x, y = given.x.clone(), given.y.clone()
    aside = torch.from_numpy(np.random.default_rng(2).random(200) < share)
    rest, found = set_aside(given, aside.nonzero().squeeze(1))
    assert same(rest, Images(x[~aside], y[~aside]))
    assert same(found, Images(x[aside], y[aside]))
    for whole, front, back in zip(given.tensors, rest.tensors, found.tensors, strict=True):
        assert front.untyped_storage().data_ptr() == back.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


@pytest.fixture
def memory_limit() -> Iterator[Callable[[int], None]]:
    """Let the process have no more than so many MB beside what it has."""
    resource = pytest.importorskip("resource")
    sizes = Path("/proc/self/statm")
    if not sizes.exists():
        pytest.skip("this system does not say how much memory a process has")
    before = resource.getrlimit(resource.RLIMIT_AS)

    def limit(megabytes: int) -> None:
        now = int(sizes.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("work", "size", "most"),
    [
        (lambda given: set_aside(given, torch.arange(0, len(given), 8)), 256, 32),  # the others are 224 MB
        (lambda given: Preparation(fraction=0.5).thinned(given), 256, 0),  # what is kept is 128 MB
        (Preparation(normalize="stats").scaling, 64, 64),  # in float64 the whole is 512 MB
    ],
    ids=["set_aside", "thinned", "scaling"],
)
def test_a_large_set_is_prepared_without_a_second_copy(
    memory_limit: Callable[[int], None], work: Callable[[Images], object], size: int, most: int
) -> None:
    given = Images(torch.ones(size, 1, 1024, 1024, dtype=torch.uint8), torch.arange(size) % 2)  # 1 MB each
    memory_limit(most + 48)  # pieces come and go, and leave gaps in the heap
    work(given)


# How much is kept.


@pytest.mark.parametrize("counts", [EVEN, UNEVEN, GAPS], ids=["even", "uneven", "gaps"])
def test_fractions_keep_as_many_of_each_class_and_are_parts_of_one_another(counts: Counts) -> None:
    y = labels(counts)
    inner: set[int] = set()
    for fraction in (0.05, 0.1, 0.29, 0.3, 0.5, 0.9, 0.999999):
        rows = Preparation(fraction=fraction, seed=2).kept(y)
        each = min(int(fraction * len(y) / len(counts)), *counts.values())  # the rarest class caps the others
        assert counted(y[rows]) == dict.fromkeys(sorted(counts), each)
        assert (rows.diff() > 0).all()
        assert inner <= set(rows.tolist())
        inner = set(rows.tolist())
    assert torch.equal(Preparation(fraction=1.0).kept(y), torch.arange(len(y)))
    assert not torch.equal(Preparation(fraction=0.05, seed=3).kept(y), Preparation(fraction=0.05, seed=4).kept(y))


def test_a_fraction_is_not_an_image_short_by_rounding() -> None:
    y = labels(EVEN)
    for fraction in (*(percent / 100 for percent in range(1, 101)), 0.1 + 0.2, 1 - 0.9):
        assert len(Preparation(fraction=fraction).kept(y)) == 10 * round(100 * fraction)


def test_a_fraction_is_of_the_training_images_alone() -> None:
    def split(fraction: float) -> tuple[Images, Images, Images]:
        given = images(labels(EVEN))
        return parts(Preparation(fraction=fraction).splits(given, images(given.y[:5]), tuple("0123456789")))

    for fraction, each in ((0.1, 8), (0.5, 40), (1.0, 80)):
        train, valid, _ = split(fraction)
        assert same(valid, split(1.0)[1])
        assert counted(train.y) == dict.fromkeys(range(10), each)


# How pixels are scaled.


def float_images(shape: tuple[int, ...]) -> Images:
    """Three channels far from one another: large with little deviation, small, and the same everywhere."""
    x = np.random.default_rng(3).random(shape, dtype=np.float32)
    x = x * np.array([0.5, 0.01, 0], dtype=np.float32)[:, None, None] + np.array([100, 0, 0.1], dtype=np.float32)[:, None, None]
    return Images(torch.from_numpy(x), torch.arange(len(x)) % 2)


def byte_images(shape: tuple[int, ...]) -> Images:
    given = images(torch.arange(shape[0]) % 2, *shape[1:])
    given.x[:, 1] //= 50
    given.x[:, 2] = 7
    return given


@pytest.mark.parametrize("piece", [1, 1000, splitting._PIECE])
@pytest.mark.parametrize(("make", "largest"), [(byte_images, 255.0), (float_images, 101.0)], ids=["uint8", "float32"])
def test_stats_are_those_of_numpy(
    make: Callable[[tuple[int, ...]], Images], largest: float, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "_PIECE", piece)
    given = make((61, 3, 7, 5))
    stored = given.x.clone()
    layer = Preparation(normalize="stats").scaling(given, largest)
    x = stored.numpy().astype(np.float64)
    np.testing.assert_allclose(layer.mean.flatten(), x.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(layer.std.flatten(), [*x.std((0, 2, 3))[:2], largest], rtol=1e-7)
    out = layer(given.x).double()
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-4)  # of values near 100 float32 holds five decimals
    np.testing.assert_allclose(out.std((0, 2, 3), correction=0), [1, 1, 0], atol=1e-4)
    assert torch.equal(given.x, stored)


@pytest.mark.parametrize(
    ("normalize", "expected"), [("unit", [0.0, 0.25, 0.5, 1.0]), ("half", [-1.0, -0.5, 0.0, 1.0])], ids=["unit", "half"]
)
@pytest.mark.parametrize("largest", [1.0, 8.0, 255.0])
def test_unit_and_half_are_of_white(normalize: Literal["unit", "half"], expected: list[float], largest: float) -> None:
    given = Images(torch.tensor([0, 0.25, 0.5, 1]).mul(largest).view(1, 1, 2, 2), torch.tensor([0]))
    assert Preparation(normalize=normalize).scaling(given, largest)(given.x).flatten().tolist() == expected


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"valid_ratio": 0.3}, {"valid_size": 20, "split": "tail"}, {"fraction": 0.5}),
        *({"valid_ratio": 0.3, "fraction": 0.5}, {"test_ratio": 0.2}, {"test_ratio": 0.2, "valid_ratio": 0.3}),
    ],
)
def test_the_files_of_images_follow_them(options: dict[str, Any]) -> None:
    x = torch.arange(90, dtype=torch.uint8).view(90, 1, 1, 1)
    y = torch.arange(90) % 2
    names = [str(number) for number in range(90)]
    train, valid = Images(x[:60].clone(), y[:60], names[:60]), Images(x[60:].clone(), y[60:], names[60:])
    splits = Preparation(**options).splits(train, None, ("a", "b"), valid=valid)
    for split in splits.by_name.values():
        assert isinstance(split, Images)
        assert split.paths == [str(number) for number in split.x.flatten().tolist()]


def test_imagenet_is_the_scaling_that_torchvisions_networks_expect() -> None:
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    layer = Preparation(normalize="imagenet").scaling(Images(x, torch.zeros(4, dtype=torch.int64)))
    theirs = normalize(x / 255, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(layer(x), theirs)
    grey = images(torch.arange(4))
    assert message(lambda: Preparation(normalize="imagenet", valid_size=1).splits(grey, None, tuple("abcd"))) == (
        "the data is scaled by a mean for each of 3 channels and its images have 1; -d normalize=unit is for any images, "
        "or give -d channels=3 where the data set has that"
    )


@pytest.mark.parametrize(("mean", "std"), [((0.5, 0.4, 0.3), (0.3, 0.2, 0.1)), ((0.5,), (0.25,))])
@pytest.mark.parametrize("white", [255.0, 1.0])
def test_a_mean_and_deviation_of_ones_own_are_shares_of_white(mean: Any, std: Any, white: float) -> None:
    x = torch.rand(4, 3, 8, 8)
    layer = Preparation(mean=mean, std=std).scaling(Images(x * white, torch.zeros(4, dtype=torch.int64)), white)
    torch.testing.assert_close(layer(x * white), normalize(x, mean=mean, std=std))


def test_stats_are_of_the_images_that_are_trained_on_and_no_others() -> None:
    given = images(labels({0: 60, 1: 40}))
    given.x[80:] = 255  # these validate
    splits = Preparation(normalize="stats", fraction=0.5, split="tail").splits(given, images(given.y), ("a", "b"))
    train, _, _ = parts(splits)
    assert len(train) == 40
    assert splits.preprocess.mean.item() == pytest.approx(train.x.numpy().mean(), rel=1e-6)
    assert splits.preprocess.std.item() == pytest.approx(train.x.numpy().std(), rel=1e-6)


# What is refused.

BELOW_ONE = "wanted more than 0 and less than 1"
UP_TO_ONE = "wanted more than 0 and at most 1"
AS_MANY = "wanted as many numbers of both: one, or one for each channel"
IN_FLOAT32 = "wanted numbers up to 1e+06, for std from 1e-06"
HAS_A_TEST = "the data set has a test split of its own, and test_ratio asks for another; leave it out"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"valid_ratio": 0.2, "valid_size": 3}, "valid_ratio and valid_size are both given; give one of them"),
        ({"valid_ratio": 0.0}, f"valid_ratio is 0.0; {BELOW_ONE}"),
        ({"valid_ratio": 1.0}, f"valid_ratio is 1.0; {BELOW_ONE}"),
        ({"valid_ratio": -0.1}, f"valid_ratio is -0.1; {BELOW_ONE}"),
        ({"valid_ratio": 10.0}, f"valid_ratio is 10.0; {BELOW_ONE}"),
        ({"valid_ratio": float("nan")}, f"valid_ratio is nan; {BELOW_ONE}"),
        ({"valid_ratio": float("inf")}, f"valid_ratio is inf; {BELOW_ONE}"),
        ({"test_ratio": 0.0}, f"test_ratio is 0.0; {BELOW_ONE}"),
        ({"test_ratio": 1.0}, f"test_ratio is 1.0; {BELOW_ONE}"),
        ({"test_ratio": float("nan")}, f"test_ratio is nan; {BELOW_ONE}"),
        ({"test_ratio": 0.2}, HAS_A_TEST),
        ({"valid_size": 0}, "valid_size is 0; wanted at least 1"),
        ({"valid_size": -7}, "valid_size is -7; wanted at least 1"),
        ({"fraction": 0.0}, f"fraction is 0.0; {UP_TO_ONE}"),
        ({"fraction": 1.0000001}, f"fraction is 1.0000001; {UP_TO_ONE}"),
        ({"fraction": float("nan")}, f"fraction is nan; {UP_TO_ONE}"),
        ({"fraction": float("-inf")}, f"fraction is -inf; {UP_TO_ONE}"),
        ({"mean": (0.5,)}, f"mean is 0.5 and std is none; {AS_MANY}"),
        ({"std": (0.5, 0.5)}, f"mean is none and std is 0.5,0.5; {AS_MANY}"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, f"mean is 0.5 and std is 0.5,0.5; {AS_MANY}"),
        (
            {"mean": (0.5,), "std": (0.5,), "normalize": "half"},
            "mean and std are given and normalize is half; leave out one or the other",
        ),
        ({"mean": (0.5,), "std": (0.0,)}, f"mean is 0.5 and std is 0.0; {IN_FLOAT32}"),
        ({"mean": (0.5, float("nan")), "std": (1.0, 1.0)}, f"mean is 0.5,nan and std is 1.0,1.0; {IN_FLOAT32}"),
        ({"mean": (-1e300,), "std": (1.0,)}, f"mean is -1e+300 and std is 1.0; {IN_FLOAT32}"),
        ({"seed": -1}, "seed is -1; wanted 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296; wanted 0 to 4294967295"),
        ({"fraction": 0.05}, "fraction 0.05 of 100 training images is less than one of each of 10 classes; give a larger one"),
        ({"valid_size": 1437}, "1,437 of 1,437 images would validate; set valid_size to 1 to 1,436, or valid_ratio"),
        ({"valid_ratio": 1e-4}, "0 of 1,437 images would validate; set valid_size to 1 to 1,436, or valid_ratio"),
        ({"valid_ratio": 0.9999}, "1,437 of 1,437 images would validate; set valid_size to 1 to 1,436, or valid_ratio"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_followed_is_named_in_python_and_on_the_command_line(
    cli: Any, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    assert message(lambda: digits(train_size=100, **options), ConfigurationError) == expected
    given = [text for name, value in options.items() for text in ("-d", f"{name}={as_text(value)}")]
    result = cli("fit", "mnist-logistic", "-d", "train_size=100", *given)
    assert (result.code, result.out, result.err.splitlines()[-1]) == (2, "", f"error: {expected}")
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("normalize", "Unit", "unit|half|stats|imagenet"),
        ("normalize", "", "unit|half|stats|imagenet"),
        ("split", "last", "auto|stratified|tail"),
    ],
)
def test_a_word_that_there_is_not_is_refused_in_python_too(name: str, value: str, words: str) -> None:
    found = message(lambda: Preparation(**{name: value}), ConfigurationError)  # type: ignore[arg-type]
    assert found == f"{name} is '{value}'; wanted one of {words}"


@pytest.mark.parametrize(("ratio", "size"), [(0.04, 0), (0.9, 9)])
def test_a_test_ratio_that_leaves_a_part_empty_is_refused(ratio: float, size: int) -> None:
    given = images(labels({0: 5, 1: 5}))
    found = message(lambda: Preparation(test_ratio=ratio).splits(given, None, ("a", "b")), ConfigurationError)
    wanted = "wanted at least 1, and 2 left to train and to validate with"
    assert found == f"test_ratio {ratio} sets {size} of 10 images aside; {wanted}"
    least = parts(Preparation(test_ratio=0.8, valid_size=1).splits(given, None, ("a", "b")))
    assert [len(part) for part in least] == [1, 1, 8]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_images_than_two_parts_need_are_the_datas_fault(count: int) -> None:
    given = images(torch.zeros(count, dtype=torch.int64))
    for prepare in (Preparation(), Preparation(split="tail", valid_size=1), Preparation(fraction=0.5)):
        expected = f"there are too few images ({count}) to train and to validate with; wanted at least 2"
        assert message(partial(prepare.splits, given, None, ("a",))) == expected


def test_an_empty_training_part_beside_a_validation_part_is_the_datas_fault() -> None:
    none, some = images(torch.zeros(0, dtype=torch.int64)), images(torch.zeros(3, dtype=torch.int64))
    prepare = Preparation(fraction=0.5, normalize="stats")
    found = message(lambda: prepare.splits(none, None, ("a",), valid=some))
    assert found == "the train split of the data is empty; wanted at least one image"


@pytest.mark.parametrize("options", [{}, {"fraction": 0.5}, {"valid_size": 2}, {"valid_size": 2, "fraction": 0.4}])
def test_a_label_without_a_class_is_not_lost_on_the_way(options: dict[str, Any]) -> None:
    given = images(torch.tensor([-1, 0, 1, 0, 1, 0, 1, 0, 1, 0]))
    found = message(lambda: Preparation(**options).splits(given, None, ("a", "b")))
    assert found == "label 0 of the train split is -1; wanted 0 to 1 for 2 classes"


# How a data set gets the options.


@prepared
def stripes(prepare: Preparation, *, size: int, tone: float | None = None) -> Splits:
    """Stripes of some size."""
    given = images(labels(EVEN), 1, size, size)
    return prepare.splits(given, images(given.y[:5], 1, size, size), tuple("0123456789"), white=tone or 255.0)


SHARED = {
    "normalize": Option("normalize", Literal["unit", "half", "stats", "imagenet"], "unit"),
    "mean": Option("mean", tuple[float, ...] | None, None),
    "std": Option("std", tuple[float, ...] | None, None),
    "test_ratio": Option("test_ratio", float | None, None),
    "valid_ratio": Option("valid_ratio", float | None, None),
    "valid_size": Option("valid_size", int | None, None),
    "split": Option("split", Literal["auto", "stratified", "tail"], "auto"),
    "fraction": Option("fraction", float, 1.0),
    "seed": Option("seed", int, 0),
}


def test_a_data_set_has_its_own_options_then_the_shared_ones() -> None:
    found = options_of("dataset", "stripes", stripes)
    assert list(found) == ["size", "tone", *SHARED]
    assert found == {"size": Option("size", int, REQUIRED), "tone": Option("tone", float | None, None), **SHARED}
    assert (stripes.__name__, stripes.__doc__) == ("stripes", "Stripes of some size.")


def test_options_reach_the_data_set_and_its_preparation() -> None:
    splits = stripes(size=4, tone=2.0, valid_size=300, normalize="half")
    assert splits.image_shape == (1, 4, 4)
    assert len(parts(splits)[1]) == 300
    assert (splits.preprocess.mean.item(), splits.preprocess.std.item()) == (1.0, 1.0)


def test_calls_that_do_not_fit_are_answered_in_the_data_sets_name() -> None:
    assert message(lambda: stripes(size=4, sead=1), TypeError) == "stripes() got an unexpected keyword argument 'sead'"
    assert message(lambda: stripes(seed=1), TypeError) == "stripes() missing 1 required keyword-only argument: 'size'"
    assert message(lambda: stripes(4), TypeError) == "stripes() takes 0 positional arguments but 1 was given"


@pytest.mark.parametrize(
    "annotations", [{"place": "Path", "other": "Path | None"}, {"place": Path, "other": Path | None}], ids=str
)
def test_a_path_may_be_given_as_text(annotations: dict[str, Any]) -> None:
    def located(prepare: Preparation, *, place: Any, other: Any = None, word: str = "w") -> Any:
        return place, other, word

    located.__annotations__ |= annotations
    plugin: Any = prepared(located)
    assert plugin(place="a/b", word="c") == (Path("a/b"), None, "c")
    assert plugin(place=Path("a"), other="b") == (Path("a"), Path("b"), "w")
    assert plugin(place="a", other=None) == (Path("a"), None, "w")
    assert message(lambda: plugin(place=3), ConfigurationError) == "place is of type int; wanted a path as str or Path"


PLUGIN = """
from tinyclsf.plugin import Images, Preparation, Splits, prepared
import torch

@prepared
def bars({}) -> Splits:
    images = Images(torch.zeros(40, 1, 2, 2), torch.arange(40) % 2)
    return prepare.splits(images, None, ("a", "b"))
"""


@pytest.mark.parametrize(
    ("future", "parameters"),
    [
        ("", "prepare: Preparation, *, size: int | None = None"),
        ("from __future__ import annotations", "prepare: Preparation, *, size: int | None = None"),
        ("", "prepare, size=3, **rest"),
        ("", "prepare"),
    ],
)
def test_a_plugin_of_any_style_gets_the_options(cli: Any, install: Install, future: str, parameters: str) -> None:
    code = future + PLUGIN.format(parameters)
    install("theirs", code, module="theirs", datasets={"bars": "theirs:bars"})
    size = ("-d", "size=4") if "size" in parameters else ()
    result = cli("fit", "mnist-logistic", "--data", "bars", *size, "-d", "valid_size=13", "--epochs", "1", "--json")
    assert (result.code, result.document["held_out"]["images"]) == (0, 13)
    assert result.document["notes"][-1] == SET_ASIDE
    result = cli("fit", "mnist-logistic", "--data", "bars", *size, "-d", "test_ratio=0.25", "--epochs", "1", "--json")
    assert [result.document["held_out"][name] for name in ("split", "images")] == ["test", 10]


def test_an_option_of_its_own_with_a_shared_name_is_the_plugins_fault(cli: Any, install: Install) -> None:
    install("theirs", PLUGIN.format("prepare, *, seed=1"), module="theirs", datasets={"bars": "theirs:bars"})
    result = cli("fit", "mnist-logistic", "--data", "bars")
    assert (result.code, result.err) == (
        5,
        "error: dataset 'bars' of package theirs (theirs:bars) cannot be imported: "
        "TypeError: bars has an option 'seed' of its own beside that of @prepared; rename it\n"
        f"tip: look at {Path('theirs/theirs.py').absolute()}, line 5; --debug shows the traceback\n",
    )


# The data sets that take them.

Built = tuple[Callable[..., Splits], dict[str, Any], int]


@pytest.fixture(params=["digits", "idx", pytest.param("mnist", marks=pytest.mark.stress), "mnist-pickle"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    """A data set, the options of its own, and how many images train and validate together."""
    pixels = np.random.default_rng(4).integers(0, 256, (400, 28, 28), dtype=np.uint8)
    digit = labels(dict.fromkeys(range(10), 40)).numpy()
    if request.param == "digits":
        return digits, {"train_size": 600}, 1437
    if request.param == "mnist":
        return mnist, {"data_dir": request.getfixturevalue("mnist_dir")}, 60_000
    if request.param == "mnist-pickle":
        x = pixels.reshape(-1, 784).astype(np.float32) / 255
        three = tuple((x[rows], digit[rows]) for rows in (slice(0, 250), slice(250, 350), slice(350, 400)))
        (tmp_path / "mnist.pkl").write_bytes(pickle.dumps(three))
        return mnist_pickle, {"path": tmp_path / "mnist.pkl"}, 350
    for name, count in (("train", 400), ("t10k", 50)):
        for suffix, array in (("images-idx3-ubyte", pixels[:count]), ("labels-idx1-ubyte", digit[:count])):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{name}-{suffix}").write_bytes(header + array.astype(np.uint8).tobytes())
    return idx, {"data_dir": tmp_path}, 400


def test_every_data_set_takes_every_shared_option(dataset: Built) -> None:
    plugin, own, count = dataset
    assert list(options_of("dataset", "d", plugin).items())[-len(SHARED) :] == list(SHARED.items())
    train, valid, test = parts(plugin(**own))

    splits = plugin(**own, valid_size=40, normalize="half")
    _, drawn, as_before = parts(splits)
    assert len(drawn) == 40
    assert same(as_before, test)
    assert tuple(splits.preprocess(train.x).aminmax()) == (-1.0, 1.0)

    assert message(lambda: plugin(**own, test_ratio=0.2), ConfigurationError) == HAS_A_TEST

    _, last, _ = parts(plugin(**own, valid_size=40, split="tail"))
    assert same(last, Images(valid.x[-40:], valid.y[-40:]))
    _, others, _ = parts(plugin(**own, valid_ratio=0.25, seed=1))
    assert len(others) == round(count / 4)
    assert len({bytes(part.x[:40].numpy()) for part in (drawn, last, others)}) == 3

    splits = plugin(**own, fraction=0.5, normalize="stats")
    thin, as_before, _ = parts(splits)
    assert same(as_before, valid)
    assert len(set(counted(thin.y).values())) == 1
    assert len(train) * 0.3 < len(thin) <= len(train) * 0.5
    assert set(map(bytes, thin.x.numpy())) <= set(map(bytes, train.x.numpy()))
    x, layer = thin.x.numpy(), splits.preprocess
    assert (layer.mean.item(), layer.std.item()) == pytest.approx((x.mean(dtype="f8"), x.std(dtype="f8")))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"valid_ratio": 0.3},
        {"valid_size": 700, "seed": 3},
        {"split": "stratified", "fraction": 0.2},
        {"split": "tail", "valid_size": 1100},
    ],
    ids=str,
)
def test_no_relative_of_a_held_out_digit_is_trained_on(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    jittered = digits_module.jittered
    sources: set[bytes] = set()
    relatives: set[bytes] = set()

    def watched(x: Tensor, *arguments: Any) -> Tensor:
        moved = jittered(x, *arguments)
        sources.update(map(bytes, x.numpy()))
        relatives.update(map(bytes, moved.numpy()))
        return moved

    monkeypatch.setattr(digits_module, "jittered", watched)
    train, valid, test = parts(digits(train_size=2500, **options))
    held_out = set(map(bytes, torch.cat([valid.x, test.x]).numpy()))
    assert not sources & held_out
    assert len(sources | held_out) == len(load_digits().target)  # no two of the digits are the same
    assert set(map(bytes, train.x.numpy())) <= relatives


def test_digits_are_jittered_as_affine_moves_images() -> None:
    x = parts(digits(train_size=1))[2].x
    found = digits_module.jittered(x, 500, torch.Generator().manual_seed(3))
    amounts: dict[str, Any] = {"degrees": 12, "translate": 2, "scale": 0.12, "shear": 8}
    wanted = random_affine(x[torch.arange(500) % len(x)], **amounts, generator=torch.Generator().manual_seed(3))
    assert (found.int() - wanted.int()).abs().max() <= 1


def test_a_tail_that_takes_whole_classes_from_training_is_warned_of() -> None:
    by_class = torch.tensor([0] * 6 + [1] * 3 + [2] * 3)
    sentence = (
        "the last 6 images have all that there is of 2 of the classes, so these are not trained on; "
        "split=stratified takes a share of each"
    )
    with pytest.warns(DataWarning, match=f"^{re.escape(sentence)}$"):
        Preparation(valid_size=6, split="tail").held_out(by_class)
    assert Preparation(valid_size=2, split="tail").held_out(by_class).tolist() == [10, 11]
