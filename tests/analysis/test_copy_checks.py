"""What `check` says of pictures that are there twice: in two classes, in two splits, in one, in memory and on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Subset

from tests.analysis.test_near_copies import compressed, picture, pixels
from tests.support.commands import Cli
from tinyclsf.analysis import copy_checks
from tinyclsf.analysis.copy_checks import NearCopies, check_near_copies, find_near_copies
from tinyclsf.data import Images, Splits
from tinyclsf.modules import Preprocess
from tinyclsf.registry.plugins import find, load


def photos() -> None:
    """Twelve pictures a class and split; one is in train and valid, one twice in train, one in two classes."""
    for at, (split, kind) in enumerate((split, kind) for split in ("train", "valid") for kind in ("ant", "bee")):
        folder = Path("photos", split, kind)
        folder.mkdir(parents=True)
        for number in range(12):
            picture(100 * at + number).save(folder / f"{number:02}.png")
    compressed(picture(3)).save("photos/valid/ant/copy {a}.jpg")
    picture(105).resize((50, 50)).save("photos/train/bee/small.png")
    picture(7).convert("L").save("photos/train/bee/grey.png")


def test_the_findings_name_both_files(cli: Cli) -> None:
    photos()
    options = ("--data", "image-folder", "--data-dir", "photos")
    document = cli("check", "linear", *options, "--json").document
    findings = {each["check"]: each["evidence"] for each in document["findings"]}
    assert findings == {
        "two-classes": "1 picture is in two classes, exactly or nearly: "
        "photos/train/ant/07.png (ant) and photos/train/bee/grey.png (bee)",
        "near-copies": "1 of 25 validation images are nearly the same as an image of an earlier split: "
        "photos/train/ant/03.png and photos/valid/ant/copy {a}.jpg, for one",
        "copies": "2 of 26 training images are the same, or nearly, as another image of their split: "
        "photos/train/ant/07.png and photos/train/bee/grey.png, for one",
    }
    assert "near copies among 51 of 51 pictures" in document["looked_at"]


def splits(*pictures: int, train: Any = None, **more: Any) -> Splits:
    x = torch.stack([pixels(picture(number)) for number in pictures])
    images = Images(x, torch.arange(len(x)) % 2)
    train = images if train is None else train
    return Splits(train, images, more.pop("test", None), ("a", "b"), (3, 64, 64), Preprocess(), **more)


def found(data: Splits) -> NearCopies:
    copies = find_near_copies(data)
    assert isinstance(copies, NearCopies)
    return copies


def test_what_is_the_same_to_the_pixel_in_two_splits_is_left_to_the_other_check() -> None:
    data = splits(1, 2, 3)
    copies = found(data)
    assert (copies.pairs.tolist(), copies.same.tolist()) == ([[0, 3], [1, 4], [2, 5]], [True] * 3)
    assert check_near_copies(copies, data) == []
    turned = splits(1, 2, 3, train=Subset(data.valid, [1, 2, 0]))  # picture 3 is row 1 here, and so of the other class
    assert found(turned).pairs.tolist() == [[0, 4], [1, 5], [2, 3]]
    assert check_near_copies(found(turned), turned) == []


def test_of_large_sets_some_are_looked_at_and_the_smaller_splits_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_checks, "_MOST", 10)
    train = Images(torch.zeros(30, 3, 64, 64), torch.zeros(30, dtype=torch.int64))
    copies = found(splits(1, 2, train=train, test=Subset(train, range(7))))
    assert [int((copies.split_of == number).sum()) for number in range(3)] == [4, 2, 4]
    assert copies.rows[copies.split_of == 1].tolist() == [0, 1]
    assert len(set(copies.rows[copies.split_of == 0].tolist())) == 4


@pytest.mark.parametrize("name", ["digits", pytest.param("mnist", marks=pytest.mark.stress)])
def test_handwritten_digits_are_alike_by_nature(request: pytest.FixtureRequest, name: str) -> None:
    options = {"data_dir": request.getfixturevalue("mnist_dir")} if name == "mnist" else {}
    data = load(find("dataset", name))(**options)
    assert check_near_copies(found(data), data) == []
