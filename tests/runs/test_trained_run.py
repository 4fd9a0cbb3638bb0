"""A run opened again: its model and data as they were, other data for it, and what does not suit it."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset

from tests.support.commands import Cli
from tests.support.messages import message
from tests.support.streams import Stream
from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError, TrainingError
from tinyclsf.modules import Preprocess
from tinyclsf.runs.folder import read_predictions
from tinyclsf.runs.models import load_model
from tinyclsf.runs.trained_run import choose_split, load_run, load_splits, paths_of, predictions_for


@pytest.fixture
def run(cli: Cli) -> Path:
    """A run on a folder of pictures, in the current folder."""
    for part, number in (("train", 8), ("test", 3)):
        for kind, colour in (("cat", 40), ("dog", 200)):
            folder = Path("photos", part, kind)
            folder.mkdir(parents=True)
            for at in range(number):
                Image.new("L", (20 + at + number, 20), colour + at).save(folder / f"{at}.png")
    options = ["--data-dir", "photos", "-d", "size=8", "-d", "channels=1"]
    assert cli("fit", "mnist-logistic", "--data", "image-folder", *options, "--epochs", "2", "--run", "first").code == 0
    return Path("runs", "first")


def test_a_run_opens_with_what_it_was_trained_with(run: Path) -> None:
    found = load_run(run)
    assert [row.epoch for row in found.history] == [1, 2]
    assert (found.setting("batch_size"), found.setting("clip_norm", 3), found.setting("nothing", 3)) == (64, None, 3)
    splits = load_splits(found)
    name, part = choose_split(splits, None)
    paths = [str(Path.cwd() / f"photos/test/{kind}/{number}.png") for kind in ("cat", "dog") for number in range(3)]
    assert (name, paths_of(part)) == ("test", paths)
    saved_name, saved = read_predictions(run)
    predictions = predictions_for(found, part)
    assert saved_name == name
    assert torch.equal(predictions.logits, saved.logits)
    assert torch.equal(predictions.labels, saved.labels)
    assert found.loss_func(predictions.logits, predictions.labels).item() == pytest.approx(
        json.loads((run / "state.json").read_text())["held_out"]["loss"], rel=1e-7
    )


def test_the_splits_of_data(run: Path) -> None:
    splits = load_splits(load_run(run))
    assert choose_split(splits, "valid") == ("valid", splits.valid)
    name, whole = choose_split(splits, "all")
    assert isinstance(whole, ConcatDataset)
    assert (name, len(whole), len(paths_of(whole) or [])) == ("all", 22, 22)
    digit = Images(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))
    plain = Splits(digit, digit, None, ("cat", "dog"), (1, 8, 8), Preprocess())
    assert choose_split(plain, None) == ("valid", digit)
    assert paths_of(ConcatDataset([splits.train, digit])) is None
    with pytest.raises(ConfigurationError, match="a split of the data is a stream, which cannot be joined with others"):
        choose_split(replace(plain, train=Stream([])), "all")
    for name, expected in (
        ("test", "the data has no test split; choose --split valid"),
        ("tset", "there is no split 'tset'; choose one of train, valid, test, all"),
    ):
        with pytest.raises(ConfigurationError) as error:
            choose_split(plain, name)
        assert str(error.value) == expected


def test_data_that_changed_is_said(run: Path) -> None:
    Path("photos/test/cat/0.png").unlink()
    with pytest.warns(DataWarning) as found:
        load_splits(load_run(run))
    changed = "the data is not what runs/first was trained with: test was 6 and is 5; test checksum was "
    assert str(found[0].message).startswith(changed)


def test_another_split_of_the_same_images_is_said(run: Path) -> None:
    with pytest.warns(DataWarning) as warned:
        load_splits(load_run(run), options={"valid_ratio": 0.5, "seed": 1, "split": "auto"})
    assert [str(each.message) for each in warned] == [
        "valid_ratio and seed split the data in another way than runs/first did, so images that it was trained on may be among "
        "those that score it"
    ]


def test_other_data_has_to_suit_the_model(run: Path) -> None:
    found = load_run(run)
    for kind in ("dog", "cat"):
        Path("others", kind).mkdir(parents=True)
        for at in range(5):
            Image.new("RGB", (30, 30), (40 * at, 200 * (kind == "dog"), 5)).save(f"others/{kind}/{at}.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # other data is not compared with the run's own
        splits = load_splits(found, data_dir=Path("others"))
        load_splits(found, options={"fraction": "0.5"})
        found = replace(found, config=replace(found.config, content=None))
        load_splits(found)  # nor is data that the run says nothing of
    assert (splits.image_shape, splits.test) == ((1, 8, 8), None)  # with the run's options
    assert message(lambda: load_splits(found, data_dir=Path("others"), options={"size": "9"})) == (
        "data set image-folder has images of 1x9x9 and the model takes 1x8x8; give -d options that make it so"
    )
    assert message(lambda: load_splits(found, data="digits", options={"train_size": "10"})) == (
        "data set digits does not have the model's 2 classes: it lacks cat, dog and has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "
        "which the model does not know"
    )
    assert message(lambda: load_splits(found, data="digit"), ConfigurationError).startswith("there is no dataset 'digit';")
    found.model.white = 1.0
    stored = "data set image-folder stores white as 255 and the model takes 1; scale its images to that"
    assert message(lambda: load_splits(found)) == stored
    found.model.classes = ("dog", "cat")
    assert message(lambda: load_splits(found)) == (
        "data set image-folder does not have the model's 2 classes: it has them in another order"
    )


def test_other_data_is_made_square_as_in_training(run: Path) -> None:
    found = load_run(run)
    found.model.fit = "pad"
    Path("rows.csv").write_text(
        "path,label\n" + "".join(f"photos/train/{kind}/{at}.png,{kind}\n" for kind in ("cat", "dog") for at in range(8))
    )
    options = {"table": "rows.csv", "size": 8, "channels": 1}
    padded, cropped = (load_splits(found, data="image-table", options={**options, **more}) for more in ({}, {"fit": "crop"}))
    assert (padded.fit, cropped.fit) == ("pad", "crop")


def test_too_little_memory_is_said(run: Path) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    found = load_run(run)
    found.model.register_forward_pre_hook(fail)
    with pytest.raises(TrainingError) as error:
        predictions_for(found, load_splits(found).valid)
    assert str(error.value).startswith("out of memory in predicting, with batches of 128;")


def test_a_run_that_does_not_say_its_data(run: Path) -> None:
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": None}))
    found = load_run(run)
    expected = "runs/first/config.json does not say what data the run had; wanted data with name and options"
    assert message(lambda: load_splits(found), ModelFileError) == expected


def test_a_run_that_is_called_by_its_name_has_a_folder(run: Path) -> None:
    for load in (load_run, load_model):
        with pytest.raises(ModelFileError) as error:
            load("first")
        assert error.value.tip == "did you mean 'runs/first'?"
        with pytest.raises(ModelFileError) as error:
            load("second")
        assert error.value.tip is None


def test_a_run_without_weights(run: Path) -> None:
    (run / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"cannot read runs/first/model\.safetensors: No such file or directory"):
        load_run(run)
