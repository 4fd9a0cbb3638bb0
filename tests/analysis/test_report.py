"""The report of a run: one page that needs no other file, with scikit-learn's figures and the images as they are."""

from __future__ import annotations

import base64
import io
import json
import math
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from tests.support.commands import Cli
from tests.support.runs import write_run
from tinyclsf.analysis.report import PageReport, write_report
from tinyclsf.data import Images
from tinyclsf.errors import ModelFileError, StorageError
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.loop.training_loss import not_finite
from tinyclsf.metrics import Epoch
from tinyclsf.recipes import mse
from tinyclsf.registry.plugins import own_version
from tinyclsf.runs.ending import write_state
from tinyclsf.runs.folder import read_predictions, write_config, write_predictions
from tinyclsf_plugins.datasets.digits import digits

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page as the text of its cells by table, of its remarks and commands, and all that its attributes say."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.marked: list[tuple[str, str]] = []  # cells of the confusion matrix
        self.feed(path.read_text())
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td" and dict(attrs).get("class") in ("hit", "miss"):
            self.marked.append((str(dict(attrs)["class"]), str(dict(attrs)["style"])))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data
        if self.open and self.open[-1] in ("td", "th") and self.tables:
            self.tables[-1][-1][-1] += data.strip()

    def said(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for text in self.texts.get(tag, [])]


@pytest.fixture
def run(cli: Cli) -> Path:
    options = ("-d", "train_size=640", "--epochs", "2", "--progress", "none")
    assert cli("fit", "mnist-logistic", *options, "--run", "first").code == 0
    return Path("runs", "first")


def test_the_page_says_what_scikit_learn_says(run: Path) -> None:
    written = write_report(run)
    assert written.path == run / "report.html"
    page = Page(written.path)
    _, (logits, labels) = read_predictions(run)
    predicted = logits.argmax(dim=1)
    low, high = (f"{bound * 100:.2f} %" for bound in json.loads((run / "state.json").read_text())["held_out"]["interval"])
    assert page.said("dd")[:2] == [f"{accuracy_score(labels, predicted) * 100:.2f} %", "360"]
    assert page.said("dt")[0] == f"test accuracy95 % interval {low} to {high}"
    assert page.said("dt")[3].startswith("balanced accuracy, the mean recall of the classes95 % interval ")
    assert page.said("dt")[4].startswith("macro F1, the mean F1 of the classes95 % interval ")
    assert page.said("dt")[5] == "top-5 accuracy"
    wanted = (
        balanced_accuracy_score(labels, predicted),
        f1_score(labels, predicted, average="macro"),
        top_k_accuracy_score(labels, logits, k=5),
    )
    assert page.said("dd")[3:6] == [f"{share * 100:.2f} %" for share in wanted]
    by_class, confusion, settings = page.tables
    precisions, recalls, f1s, _ = precision_recall_fscore_support(labels, predicted)
    counts = confusion_matrix(labels, predicted)
    assert [row[:4] for row in by_class[1:]] == [
        [str(digit), str(counts[digit].sum()), str(counts[digit, digit]), f"{recalls[digit] * 100:.1f} %"]
        for digit in range(10)
    ]
    assert [int(row[-3]) for row in by_class[1:]] == counts.sum(axis=0).tolist()
    assert [row[-2:] for row in by_class[1:]] == [
        [f"{precisions[digit] * 100:.1f} %", f"{f1s[digit] * 100:.1f} %"] for digit in range(10)
    ]
    assert [[0 if cell == "·" else int(cell) for cell in row[1:]] for row in confusion[1:]] == counts.tolist()
    shares = [[counts[row, column] / counts[row].sum() for column in range(10)] for row in range(10)]
    cells = [(row, column) for row in range(10) for column in range(10) if counts[row, column]]
    assert page.marked == [
        ("hit" if row == column else "miss", f"--share: {8 + 62 * shares[row][column]:.1f}%") for row, column in cells
    ]
    assert ["epochs", "2", "--epochs"] in settings
    assert ["data train-size", "640", "-d"] in settings
    versions = f"tinyclsf {own_version()}, torch {torch.__version__}, Python {platform.python_version()}"
    assert f"640 train, 360 valid, 360 test images of 1x28x28 in 10 classes; 7,850 parameters; {versions}" in page.said("p")
    assert page.said("pre")[0] == "tinyclsf fit mnist-logistic -d train_size=640 --epochs 2 --progress none --run first"


def test_the_worst_mistakes_are_shown_as_they_are(run: Path) -> None:
    page = Page(write_report(run, worst=3).path)
    _, (logits, labels) = read_predictions(run)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    losses[logits.argmax(dim=1) == labels] = -1
    test = digits(train_size=640).test
    assert isinstance(test, Images)
    urls = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert len(urls) == 3
    worst = losses.argsort(descending=True)[:3].tolist()
    sure = logits.softmax(dim=1).max(dim=1).values
    assert page.said("figcaption")[-3:] == [
        f"✗ {logits[index].argmax()}, {sure[index] * 100:.1f} % sureis {labels[index]}test image {index}" for index in worst
    ]
    for url, index in zip(urls, worst, strict=True):
        kind, content = url.split(",")
        assert kind == "data:image/png;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        assert np.array_equal(shown, test.x[index, 0].numpy())


def test_the_mistakes_of_a_model_given_in_python_are_shown_too(run: Path) -> None:
    shown = write_report(run)
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps({**card, "plugin": None}))
    again = write_report(run, run / "again.html")
    assert again.notes == shown.notes == []
    assert again.path.read_text() == shown.path.read_text()


def test_a_page_needs_nothing_from_elsewhere(run: Path) -> None:
    page = Page(write_report(run).path)
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster"):
            assert value.startswith(("data:image/png;base64,", "#"))
    text = (run / "report.html").read_text()
    assert "url(http" not in text
    assert "@import" not in text
    assert "<script" not in text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)


def test_where_the_data_is_gone_or_other_the_mistakes_have_no_pictures(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    write_config(run, {**config, "data": {**config["data"], "options": {"train_size": 641}}})
    changed = write_report(run)
    assert changed.notes == [
        f"The mistakes have no pictures, as the data is not what {run} was trained with: train was 640 and is 641; "
        f"{changed.notes[0].split('; ', 1)[1]}"
    ]
    write_config(run, {**config, "data": {**config["data"], "name": "gone"}})
    gone = write_report(run)
    sentence = "there is no dataset 'gone'; 'tinyclsf list datasets' shows all"
    assert gone.notes == [f"The mistakes have no pictures, as the run's data could not be read: {sentence}."]
    page = Page(gone.path)
    assert gone.notes[0] in page.said("p")
    assert not [tag for tag, _, _ in page.attributes if tag == "img"]


def test_a_run_that_was_never_scored_has_its_curves_and_why_it_ended(run: Path) -> None:
    for name in ("predictions.npz", "model.safetensors"):
        (run / name).unlink()
    error = str(not_finite("training loss of epoch 3, batch 7", math.nan, 4.0))
    write_state(run, "failed", error=error)
    written = write_report(run)
    page = Page(written.path)
    assert written.scored is None
    assert page.said("h2") == ["What stands out", "Training", "Settings"]
    assert error in page.said("p")
    assert page.said("h3") == ["the loss suggests that training diverged"]
    assert page.said("pre")[1:] == [f"tinyclsf fit --config {run}/config.json --lr 0.01"]
    assert len([tag for tag, name, _ in page.attributes if (tag, name) == ("svg", "role")]) == 3


def test_predictions_of_earlier_weights_have_no_figures(run: Path) -> None:
    (run / "state.json").unlink()  # as where the run goes on
    written = write_report(run)
    assert written.scored is None
    assert written.notes == ["The run is not done and its saved predictions are of earlier weights, so it has no figures."]
    assert Page(written.path).said("h2") == ["What stands out", "Training", "Settings"]


def by_hand(
    folder: Path, names: list[str], predictions: Predictions, history: Sequence[Epoch] = (), **config: Any
) -> PageReport:
    """The report of a run of which there is little more than its predictions."""
    return write_report(write_run(folder, config, history, classes=names, predictions=predictions, state="done"))


def test_many_classes_are_drawn_and_the_worst_come_first(tmp_path: Path) -> None:
    labels = torch.arange(24).repeat_interleave(4)
    guesses = labels.clone()
    for number in range(12):
        guesses[4 * number : 4 * number + 1 + number % 4] = 23
    names = [f"class {number}" for number in range(25)]  # the last one has no image
    written = by_hand(tmp_path / "run", names, Predictions(torch.eye(25)[guesses] * 9, labels))
    page = Page(written.path)
    worst, everyone, _ = page.tables
    assert [row[0] for row in worst[1:]] == [f"class {number}" for number in (3, 7, 11, 2, 6, 10, 1, 5, 9, 0)]
    assert [row[0] for row in everyone[1:]] == names
    assert written.scored is not None
    assert "No epoch is finished." in page.said("p")


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    names = ["<b>cat</b>", "d&g", "$x_1$", "\"'>"]
    predictions = Predictions(torch.eye(4)[[0, 0, 2, 3]], torch.arange(4))
    page = Page(by_hand(tmp_path / "a<i>b", names, predictions).path)
    assert [row[0] for row in page.tables[0][1:]] == names
    assert page.said("h1") == ["a<i>b"]


def test_what_stands_out_knows_all_of_the_run(tmp_path: Path) -> None:
    labels = torch.arange(1000) % 4
    logits = torch.eye(4)[torch.where(labels == 3, 0, labels)]
    logits[:, 3] = 0.5  # for every image
    history = [Epoch(1, 0.9, 0.9, 0.5, 1.0), Epoch(2, 0.8, 0.8, 0.9, 1.0), Epoch(3, 0.7, 0.85, 0.8, 1.0)]
    settings = {"loss": {"value": "mse", "source": "--loss"}, "seed": {"value": 5, "source": "--seed"}}
    written = by_hand(
        *(tmp_path / "run", ["ant", "bee", "cow", "dog"], Predictions(logits, labels), history),
        settings=settings,
        data={"name": "set", "content": {"valid": 1000}},
    )
    assert written.scored is not None
    assert written.scored.assessment.loss == mse(logits, labels).item()
    assert [(remark.what, remark.suggestion) for remark in written.remarks if "underconfident" not in remark.what] == [
        ("a class is never predicted", f"tinyclsf fit --config {tmp_path}/run/config.json --seed 6"),
        (
            "the figures suggest that the validation and test images are of different kinds",
            f"tinyclsf evaluate {tmp_path}/run --split valid",
        ),
    ]
    page = Page(written.path)
    assert page.said("pre") == [remark.suggestion for remark in written.remarks]
    assert (page.said("dt")[-1], page.said("dd")[-1]) == ("best epoch of 3, valid accuracy 90.00 %", "2")
    assert "top-5 accuracy" not in page.said("dt")


PICTURES = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits


def pictures():
    x = torch.arange(8 * 97 * 97).remainder(17).div(16).view(8, 1, 97, 97).contiguous()
    part = Images(x, torch.tensor([0, 1] * 4), [f"photos/{row % 2}/{row}.png" for row in range(8)])
    return Splits(part, part, None, ("cat", "dog"), (1, 97, 97), Preprocess(0.0, 1.0), white=1.0)
"""


def test_large_pictures_are_smooth_and_known_by_their_files(install: Callable[..., None], cli: Cli) -> None:
    install("pics", PICTURES, module="pics", datasets={"pictures": "pics:pictures"})
    assert cli("fit", "linear", "--data", "pictures", "--epochs", "1", "--run", "first").code == 0
    folder = Path("runs", "first")
    logits = torch.eye(2)[[0, 1, 0, 1, 0, 1, 0, 0]]  # the last one is wrong
    write_predictions(folder, "valid", Predictions(logits, torch.tensor([0, 1] * 4)))
    page = Page(write_report(folder).path)
    attributes = {name: value for tag, name, value in page.attributes if tag == "img"}
    assert attributes["class"] == "smooth"
    assert ("span", "title", "photos/1/7.png") in page.attributes
    assert page.said("figcaption")[-1] == "✗ cat, 73.1 % sureis dog1/7.png"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))))
    stored = np.arange(7 * 97 * 97, 8 * 97 * 97).reshape(97, 97) % 17 / 16
    assert np.array_equal(shown, np.round(stored * 255))


FLEETING = """
import torch
from torch.utils.data import Dataset, IterableDataset
from tinyclsf.plugin import Images, Preprocess, Splits

IMAGES = Images(torch.arange(8 * 16, dtype=torch.uint8).view(8, 1, 4, 4), torch.tensor([0, 1] * 4))

class Stream(IterableDataset):
    def __iter__(self):
        return iter([IMAGES[row] for row in range(8)])

class Once(Dataset):
    read = 0
    def __len__(self):
        return 8
    def __getitem__(self, row):
        Once.read += 1
        if Once.read > 20:
            raise OSError("the disk is gone")
        return IMAGES[row]

def stream():
    return Splits(IMAGES, IMAGES, Stream(), ("cat", "dog"), (1, 4, 4), Preprocess())

def once():
    return Splits(IMAGES, IMAGES, Once(), ("cat", "dog"), (1, 4, 4), Preprocess())
"""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("stream", "the images come as a stream, which gives none a second time"),
        (
            "once",
            "the run's data could not be read: dataset 'once' of package fleeting (fleeting:once) failed to give an "
            "image: OSError: the disk is gone",
        ),
    ],
)
def test_mistakes_whose_images_are_gone_have_no_pictures(install: Callable[..., None], cli: Cli, data: str, why: str) -> None:
    install("fleeting", FLEETING, module="fleeting", datasets={name: f"fleeting:{name}" for name in ("stream", "once")})
    assert cli("fit", "linear", "--data", data, "--epochs", "1", "--run", "first").code == 0
    wrong = torch.eye(2)[[1, 0] * 4]
    write_predictions(Path("runs/first"), "test", Predictions(wrong, torch.tensor([0, 1] * 4)))
    sys.modules["fleeting"].Once.read = 19
    assert write_report("runs/first").notes == [f"The mistakes have no pictures, as {why}."]


def test_a_page_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give a name in a folder that can be written to"):
        write_report(tmp_path, tmp_path / "gone" / "page.html")


def test_a_perfect_run_says_so(tmp_path: Path) -> None:
    predictions = Predictions(torch.eye(3) * 5, torch.arange(3))
    page = Page(by_hand(tmp_path / "run", ["a", "b", "c"], predictions).path)
    assert "None: all 3 images are right." in page.said("p")


def test_what_is_broken_is_named(run: Path, tmp_path: Path) -> None:
    (run / "predictions.npz").write_bytes(b"PK")
    with pytest.raises(ModelFileError, match=r"predictions\.npz is broken"):
        write_report(run)
    assert not (run / "report.html").exists()
    shutil.rmtree(run)
    with pytest.raises(ModelFileError, match=r"cannot read config file runs/first/config\.json"):
        write_report(run, Path("page.html"))
