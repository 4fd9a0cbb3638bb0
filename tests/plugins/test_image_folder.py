"""A person's own pictures: how folders are understood, split, read and reported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]

from tests.support.commands import Cli
from tests.support.forking import Forks
from tests.support.messages import message
from tinyclsf import Images, Splits
from tinyclsf.batches.loaders import loader
from tinyclsf.errors import ConfigurationError, DataError, DataWarning
from tinyclsf.pictures import kept
from tinyclsf.plugin import Preparation
from tinyclsf.progress import telling as progress
from tinyclsf_plugins.datasets import picture_splits
from tinyclsf_plugins.datasets.image_folder import image_folder

Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Make pictures of 4x4 pixels, all different, in a folder: {"train/cat": 3} is three in train/cat."""
    generator = np.random.default_rng(0)

    def make(**numbers: int) -> Path:
        for folder, number in numbers.items():
            path = tmp_path / "photos" / folder.replace("__", "/")
            path.mkdir(parents=True, exist_ok=True)
            for at in range(number):
                Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path / f"{at:02}.png")
        return tmp_path / "photos"

    return make


def read(folder: Path, **options: Any) -> Splits:
    found = image_folder(data_dir=folder, **{"size": 4, **options})
    assert isinstance(found, Splits)
    return found


def part(splits: Splits, name: str) -> Images:
    found = getattr(splits, name)
    assert isinstance(found, Images)
    return found


def pixels(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def sizes(splits: Splits) -> list[int]:
    return [len(part(splits, name)) for name in ("train", "valid", "test") if getattr(splits, name) is not None]


def error_of(folder: Path, **options: Any) -> tuple[str, str | None]:
    with pytest.raises((DataError, ConfigurationError)) as error:
        read(folder, **options)
    return str(error.value), error.value.tip


@pytest.mark.parametrize("valid", ["valid", "val"])
def test_three_folders_are_the_three_parts_as_torchvision_reads_them(plant: Plant, valid: str) -> None:
    photos = plant(train__dog=3, train__cat=5, **{f"{valid}__cat": 2, f"{valid}__dog": 1}, test__dog=2, test__cat=1)
    splits = read(photos)
    assert (splits.classes, splits.image_shape) == (("cat", "dog"), (3, 4, 4))
    for name, folder in (("train", "train"), ("valid", valid), ("test", "test")):
        right = ImageFolder(photos / folder)
        found = part(splits, name)
        assert found.y.tolist() == right.targets
        assert torch.equal(found.x, torch.stack([pixels(path) for path, _ in right.samples]))
        assert found.paths == [path for path, _ in right.samples]
    grey = part(read(photos, channels=1), "test")
    right = np.array(Image.open(photos / "test/cat/00.png").convert("L"))
    assert torch.equal(grey.x[0, 0], torch.from_numpy(right))


def test_folders_of_splits_may_have_their_long_names(plant: Plant) -> None:
    photos = plant(Training__cat=3, Training__dog=3, validation__cat=1, validation__dog=1, TEST__cat=2, TEST__dog=1)
    splits = read(photos)
    assert (splits.classes, sizes(splits)) == (("cat", "dog"), [6, 2, 3])
    assert {Path(path).parts[-3] for path in part(splits, "test").paths or ()} == {"TEST"}
    shutil.copytree(photos / "Training", photos / "train")
    both = f"there are both {photos}/Training and {photos}/train; wanted one to train with"
    assert error_of(photos) == (both, None)


def test_one_level_of_folders_is_split(plant: Plant) -> None:
    splits = read(plant(cat=10, dog=5, train=5))  # where no folders are in it, "train" is a class
    assert splits.classes == ("cat", "dog", "train")
    assert splits.test is None
    assert sorted(part(splits, "train").y.tolist()) == [0] * 8 + [1] * 4 + [2] * 4
    assert sorted(part(splits, "valid").y.tolist()) == [0] * 2 + [1] + [2]


def test_the_tail_is_the_last_of_each_class_by_name(plant: Plant) -> None:
    photos = plant(train__cat=6, train__dog=3, test__cat=1, test__dog=1)
    splits = read(photos, valid_size=3, split="tail")
    right = [photos / "train/cat/04.png", photos / "train/cat/05.png", photos / "train/dog/02.png"]
    assert torch.equal(part(splits, "valid").x, torch.stack([pixels(path) for path in right]))
    assert part(splits, "valid").y.tolist() == [0, 0, 1]
    rest = [photos / f"train/{name}.png" for name in ("cat/00", "cat/01", "cat/02", "cat/03", "dog/00", "dog/01")]
    assert torch.equal(part(splits, "train").x, torch.stack([pixels(path) for path in rest]))
    assert sizes(splits) == [6, 3, 2]


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_a_share_of_each_class_is_set_aside_to_test_first(plant: Plant, cache: str) -> None:
    photos = plant(cat=10, dog=5)
    splits = read(photos, test_ratio=0.4, split="tail", valid_size=3, cache=cache)
    names: dict[str, list[str]] = {}
    for name, dataset in splits.by_name.items():
        xb, yb = next(iter(loader(dataset, 16)))
        paths = dataset.paths  # type: ignore[attr-defined]
        assert torch.equal(xb, torch.stack([pixels(Path(path)) for path in paths]))
        assert yb.tolist() == [int("dog" in path) for path in paths]
        names[name] = [path.removeprefix(f"{photos}/") for path in paths]
    every = [*(f"cat/{at:02}.png" for at in range(10)), *(f"dog/{at:02}.png" for at in range(5))]
    rows = Preparation(test_ratio=0.4).tested(torch.tensor([0] * 10 + [1] * 5)).tolist()
    rest = [every[row] for row in range(15) if row not in rows]
    assert names == {"train": [*rest[:4], *rest[6:8]], "valid": [*rest[4:6], *rest[8:]], "test": [every[row] for row in rows]}


def test_a_test_split_cannot_be_asked_for_where_there_is_one(plant: Plant) -> None:
    photos = plant(train__cat=9, train__dog=9, valid__cat=1, valid__dog=1)
    assert sizes(read(photos, test_ratio=0.5)) == [9, 2, 9]
    plant(test__cat=1, test__dog=1)
    assert error_of(photos, test_ratio=0.5)[0] == (
        f"{photos} has a folder to test with, and test_ratio asks for another split; leave that option out, "
        "or take the folder away"
    )


def test_a_fraction_has_as_many_of_each_class_and_nothing_else_is_decoded(plant: Plant) -> None:
    photos = plant(train__cat=12, train__dog=8, train__fox=20, valid__cat=1, valid__dog=1, valid__fox=1)
    found = []
    for fraction in (0.15, 0.3):
        told: list[int] = []
        with progress.listening(lambda what, done, total, told=told: told.append(total)):  # type: ignore[misc]
            splits = read(photos, fraction=fraction)
        each = int(40 * fraction / 3)
        assert Counter(part(splits, "train").y.tolist()) == {0: each, 1: each, 2: each}
        assert set(told) == {3 * each + 3}
        found.append({tuple(x.flatten().tolist()) for x in part(splits, "train").x})
    assert found[0] < found[1]


def test_a_split_cannot_be_asked_for_where_there_is_one(plant: Plant) -> None:
    photos = plant(train__cat=2, train__dog=2, val__cat=1, val__dog=1)
    for options in ({"valid_ratio": 0.5}, {"valid_size": 1}, {"split": "tail"}):
        message, _ = error_of(photos, **options)
        assert message == (
            f"{photos} has a folder to validate with, and valid_ratio, valid_size or split asks for another split; "
            "leave those options out, or take the folder away"
        )


def test_what_is_no_picture_of_a_class_is_left_out(plant: Plant, tmp_path: Path) -> None:
    photos = plant(train__cat=2, train__dog=2, valid__cat=1, valid__dog=1)
    cat = photos / "train/cat"
    for folder in (photos / ".git", photos / "train/.ipynb_checkpoints", photos / "train/__MACOSX", cat / ".hidden"):
        shutil.copytree(photos / "valid/cat", folder)
    (cat / ".DS_Store").write_text("")
    (cat / "notes.txt").write_text("")
    (cat / "noending").write_text("")
    os.mkfifo(cat / "pipe.png")
    (cat / "deep/er").mkdir(parents=True)
    shutil.copy(cat / "00.png", cat / "deep/er/UPPER.PNG")
    shutil.copytree(photos / "valid/cat", tmp_path / "elsewhere")
    (cat / "linked").symlink_to(tmp_path / "elsewhere")
    (cat / "again").symlink_to(tmp_path / "elsewhere")
    (cat / "loop").symlink_to(photos)
    (cat / "deep/loop").symlink_to(cat)
    with pytest.warns(DataWarning) as caught:
        splits = read(photos)
    assert splits.classes == ("cat", "dog")
    assert Counter(part(splits, "train").y.tolist()) == {0: 4, 1: 2}
    messages = [str(each.message) for each in caught]
    assert messages[0] == f"2 files are left out, not ending in .jpg, .png or the like: {cat}/noending, for one"
    assert messages[1].startswith("1 picture is in two splits of the data, which makes a model look better than it is: ")
    assert len(messages) == 2


def test_what_lies_beside_the_class_folders_is_named(plant: Plant) -> None:
    photos = plant(train__cat=2, train__dog=2, valid__cat=1, valid__dog=1, raw__x=1, tests__x=1)
    shutil.copy(photos / "valid/cat/00.png", photos / "train/stray.png")
    with pytest.warns(DataWarning) as caught:
        assert sizes(read(photos)) == [4, 2]
    assert [str(each.message) for each in caught] == [
        f"{photos} has a folder train, so raw and tests beside it are not used; wanted train, valid (or val) and test",
        f"1 picture is left out, lying in no class folder: {photos}/train/stray.png, for one",
    ]


@pytest.mark.parametrize(
    ("numbers", "inside", "message", "tip"),
    [
        ({}, "none", "there is no folder {}; wanted a folder that has a folder of pictures for each class", None),
        ({"a": 1}, "a/00.png", "{} is a file; wanted a folder that has a folder of pictures for each class", None),
        (
            {"a": 3, "b": 1},
            "a",
            "{} has 3 pictures and no class folders; wanted a folder of pictures for each class, in it or in {}/train",
            "did you mean --data-dir {parent}?",
        ),
        (
            {"a": 3, "runs": 0},
            "a",
            "{} has 3 pictures and no class folders; wanted a folder of pictures for each class, in it or in {}/train",
            "make a folder of pictures for each class: {}/cat, {}/dog",
        ),
        (
            {"empty": 0},
            "empty",
            "{} has no class folders; wanted a folder of pictures for each class, in it or in {}/train",
            None,
        ),
        (
            {"set__train__a": 1, "set__train__b": 1, "other__x": 1},
            ".",
            "{}/set is no class: it has a folder train with classes",
            "did you mean --data-dir {}/set?",
        ),
        (
            {"set__a": 1, "set__b": 1},
            ".",
            "{} has one class folder, set; wanted at least two",
            "did you mean --data-dir {}/set?",
        ),
        ({"a": 1}, ".", "{} has one class folder, a; wanted at least two", None),
        ({"train__a": 1}, ".", "{}/train has one class folder, a; wanted at least two", None),
        (
            {"train": 2, "valid__a": 1},
            ".",
            "{} has train and valid and no class folders in {}/train; wanted {}/train/CLASS/*",
            None,
        ),
        ({"a": 1, "b": 0}, ".", "the class folder {}/b has no picture; wanted one at least, or no such folder", None),
        (
            {"Training": 2, "Testing": 1},
            ".",
            "{} has Testing and Training and no class folders in {}/Training; wanted {}/Training/CLASS/*",
            None,
        ),
        (
            {"train__a": 1, "train__b": 1, "valid__a": 1, "valid__b": 1, "val__a": 1},
            ".",
            "there are both {}/val and {}/valid; wanted one to validate with",
            None,
        ),
        (
            {"train__a": 1, "train__b": 1, "train__c": 1, "valid__a": 1},
            ".",
            "{}/valid lacks 'b' and 'c'; wanted the class folders of {}/train, by the same names",
            None,
        ),
        (
            {"train__a": 1, "train__b": 1, "test__a": 1, "test__b": 1, "test__B": 1},
            ".",
            "{}/test adds 'B'; wanted the class folders of {}/train, by the same names",
            None,
        ),
    ],
)
def test_folders_that_are_laid_out_otherwise(
    plant: Plant, numbers: dict[str, int], inside: str, message: str, tip: str | None
) -> None:
    folder = plant(**numbers) / inside if numbers else plant(a=0) / inside
    found = error_of(folder)
    assert found == (message.replace("{}", str(folder)), tip and tip.replace("{}", str(folder)).format(parent=folder.parent))


def test_a_class_of_other_files_says_so(plant: Plant) -> None:
    photos = plant(a=1, b=0)
    (photos / "b/1.heic").write_bytes(b"x")
    message = f"the class folder {photos}/b has no picture; it has other files, {photos}/b/1.heic for one; "
    assert error_of(photos)[0] == message + "wanted one at least, or no such folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_may_not_be_read_is_named(plant: Plant) -> None:
    photos = plant(a=3, b=3)
    (photos / "a/00.png").chmod(0)
    assert "permission denied" in error_of(photos)[0]
    (photos / "b").chmod(0)
    assert error_of(photos)[0] == f"cannot read the folder {photos}/b: Permission denied"


def spoil(photos: Path) -> None:
    """Three bad pictures of six in class a."""
    (photos / "a/00.png").write_bytes(b"")
    (photos / "a/01.png").write_bytes(b"text")
    (photos / "a/new\nline.png").symlink_to("nowhere")


BAD = "{}/a/00.png (empty file), {}/a/01.png (not a picture, or broken from its first bytes on)"


def test_pictures_that_cannot_be_read_are_all_listed(plant: Plant) -> None:
    photos = plant(a=5, b=6)
    spoil(photos)
    found = (
        f"3 of 12 pictures cannot be read: {BAD.replace('{}', str(photos))} and "
        f"{photos}/a/new\\nline.png (no such file or directory)"
    )
    advice = "; mend or remove them, or leave them out with -d skip_bad=true"
    assert error_of(photos, split="tail", valid_size=2) == (found + advice, None)
    many = plant(a=30)
    for at in range(30):
        (many / f"a/{at:02}.png").write_bytes(b"")
    message, _ = error_of(many)
    assert message.count("(empty file)") == 10
    assert f"(empty file) and 21 more{advice}" in message


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_pictures_that_cannot_be_read_are_left_out_if_asked_for(plant: Plant, cache: str) -> None:
    photos = plant(a=5, b=6)
    spoil(photos)
    with pytest.warns(DataWarning) as caught:
        splits = read(photos, split="tail", valid_size=4, skip_bad=True, cache=cache)
    (message,) = (str(each.message) for each in caught)
    assert message.startswith(f"3 of 12 pictures cannot be read and are left out: {photos}/a/00.png (empty file), ")
    assert list(splits.left_out) == [str(photos / name) for name in ("a/00.png", "a/01.png", "a/new\nline.png")]
    assert list(splits.left_out.values())[:2] == ["empty file", "not a picture, or broken from its first bytes on"]
    for dataset, names in ((splits.train, "a/02 a/03 b/00 b/01 b/02 b/03"), (splits.valid, "a/04 b/04 b/05")):
        batch = next(iter(loader(dataset, 16)))
        assert torch.equal(batch[0], torch.stack([pixels(photos / f"{name}.png") for name in names.split()]))
        assert batch[1].tolist() == [int(name[0] == "b") for name in names.split()]


def test_all_that_was_left_out_is_listed_by_check_and_kept_in_the_run(cli: Cli, plant: Plant) -> None:
    photos = plant(a=20, b=6)
    bad = [str(photos / f"a/{at:02}.png") for at in range(12)]
    for path in bad:
        Path(path).write_bytes(b"")
    options = ("--data", "image-folder", "--data-dir", str(photos), "-d", "split=tail", "-d", "skip_bad=true")
    found = cli("check", "linear", *options)
    assert f"  left out    {bad[0]} (empty file)\n              {bad[1]} (empty file)\n" in found.out
    assert f"              {bad[-1]} (empty file)\n\n" in found.out
    warning = " ".join(found.err.split())
    assert f"12 of 26 pictures cannot be read and are left out: {bad[0]} (empty file), " in warning
    assert f"{bad[9]} (empty file) and 2 more; tinyclsf check lists all, and fit in left-out.csv of the run" in warning
    document = cli("check", "linear", *options, "--json").document
    assert document["left_out"] == [{"file": path, "reason": "empty file"} for path in bad]
    assert cli("fit", "linear", *options, "--epochs", "1", "--run", "first").code == 0
    assert Path("runs/first/left-out.csv").read_bytes().decode() == "".join(
        f"{line}\r\n" for line in ("file,reason", *(f"{path},empty file" for path in bad))
    )
    for path in bad:
        Path(path).unlink()
    assert cli("fit", "linear", *options, "--epochs", "1", "--run", "second").code == 0
    assert not Path("runs/second/left-out.csv").exists()
    assert cli("check", "linear", *options, "--json").document["left_out"] == []


def test_a_class_without_a_picture_left_is_an_error_again(plant: Plant) -> None:
    photos = plant(train__a=1, train__b=2, valid__a=1, valid__b=1)
    (photos / "valid/b/00.png").write_bytes(b"")
    with pytest.warns(DataWarning):
        message, _ = error_of(photos, skip_bad=True)
    assert message == "not one picture of class b in the valid split can be read; mend one, or remove the class"


def test_a_picture_in_two_parts_is_reported(plant: Plant) -> None:
    photos = plant(train__a=3, train__b=3, valid__a=2, valid__b=1, test__a=1, test__b=1)
    shutil.copy(photos / "train/a/01.png", photos / "test/b/00.png")
    shutil.copy(photos / "valid/a/01.png", photos / "test/a/00.png")
    shutil.copy(photos / "valid/a/01.png", photos / "valid/a/00.png")  # twice in one part is the person's own business
    with pytest.warns(DataWarning) as caught:
        read(photos)
    (message,) = (str(each.message) for each in caught)
    assert message == (
        "2 pictures are in two splits of the data, which makes a model look better than it is: "
        f"{photos}/valid/a/00.png and {photos}/test/a/00.png are the same file, for one"
    )


def test_scaling_is_measured_on_the_training_pictures_in_pieces(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_splits, "_MEASURED_BYTES", 5 * 48)
    splits = read(plant(train__a=9, train__b=12, test__a=2, test__b=3), normalize="stats", fraction=0.7)
    x = part(splits, "train").x.double()
    mean, std = splits.preprocess.mean.flatten().double(), splits.preprocess.std.flatten().double()
    torch.testing.assert_close(mean, x.mean(dim=(0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(std, x.std(dim=(0, 2, 3), correction=0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_a_picture_becomes_a_square_as_asked(plant: Plant, cache: str) -> None:
    photos = plant(train__a=0, train__b=0, valid__a=1, valid__b=1)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8))
    for name in "ab":
        image.save(photos / f"train/{name}/wide.png")
    padded = Image.new("RGB", (4, 4), "black")
    padded.paste(image.resize((4, 3), Image.Resampling.BILINEAR), (0, 0))
    stretched = image.resize((4, 4), Image.Resampling.BILINEAR)
    for fit, right in (("crop", image.crop((1, 0, 5, 4))), ("pad", padded), ("stretch", stretched)):
        splits = read(photos, fit=fit, cache=cache)
        xb, _ = next(iter(loader(splits.train, 2)))
        assert torch.equal(xb, torch.from_numpy(np.array(right)).permute(2, 0, 1).expand(2, 3, 4, 4))
        assert splits.fit == fit
    default = read(photos, cache=cache)
    assert default.fit == "crop"
    assert torch.equal(next(iter(loader(default.train, 2)))[0], next(iter(loader(read(photos, fit="crop").train, 2)))[0])


def test_a_channel_that_is_the_same_everywhere_is_not_scaled(plant: Plant) -> None:
    photos = plant(a=0, b=0)
    for at in range(4):
        Image.new("RGB", (4, 4), (7, 50 * at, 0)).save(photos / "ab"[at % 2] / f"{at}.png")
    state = torch.get_rng_state()
    preprocess = read(photos, normalize="stats", valid_size=2, split="tail").preprocess
    assert torch.equal(torch.get_rng_state(), state)
    assert preprocess.mean.flatten().tolist() == [7, 25, 0]
    assert preprocess.std.flatten().tolist() == [255, 25, 255]


def test_what_is_neither_kept_nor_fits_into_half_of_the_free_memory_is_refused(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = plant(a=5, b=5)
    monkeypatch.setattr(kept, "free_memory", lambda: 2 * 10 * 48)
    assert sizes(read(photos, cache="off")) == [8, 2]
    monkeypatch.setattr(kept, "free_memory", lambda: 2 * 10 * 48 - 1)
    assert sizes(read(photos)) == [8, 2]
    assert error_of(photos, cache="off", size=1024)[0] == (
        "10 pictures of 1024x1024 need 30.0 MiB and half of the free memory is 0.5 KiB; have them kept on a disk with room, "
        "-d cache=DIR, or give a smaller size"
    )
    assert error_of(photos, size=0) == ("size is 0; wanted at least 1", None)
    assert error_of(photos, fit="cut") == ("fit is 'cut'; wanted crop, pad or stretch", None)
    assert error_of(photos, channels=2) == ("channels is 2; wanted 1 or 3", None)


def test_names_that_a_mac_took_apart_are_those_of_other_systems(plant: Plant) -> None:
    ant, bee = "\u1100\u1162\u1106\u1175", "\ubc8c"  # 개미 as a Mac writes it, 벌
    composed = unicodedata.normalize("NFC", ant)
    photos = plant(**{f"train__{ant}": 3, f"train__{bee}": 2, f"test__{composed}": 1, f"test__{bee}": 1})
    splits = read(photos, valid_size=2)
    assert splits.classes == (composed, bee)
    assert isinstance(splits.test, Images)
    assert isinstance(splits.train, Images)
    assert [Path(path).parent.name for path in splits.test.paths or ()] == [composed, bee]
    assert {Path(path).parent.name for path in splits.train.paths or ()} == {ant, bee}
    plant(**{f"train__{composed}": 1})
    assert error_of(photos)[0] == f"{photos}/train has two folders named {composed}, in NFC and in NFD; rename one"


def test_each_split_of_a_large_set_is_read_a_batch_ahead(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = plant(train__a=3, train__b=2, valid__a=4, valid__b=3)
    asked: list[list[int]] = []
    monkeypatch.setattr(kept, "free_memory", lambda: 0)
    monkeypatch.setattr(kept, "_read_ahead", lambda memory, row_bytes, rows: asked.append(list(rows)))
    splits = read(photos)
    batches = iter(loader(splits.valid, 3))
    for wanted in ([[5, 6, 7], [8, 9, 10]], [[11]], []):
        next(batches)
        assert asked == wanted
        asked.clear()
    read(photos, normalize="stats")
    assert asked == [[0, 1, 2, 3, 4]]


def test_a_run_that_read_its_pictures_batch_by_batch_opens_and_goes_on(plant: Plant, cli: Cli) -> None:
    photos = plant(a=9, b=8)
    fit = ("fit", "linear", "--data", "image-folder", "--data-dir", str(photos), "-d", "size=4", "--batch-size", "4")
    assert cli(*fit, "--epochs", "2", "--run", "whole").code == 0
    assert cli(*fit, "--epochs", "1", "--run", "old").code == 0
    config = Path("runs/old/config.json")
    content = json.loads(config.read_text())
    del content["data"]["options"]["cache"]
    content["data"]["options"]["in_memory"] = False
    content["data"]["content"] |= {"train_checksum": None, "valid_checksum": None}
    config.write_text(json.dumps(content))
    assert cli("evaluate", "old", "--json").document["warnings"] == []
    assert cli("fit", "--config", "runs/old/config.json", "--run", "again").code == 0
    assert cli("fit", "--resume", "old", "--epochs", "2").code == 0
    assert Path("runs/old/model.safetensors").read_bytes() == Path("runs/whole/model.safetensors").read_bytes()


def test_a_name_that_the_system_cannot_look_for_is_no_missing_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 300)
    assert message(lambda: image_folder(data_dir=folder)) == f"cannot read the folder {folder}: File name too long"


def test_wrong_folders_end_with_exit_code_3(plant: Plant, cli: Any) -> None:
    photos = plant(a=1)
    result = cli("fit", "mnist-logistic", "--data", "image-folder", "--data-dir", str(photos))
    assert (result.code, result.out) == (3, "")
    assert result.err.splitlines()[-1] == f"error: {photos} has one class folder, a; wanted at least two"


def test_ctrl_c_while_pictures_are_decoded(forks: Forks, plant: Plant, tmp_path: Path) -> None:
    photos = plant(a=1, b=1)
    Image.new("RGB", (2000, 2000)).save(photos / "a/00.png")
    for at in range(2000):
        os.link(photos / "a/00.png", photos / f"{'ab'[at % 2]}/link{at}.png")
    process = forks.start(
        tmp_path, "fit", "mnist-logistic", "--data", "image-folder", "--data-dir", str(photos), "-d", "cache=kept"
    )
    deadline = time.monotonic() + 60
    while not process.err.read_text():  # a word on how far it has come
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = process.finish()
    assert code == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "error: interrupted before training began; nothing was saved yet"
    assert list((tmp_path / "kept").iterdir()) == []
