"""`tinyclsf evaluate`: the figures of a run against scikit-learn, its files, and data without mistakes, images or length."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from tinyclsf.analysis.by_class import by_class
from tinyclsf.cli.app import main
from tinyclsf.data import Images
from tinyclsf.metrics import wilson_interval
from tinyclsf.runs.folder import occupied
from tinyclsf.runs.models import load_model
from tinyclsf.runs.trained_run import load_run, load_splits

FILES = ["confusion.png", "errors.csv", "mistakes.png"]
# What the model takes the images for, blank images of every class, a stream, and a part that cannot be read.
DATA = """
import dataclasses
import torch
from torch.utils.data import Dataset, IterableDataset
from tinyclsf import load_model
from tinyclsf.plugin import Images, Preprocess, Splits
from tinyclsf_plugins.datasets.digits import digits

class Torn(Dataset):
    def __len__(self):
        return 9
    def __getitem__(self, row):
        if row > 0:
            raise OSError("the disk is gone")
        return torch.zeros(1, 28, 28, dtype=torch.uint8), 0

def torn():
    return made(lambda test: Torn())

class Fleeting(Dataset):
    def __init__(self):
        self.given = set()
    def __len__(self):
        return 9
    def __getitem__(self, row):
        if row and row in self.given:
            raise OSError("the disk is gone")
        self.given.add(row)
        return torch.zeros(1, 28, 28, dtype=torch.uint8), row

def fleeting():
    return made(lambda test: Fleeting())

def made(test):
    found = digits(train_size=640)
    return dataclasses.replace(found, test=test(found.test))

class Stream(IterableDataset):
    def __init__(self, images):
        self.images = images
    def __iter__(self):
        return (self.images[row] for row in range(len(self.images)))

class Broken(Dataset):
    def __len__(self):
        return 3
    def __getitem__(self, row):
        assert row == 0, "the model predicts already"
        return torch.zeros(1, 28, 28, dtype=torch.uint8), 0

def agreed():
    return made(lambda test: Images(test.x, load_model("runs/first")(test.x).argmax(1)))

def blank():
    return made(lambda test: Images(torch.zeros_like(test.x[:9]), torch.arange(9)))

def stream():
    return made(Stream)

def broken():
    return made(lambda test: Broken())

def few():
    names = [f"{letter} is the first letter of a name" for letter in "abcd"]
    images = Images(torch.ones(20, 1, 4, 4), torch.arange(20) % 4, [f"{row}.png" for row in range(20)])
    return Splits(images, images, None, tuple(names), (1, 4, 4), Preprocess(std=1.0), 4.0)

def others():
    return few()

def many():
    names = ["long " * 8, "new\\nline", *(f"class {number}" for number in range(2, 30))]
    images = Images(torch.zeros(60, 1, 4, 4), torch.arange(60) % 29)
    return Splits(images, images, None, tuple(names), (1, 4, 4), Preprocess(std=1.0), 1.0)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is fitted once."""
    runs = tmp_path_factory.mktemp("trained")
    small = ("-d", "train_size=640", "--epochs", "1", "--progress", "none")
    assert main(["fit", "mnist-logistic", *small, "--runs", str(runs), "--run", "first"]) == 0
    return runs / "first"


@pytest.fixture
def run(trained: Path, cli: Any) -> Path:
    """A copy of that run, in the folder where commands run."""
    return Path(shutil.copytree(trained, "runs/first"))


@pytest.fixture
def theirs(install: Callable[..., None]) -> None:
    found = ("agreed", "blank", "stream", "broken", "torn", "fleeting", "few", "others", "many")
    install("theirs", DATA, module="theirs", datasets={name: f"theirs:{name}" for name in found})


def saved(run: Path) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """The labels, the logits and the predicted classes that the run wrote when it was done."""
    with np.load(run / "predictions.npz") as found:
        return found["labels"], found["logits"], found["logits"].argmax(axis=1)


def cells(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """True class, predicted class and number of images, where there are any."""
    counts = confusion_matrix(y, predicted, labels=range(10))
    return [(true, guess, int(counts[true, guess])) for true, guess in np.argwhere(counts).tolist()]


def percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def test_the_text_says_how_good_each_class_is(cli: Any, run: Path) -> None:
    y, out, predicted = saved(run)
    result = cli("evaluate", "first")
    assert (result.code, result.err) == (0, "")
    blocks = [block.splitlines() for block in result.out.split("\n\n")]
    held_out = json.loads((run / "state.json").read_text())["held_out"]
    low, high = map(percent, held_out["interval"])
    assert blocks[0][:3] == [
        f"test        accuracy {percent(accuracy_score(y, predicted))} (95 % interval {low} to {high}, 360 images)",
        f"top-5       accuracy {percent(top_k_accuracy_score(y, out, k=5))}: the true class is among the five most likely",
        f"loss        {held_out['loss']:.4f}",
    ]
    found = by_class(cells(y, predicted), "0123456789")
    assert found.macro_f1_interval is not None
    balanced, macro = (" to ".join(map(percent, each)) for each in (found.balanced_accuracy_interval, found.macro_f1_interval))
    assert blocks[0][3:5] == [
        f"balanced    accuracy {percent(balanced_accuracy_score(y, predicted))} (95 % interval {balanced}): "
        "the mean recall of the classes",
        f"macro F1    {percent(f1_score(y, predicted, average='macro'))} (95 % interval {macro}): the mean F1 of the classes",
    ]
    assert blocks[0][5].startswith("confidence  ")
    precision, recall, f1, images = precision_recall_fscore_support(y, predicted, labels=range(10), zero_division=np.nan)
    matrix = confusion_matrix(y, predicted, labels=range(10))
    assert blocks[1][0].split() == [*("class", "images", "recall", "95", "%", "interval", "predicted", "precision", "F1")]
    for number, line in enumerate(blocks[1][1:]):
        low, high = map(percent, wilson_interval(int(matrix[number, number]), int(images[number])))
        taken = matrix[:, number].sum()
        shares = f"{percent(precision[number]) if taken else '-'} {percent(f1[number])}"
        assert " ".join(line.split()) == f"{number} {images[number]} {percent(recall[number])} {low} to {high} {taken} {shares}"
    wrong = matrix * (1 - np.eye(10, dtype=int))
    header, *pairs = blocks[2]
    assert header == "  true -> predicted  times"
    assert [int(line.split()[-1]) for line in pairs] == sorted(wrong.ravel().tolist(), reverse=True)[:5]
    for true, arrow, guess, times in (line.split() for line in pairs):
        assert (arrow, wrong[int(true), int(guess)]) == ("->", int(times))
    assert blocks[3][0] == "true class by row, predicted class by column"
    rows = [[str(number), *(str(count or ".") for count in row)] for number, row in enumerate(matrix.tolist())]
    assert [line.split() for line in blocks[3][2:]] == rows
    folder = "runs/first/evaluation-test"
    assert blocks[-1] == [
        f"errors     {folder}/errors.csv",
        f"mistakes   {folder}/mistakes.png",
        f"confusion  {folder}/confusion.png",
    ]
    assert max(map(len, result.out.splitlines())) <= 100


def test_the_document_has_everything_and_agrees_with_fit(cli: Any, run: Path) -> None:
    y, out, predicted = saved(run)
    result = cli("evaluate", "first", "--json", "--worst", "1")
    assert (result.code, result.err) == (0, "")
    found = result.document
    held_out = json.loads((run / "state.json").read_text())["held_out"]
    assert {key: found[key] for key in held_out} == held_out
    assert list(found) == [
        *(
            "version",
            "command",
            "run",
            "data",
            "split",
            "tta",
            "images",
            "loss",
            "accuracy",
            "interval",
            "top5",
            "balanced_accuracy",
            "balanced_accuracy_interval",
            "macro_f1",
            "macro_f1_interval",
            "classes",
            "confusion",
        ),
        *("calibration_error", "reliability", "mistakes", "notes", "files", "warnings"),
    ]
    assert (found["command"], found["run"], found["data"], found["warnings"]) == ("evaluate", "runs/first", "digits", [])
    counts = [{"true": str(true), "predicted": str(guess), "images": images} for true, guess, images in cells(y, predicted)]
    assert found["confusion"] == counts
    assert list(found["classes"][3]) == ["name", "images", "predicted", "correct", "precision", "recall", "interval", "f1"]
    assert list(found["reliability"][0]) == ["low", "high", "images", "confidence", "accuracy"]
    shares = np.exp(out.astype(float)) / np.exp(out.astype(float)).sum(axis=1, keepdims=True)
    wrong = np.flatnonzero(y != predicted)
    worst_first = wrong[np.argsort(shares[wrong, y[wrong]], kind="stable")]
    assert [each["index"] for each in found["mistakes"]] == worst_first.tolist()
    worst = worst_first[0]
    first = dict(found["mistakes"][0])
    assert first.pop("confidence") == pytest.approx(shares[worst].max())
    assert first.pop("loss") == pytest.approx(-np.log(shares[worst, y[worst]]))
    assert first == {"index": worst, "path": None, "true": str(y[worst]), "predicted": str(predicted[worst])}
    with Path(found["files"]["errors"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(index) for index in worst_first]
    assert list(rows[0]) == ["image", "true", "predicted", "confidence", "loss"]


def test_the_picture_has_as_many_of_the_worst_as_asked_for(cli: Any, run: Path) -> None:
    sizes = []
    for worst in ("1", "4"):
        assert cli("evaluate", "first", "--worst", worst, "--out", worst).code == 0
        assert sorted(path.name for path in Path(worst).iterdir()) == FILES
        with Image.open(Path(worst, "mistakes.png")) as picture:
            sizes.append(picture.size)
    one, four = sizes
    assert four[0] > 1.7 * one[0]
    assert four[1] > 1.7 * one[1]
    assert not (run / "evaluation-test").exists()


def test_other_data_has_a_folder_of_its_own(cli: Any, run: Path) -> None:
    assert cli("evaluate", "first", "--split", "valid").code == 0
    result = cli("evaluate", "first", "-d", "train_size=8", "--split", "all", "--json")
    assert (result.document["split"], result.document["images"]) == ("all", 8 + 360 + 360)
    assert sorted(path.name for path in run.glob("evaluation*")) == ["evaluation-digits-all", "evaluation-valid"]


def test_figures_with_test_time_augmentation_say_so_and_are_kept_apart(cli: Any, run: Path) -> None:
    plain = cli("evaluate", "first", "--json").document
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = cli("evaluate", "first", "--tta", "flip")
    assert (result.code, result.err) == (0, "")
    *figures, files = result.out.split("\n\n")
    assert [block.splitlines()[0] for block in figures] == ["with --tta flip"] * 5
    assert {path: path.read_bytes() for path in before} == before
    folder = run / "evaluation-test-tta-flip"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert files.split()[1::2] == [f"{folder}/{name}" for name in ("errors.csv", "mistakes.png", "confusion.png")]
    found = cli("evaluate", "first", "--tta", "flip", "--json").document
    assert (plain["tta"], found["tta"]) == ("none", "flip")
    splits = load_splits(load_run(run))
    assert isinstance(splits.test, Images)
    model = load_model(run)
    shares = sum(model(x).softmax(1) for x in (splits.test.x, splits.test.x.flip(-1))) / 2
    assert found["accuracy"] == accuracy_score(splits.test.y, shares.argmax(1))
    assert found["accuracy"] != plain["accuracy"]
    assert found["loss"] == pytest.approx(torch.nn.functional.nll_loss(shares.log(), splits.test.y).item(), rel=1e-5)
    with (folder / "errors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "true", "predicted", "confidence", "loss", "tta"]
    assert {row["tta"] for row in rows} == {"flip"}
    assert cli("evaluate", "first", "--worst", "1").code == cli("evaluate", "first", "--worst", "1", "--tta", "flip").code == 0
    for name in ("mistakes.png", "confusion.png"):  # the title's height more
        with Image.open(folder / name) as titled, Image.open(run / "evaluation-test" / name) as untitled:
            assert titled.height == untitled.height + 45


@pytest.mark.usefixtures("run", "theirs")
def test_where_nothing_is_wrong_the_table_is_empty_and_an_old_picture_goes(cli: Any) -> None:
    folder = Path("runs/first/evaluation-agreed-test")
    folder.mkdir()
    (folder / "mistakes.png").write_text("old")
    result = cli("evaluate", "first", "--data", "agreed")
    assert (result.code, result.err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["confusion.png", "errors.csv"]
    assert (folder / "errors.csv").read_text() == "image,true,predicted,confidence,loss\n"
    assert "\nthere are no mistakes: errors.csv has its header alone, and there is no mistakes.png\n\n" in result.out
    assert result.out.splitlines()[-2:] == [f"errors     {folder}/errors.csv", f"confusion  {folder}/confusion.png"]
    assert "true -> predicted" not in result.out


@pytest.mark.usefixtures("run", "theirs")
def test_classes_that_are_never_predicted_or_have_no_image_are_said(cli: Any) -> None:
    out = cli("evaluate", "first", "--data", "blank").out
    document = cli("evaluate", "first", "--data", "blank", "--json").document
    taken = [each["name"] for each in document["classes"] if each["predicted"]]
    assert len(taken) == 1  # all images are the same
    *first, last = [f"{number} (1 image)" for number in range(9) if str(number) not in taken]
    assert f"the model never predicted {', '.join(first)} and {last} there is no image of 9 errors" in " ".join(out.split())
    assert next(line for line in out.splitlines() if line.split()[:2] == ["9", "0"]).split()[:4] == ["9", "0", "-", "-"]
    assert document["classes"][9]["recall"] is None


@pytest.mark.usefixtures("run", "theirs")
@pytest.mark.parametrize(
    ("words", "name", "what"),
    [
        (("evaluate", "first", "--data", "torn"), "torn", "a batch"),
        (("evaluate", "first", "--data", "fleeting"), "fleeting", "an image"),  # to draw it, after its batch
        (("show", "torn", "--split", "test"), "torn", "an image"),
    ],
)
def test_an_image_that_cannot_be_had_is_the_plugins_fault(cli: Any, words: tuple[str, ...], name: str, what: str) -> None:
    result = cli(*words)
    expected = f"error: dataset '{name}' of package theirs (theirs:{name}) failed to give {what}: OSError: the disk is gone"
    *_, error, tip = result.err.splitlines()
    assert (result.code, error) == (5, expected)
    assert re.fullmatch(r"tip: look at \S+/theirs/theirs\.py, line \d+; --debug shows the traceback", tip)


@pytest.mark.usefixtures("run", "theirs")
def test_a_stream_has_figures_and_no_picture(cli: Any) -> None:
    result = cli("evaluate", "first", "--data", "stream", "--json")
    assert (result.code, result.err) == (0, "")
    known = cli("evaluate", "first", "--json").document
    assert result.document == {
        **known,
        "data": "stream",
        "files": {
            "errors": "runs/first/evaluation-stream-test/errors.csv",
            "mistakes": None,
            "confusion": "runs/first/evaluation-stream-test/confusion.png",
        },
    }
    out = cli("evaluate", "first", "--data", "stream").out
    assert "there is no mistakes.png: the images come as a stream, which gives none of them a second time\n" in out


@pytest.mark.usefixtures("run", "theirs")
def test_a_folder_that_cannot_be_written_is_found_before_predicting(cli: Any) -> None:
    Path("taken").write_text("")
    result = cli("evaluate", "first", "--data", "broken", "--out", "taken/here")
    assert (result.code, result.out) == (7, "")
    assert result.err == "error: cannot make taken/here: Not a directory; choose another --out\n"


@pytest.mark.usefixtures("theirs")
def test_images_that_are_files_go_by_their_names(cli: Any) -> None:
    assert cli("fit", "mnist-logistic", "--data", "few", "--loss", "mse", "--epochs", "1", "--run", "few").code == 0
    result = cli("evaluate", "few", "--worst", "1")
    assert result.code == 0
    found = cli("evaluate", "few", "--json", "--worst", "1").document
    assert found["loss"] == json.loads(Path("runs/few/state.json").read_text())["held_out"]["loss"]
    assert (found["top5"], "top-5" in result.out) == (None, False)
    assert [each["path"] for each in found["mistakes"]] == [f"{each['index']}.png" for each in found["mistakes"]]
    with Path(found["files"]["errors"]).open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == [each["path"] for each in found["mistakes"]]
    with Image.open(found["files"]["mistakes"]) as picture:
        grey = picture.convert("L").getpixel((picture.width // 2, picture.height - 120))
    assert grey == 64  # stored as 1, and white is 4
    assert max(len(line) for line in result.out.splitlines() if line.startswith("  ")) <= 100


NOTE = "there is no test split: the images that chose the best epoch also score it, so the accuracy may be too high"


@pytest.mark.usefixtures("theirs")
def test_images_that_also_chose_the_best_epoch_are_said_to_flatter(cli: Any) -> None:
    fit = ("fit", "mnist-logistic", "--data", "few", "--epochs", "1", "--run", "few", "--progress", "none")
    lines = cli(*fit).out.splitlines()
    assert lines[1].startswith("valid  accuracy ")
    assert NOTE in " ".join(" ".join(lines[2:]).replace("note ", "").split())
    found = cli("evaluate", "few")
    assert NOTE in " ".join(found.out.split())
    assert max(map(len, found.out.splitlines())) <= 100
    assert cli("evaluate", "few", "--json").document["notes"][1:] == [NOTE]
    for args in (("--split", "train"), ("--data", "others")):
        assert NOTE not in cli("evaluate", "few", *args, "--json").document["notes"]
    assert cli("report", "few", "--json").document["remarks"][-1]["what"] == NOTE
    script = cli("script", "few", "--out", "train.py")
    assert script.code == 0
    assert f"    # {NOTE.capitalize()}.\n" in Path("train.py").read_text()


@pytest.mark.usefixtures("theirs")
def test_of_many_classes_the_text_has_the_worst(cli: Any) -> None:
    assert cli("fit", "mnist-logistic", "--data", "many", "--epochs", "1", "--run", "many").code == 0
    result = cli("evaluate", "many")
    assert result.code == 0
    blocks = [block.splitlines() for block in result.out.split("\n\n")]
    assert blocks[0][0].startswith("valid       accuracy ")
    assert blocks[1][0] == "the 10 worst of 30 classes; --json has all"
    assert [line.split("  ")[1] for line in blocks[1][2:5]] == ["long long long long lon…", "new\\nline", "class 2"]
    assert len(blocks[1]) == 12
    never = next(block for block in blocks if block[0].startswith("the model never predicted "))
    assert " ".join(" ".join(never).split()).endswith(" and 18 more there is no image of class 29")
    assert max(map(len, result.out.split("\n\nerrors")[0].splitlines())) <= 100
    assert "by column" not in result.out
    assert len(cli("evaluate", "many", "--json").document["classes"]) == 30


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--worst", "0"), "invalid value for '--worst': 0 is not in the range 1<=x<=100"),
        (("--split", "tst"), "invalid value for '--split': 'tst' is not one of 'train', 'valid', 'test', 'all'"),
        (("--device", "tpu", "--data", "not-read"), "'tpu' is not a device; use auto, cpu, cuda, cuda:0 or mps"),
    ],
)
@pytest.mark.usefixtures("run")
def test_what_cannot_be_is_an_error(cli: Any, args: tuple[str, ...], message: str) -> None:
    result = cli("evaluate", "first", *args)
    assert (result.code, result.out, result.err) == (2, "", f"error: {message}\n")


@pytest.mark.parametrize("option", ["--out", "--data-dir", "--runs"])
@pytest.mark.usefixtures("run")
def test_an_empty_path_is_not_the_present_folder(cli: Any, option: str) -> None:
    result = cli("evaluate", "first", option, "")
    message = f"invalid value for '{option}': it is empty; give a path"
    assert (result.code, result.out, result.err) == (2, "", f"error: {message}\n")


def test_a_run_that_is_being_trained_is_told(cli: Any, run: Path) -> None:
    warning = "runs/first is still being trained; these are its best weights so far"
    picture = run / "a.png"
    Image.new("L", (28, 28)).save(picture)
    commands = ("evaluate", "first"), ("export", "first", "--to", "safetensors"), ("predict", "first", str(picture))
    with occupied(run):
        for command in commands:
            assert cli(*command).err == f"warning: {warning}\n"
        assert cli("evaluate", "first", "--json").document["warnings"] == [warning]
