"""Image sets and splits refuse what does not fit, and tell one data set from another."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tests.support.notebooks import ODD, pictures, rows_of_table, said
from tests.support.streams import Stream
from tinyclsf import Images, Preprocess, Splits
from tinyclsf.data import differences, fingerprint
from tinyclsf.errors import DataError


def images(n: int = 4, *, label: int = 0) -> Images:
    return Images(torch.zeros(n, 1, 2, 3, dtype=torch.uint8), torch.full((n,), label))


def splits(**parts: Any) -> Splits:
    given = {"train": images(), "valid": images(), "test": None, "classes": ("a", "b"), "image_shape": (1, 2, 3)}
    return Splits(**{**given, "preprocess": Preprocess(), **parts})


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            torch.zeros(3, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            "images are uint8 of shape (3, 4, 4); wanted four dimensions (number, channels, height, width) of uint8 or float32",
        ),
        (
            torch.zeros(3, 1, 4, 4, dtype=torch.float64),
            torch.zeros(3, dtype=torch.int64),
            "images are float64 of shape (3, 1, 4, 4); "
            "wanted four dimensions (number, channels, height, width) of uint8 or float32",
        ),
        (
            torch.zeros(3, 1, 4, 4),
            torch.zeros(3, dtype=torch.uint8),
            "labels are uint8 of shape (3,); wanted one dimension of int64",
        ),
        (
            torch.zeros(3, 1, 4, 4),
            torch.zeros(3, 10, dtype=torch.int64),
            "labels are int64 of shape (3, 10); wanted one dimension of int64",
        ),
        (
            torch.zeros(60_000, 1, 1, 1),
            torch.zeros(59_999, dtype=torch.int64),
            "there are 60,000 images and 59,999 labels; each image needs one label",
        ),
    ],
)
def test_images_refuse_other_shapes_types_and_lengths(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(DataError) as error:
        Images(x, y)
    assert (str(error.value), error.value.tip) == (message, None)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_hand_on_their_tensors(dtype: torch.dtype) -> None:
    x, y = torch.ones(2, 3, 4, 5, dtype=dtype), torch.tensor([1, 0])
    found = Images(x, y)
    assert found.x is x
    assert found.y is y
    assert len(found) == 2


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (images(0), "the {} split of the data is empty; wanted at least one image"),
        (Subset(images(), []), "the {} split of the data is empty; wanted at least one image"),
        (
            Images(torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64)),
            "the {} images are 3x2x2; wanted 1x2x3 as the data set says",
        ),
        (
            Images(torch.zeros(3, 1, 2, 3), torch.tensor([1, 2, -1])),
            "label 1 of the {} split is 2; wanted 0 to 1 for 2 classes",
        ),
        (
            Images(torch.zeros(3, 1, 2, 3), torch.tensor([0, 1, -1])),
            "label 2 of the {} split is -1; wanted 0 to 1 for 2 classes",
        ),
    ],
)
def test_splits_refuse_a_part_that_does_not_fit(part: str, dataset: Dataset[Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        splits(**{part: dataset})
    assert (str(error.value), error.value.tip) == (message.format(part), None)


@pytest.mark.parametrize("fit", ["middle", None])
def test_splits_refuse_a_way_to_fit_that_there_is_not(fit: Any) -> None:
    with pytest.raises(DataError) as error:
        splits(fit=fit)
    assert str(error.value) == f"fit of the data is {fit!r}; wanted one of crop|pad|stretch"


def test_splits_take_what_fits() -> None:
    assert splits(test=images(label=1)).test is not None
    assert splits(image_shape=[1, 2, 3], train=Stream(images())).test is None


def test_a_fingerprint_is_of_sizes_classes_shape_and_every_number() -> None:
    x, y = torch.arange(24, dtype=torch.uint8).reshape(4, 1, 2, 3), torch.tensor([0, 1, 0, 1])
    checksums = [
        f"{zlib.crc32(part.y.numpy().tobytes(), zlib.crc32(part.x.numpy().tobytes())):08x}" for part in (Images(x, y), images())
    ]
    wanted = {
        "train": 4,
        "valid": 4,
        "test": None,
        "classes": ["a", "b"],
        "image_shape": [1, 2, 3],
        "train_checksum": checksums[0],
        "valid_checksum": checksums[1],
        "test_checksum": None,
    }
    assert fingerprint(splits(train=Images(x, y))) == wanted
    columns = x.transpose(2, 3).contiguous().transpose(2, 3)  # the same numbers in another layout
    assert fingerprint(splits(train=Images(columns, y))) == wanted
    other = x.clone()
    other[3, 0, 1, 2] += 1
    for train in (Images(other, y), Images(x, 1 - y)):
        found = fingerprint(splits(train=train))
        assert found.pop("train_checksum") != checksums[0]
        assert found.items() < wanted.items()
    assert differences({}, {"train": 5}) == "train was None and is 5"
    assert differences(wanted, {**wanted, "train": 5, "train_checksum": "0"}) == (
        f"train was 4 and is 5; train checksum was {checksums[0]} and is 0"
    )
    assert differences(wanted, wanted) == ""


def test_a_checksum_that_is_known_is_used_until_the_images_change() -> None:
    x, y = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2), torch.tensor([0, 1])
    plain, known = Images(x, y), Images(x, y, x_checksum=zlib.crc32(x.numpy().data))
    other = Images(x, y, x_checksum=5)
    assert plain.checksum() == known.checksum() != other.checksum()
    x[0] += 1
    assert plain.checksum() == known.checksum() == other.checksum()


def test_files_are_known_by_name_and_size_wherever_their_folder_is(tmp_path: Path) -> None:
    def checksum(folder: str, *names: str, size: int = 3) -> str:
        paths = [tmp_path / folder / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(size))
        x = torch.zeros(len(paths), 1, 2, 3, dtype=torch.uint8)
        y = torch.zeros(len(paths), dtype=torch.int64)
        test = Images(x, y, list(map(str, paths)))
        found: str = fingerprint(splits(test=test))["test_files"]
        known = Images(x, y, [f"/gone/{name}" for name in names], file_sizes=[size] * len(names))
        assert fingerprint(splits(test=known))["test_files"] == found
        return found

    was = checksum("here", "cat/0.png", "catfish/0.png")
    assert checksum("else/where", "cat/0.png", "catfish/0.png") == was
    x, y = torch.zeros(2, 1, 2, 3), torch.zeros(2).long()
    here = Images(x, y, ["cat/0.png", "catfish/0.png"], file_sizes=[3, 3])  # from within it
    assert fingerprint(splits(test=here))["test_files"] == was
    root = Images(x, y, ["/cat/0.png", "/catfish/0.png"], file_sizes=[3, 3])
    assert fingerprint(splits(test=root))["test_files"] == was
    others = [
        checksum("1", "cat/1.png", "catfish/0.png"),
        checksum("2", "catfish/0.png", "cat/0.png"),
        checksum("3", "cat/0.png", "catfish/0.png", size=4),
    ]
    assert len({was, *others}) == 4


def test_checksums_that_one_fingerprint_alone_has_are_no_difference() -> None:
    assert differences({"train": 4}, {"train": 4, "train_files": "0a"}) == ""
    assert differences({"train": 4, "train_files": "0a"}, {"train": 4}) == ""
    assert differences({"train": 4, "train_checksum": None}, {"train": 4, "train_checksum": "0a"}) == ""
    assert differences({"train": 4, "train_files": "0a"}, {"train": 4, "train_files": "0b"}) == "train files was 0a and is 0b"


def test_a_fingerprint_of_data_that_is_not_in_memory_has_its_sizes_alone() -> None:
    found = fingerprint(splits(train=Stream(images()), valid=Subset(images(), [1, 2]), test=Subset(images(), [0])))
    assert found == {
        "train": None,
        "valid": 2,
        "test": 1,
        "classes": ["a", "b"],
        "image_shape": [1, 2, 3],
        "train_checksum": None,
        "valid_checksum": None,
        "test_checksum": None,
    }


def test_splits_say_how_many_images_there_are() -> None:
    assert repr(splits(test=images(1), train=Stream(images()), classes=(ODD, "b"))).splitlines() == [
        "a stream of train, 4 valid and 1 test images of 1x2x3",
        "2 classes: <b>&\"' $x_ \\x1b\\u202e and b",
    ]


def test_a_notebook_shows_classes_and_sixteen_images_from_all_over_them() -> None:
    x = torch.arange(32, dtype=torch.uint8).view(32, 1, 1, 1).expand(32, 1, 2, 3).contiguous()
    found = splits(train=Images(x, torch.arange(32) // 16), classes=(ODD, "b"))
    assert rows_of_table(found) == [["class", "train images"], ["<b>&\"' $x_ \ufffd\ufffd", "16"], ["b", "16"]]
    drawn = pictures(found)
    assert [np.unique(picture).tolist() for picture, _ in drawn] == [[number] for number in range(0, 32, 2)]
    assert [lines for _, lines in drawn] == [["<b>&\"' $x_ \ufffd\ufffd"]] * 8 + [["b"]] * 8
    assert "32 train and 4 valid images of 1x2x3" in said(found)
    stream = splits(train=Stream(images()))
    assert pictures(stream) == []
    assert "2 classes: a and b" in said(stream)


def test_large_images_of_many_classes_are_shown_small() -> None:
    x = torch.randint(256, (16, 3, 224, 224), dtype=torch.uint8)
    names = tuple(f"class {number}" for number in range(1000))
    same = Images(x, torch.arange(16))
    found = splits(train=same, valid=same, classes=names, image_shape=(3, 224, 224))
    assert [picture.shape for picture, _ in pictures(found)] == [(112, 112, 3)] * 16
    assert len(rows_of_table(found)) == 21
    assert "and 980 more" in said(found)
