"""A data set at a glance: which images are drawn, and figures against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tests.support.streams import Stream
from tinyclsf.analysis.dataset_statistics import describe_data
from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError
from tinyclsf.modules import Preprocess


class Files(Dataset[tuple[Any, int]]):
    paths = ("a.jpg", "b.jpg", "c.jpg")

    def __len__(self) -> int:
        return 3

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return (torch.zeros(1, 2, 3) if row < 2 else "no tensor"), 1


def make(train: Any = None) -> Splits:
    x = torch.randint(256, (40, 1, 2, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0] * 30 + [2] * 10)
    part = Images(x, y, [f"{row}.jpg" for row in range(40)])
    return Splits(train or part, Images(x[:7], y[:7]), None, ("a", "b", "c"), (1, 2, 3), Preprocess(100.0, 50.0))


def test_images_are_drawn_by_the_seed() -> None:
    splits = make()
    found = describe_data(splits, images=6, seed=3)
    assert len(set(found.rows)) == 6
    assert found.rows == describe_data(splits, images=6, seed=3).rows != describe_data(splits, images=6, seed=4).rows
    assert max(found.rows) > 6
    assert sorted(describe_data(splits, images=100, seed=3).rows) == list(range(40))
    first = describe_data(splits, images=6, seed=None)
    assert first.rows == [0, 1, 2, 3, 4, 5]
    train: Any = splits.train
    assert torch.equal(found.x, train.x[found.rows])
    assert torch.equal(found.y, train.y[found.rows])
    assert found.paths == [f"{row}.jpg" for row in found.rows]


def test_figures_of_the_whole_and_of_the_images() -> None:
    found = describe_data(make(), images=8, seed=1)
    assert (found.split, found.sizes, found.counts) == ("train", {"train": 40, "valid": 7}, [30, 0, 10])
    pixels = found.x.numpy().astype(np.float64)
    assert found.stored == pytest.approx((pixels.min(), pixels.max(), pixels.mean(), pixels.std()))
    pixels = (pixels - 100) / 50
    assert found.preprocessed == pytest.approx((pixels.min(), pixels.max(), pixels.mean(), pixels.std()))
    valid = describe_data(make(), "valid", images=8)
    assert (valid.split, valid.counts, valid.paths) == ("valid", [7, 0, 0], None)
    assert describe_data(make(), "all").counts == [37, 0, 10]


def test_a_stream_gives_its_first_images() -> None:
    splits = make(Stream([(torch.full((1, 2, 3), 10 * at, dtype=torch.uint8), at % 2) for at in range(5)]))
    found = describe_data(splits, images=3, seed=None)
    assert (found.sizes, found.counts, found.rows, found.paths) == ({"train": None, "valid": 7}, None, [0, 1, 2], None)
    assert (found.x[:, 0, 0, 0].tolist(), found.y.tolist()) == ([0, 10, 20], [0, 1, 0])
    assert len(describe_data(splits, images=9, seed=None).rows) == 5
    with pytest.raises(ConfigurationError) as error:
        describe_data(splits)
    assert str(error.value) == "the train split is a stream, of which no images can be drawn by a seed; show its first ones"


def test_a_split_that_cannot_be_shown_is_an_error() -> None:
    with pytest.raises(DataError) as empty:
        describe_data(make(Stream([])), seed=None)
    assert str(empty.value) == "the train split of the data has no images"
    found = describe_data(make(Files()), images=2, seed=None)
    assert (found.sizes["train"], found.counts, found.paths) == (3, None, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError) as error:
        describe_data(make(Files()), images=3, seed=None)
    assert str(error.value) == "image 2 is a str; wanted a tensor of shape (1, 2, 3) as the data set says"
    with pytest.raises(ConfigurationError) as missing:
        describe_data(make(), "test")
    assert str(missing.value) == "the data has no test split; choose --split valid"
