"""`tinyclsf.train`: what `tinyclsf fit` does, as a call, and with what only Python can hand over."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

import tinyclsf
from tests.support.commands import Install
from tests.support.notebooks import charts, rows_of_table, said as words_of
from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError, ModelFileError
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.experiments.request import make_request
from tinyclsf.metrics import Epoch, percent, wilson_interval
from tinyclsf.modules import Preprocess
from tinyclsf.progress.display import epoch_line
from tinyclsf.recipes import CrossEntropy
from tinyclsf.registry.choices import VALUES
from tinyclsf.runs.models import read_weights, save_weights
from tinyclsf.runs.trained_run import load_run, load_splits
from tinyclsf.trainer import Callback, Trainer

SMALL: Any = {"data_options": {"train_size": 320}, "epochs": 2, "progress": False}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINYCLSF_RUNS", raising=False)


def weights(folder: str | Path) -> dict[str, Tensor]:
    return read_weights(Path(folder) / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def small_splits() -> Splits:
    x = torch.randint(256, (60, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = (x.float().mean((1, 2, 3)) > 127).long()
    train, valid, test = (Images(x[part], y[part]) for part in (slice(0, 40), slice(40, 50), slice(50, 60)))
    return Splits(train, valid, test, ("dark", "light"), (1, 6, 6), Preprocess())


def one_layer(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))


def test_a_call_ends_where_the_command_ends(cli: Any) -> None:
    run = tinyclsf.train("mnist-logistic", data="digits", lr=0.05, seed=3, run="called", **SMALL)
    words = ("fit", "mnist-logistic", "-d", "train_size=320", "--epochs", "2", "--lr", "0.05", "--seed", "3")
    said = cli(*words, "--run", "said", "--json").document
    assert same(weights("runs/called"), weights("runs/said"))
    assert [row._replace(seconds=0) for row in run.history] == [Epoch(**{**row, "seconds": 0}) for row in said["history"]]
    assert json.loads(json.dumps(run.held_out._asdict())) == said["held_out"]
    assert run.held_out.interval == wilson_interval(round(run.held_out.accuracy * 360), 360)
    assert run.predictions.logits.shape == (360, 10)
    assert run.folder == Path("runs/called")
    assert {path.name for path in run.folder.iterdir()} == {path.name for path in Path("runs/said").iterdir()}
    called, told = (json.loads(Path(f"runs/{name}/config.json").read_text()) for name in ("called", "said"))
    for config in (called, told):
        del config["created"], config["settings"]["run"]
    assert (
        called.pop("commands")
        == ["tinyclsf.train('mnist-logistic', data_options={'train_size': 320}, epochs=2, data='digits', lr=0.05, seed=3)"]
        or called.get("commands") is None
    )
    del told["commands"]
    assert called["settings"].pop("lr") == {"value": 0.05, "source": "Python"}
    assert told["settings"].pop("lr") == {"value": 0.05, "source": "--lr"}
    for config in (called, told):
        del config["settings"]["epochs"], config["settings"]["seed"]
    assert called == told
    assert repr(run) == (
        f"<TrainedRun runs/called: mnist-logistic on digits, done after epoch 2, test accuracy "
        f"{100 * run.held_out.accuracy:.2f} % ({100 * run.held_out.interval[0]:.2f} to {100 * run.held_out.interval[1]:.2f})>"
    )
    accuracy = percent(run.held_out.accuracy)
    assert words_of(run).startswith(f"run called mnist-logistic on digits, done after epoch 2 test accuracy {accuracy}")
    assert "tinyclsf.assess(run.predictions, run.model.classes)" in words_of(run)
    assert charts(run) == 1


def test_the_call_is_written_down_with_all_that_the_experiment_has(tmp_path: Path) -> None:
    options: Any = {"data_options": {"train_size": 320}, "callbacks": ["csv"]}
    experiment = Experiment.of("linear", data="digits", epochs=1, lr=0.5, **options)
    call = "tinyclsf.train('linear', data='digits', data_options={'train_size': 320}, callbacks=['csv'], epochs=1, lr=0.5"
    runs = [tinyclsf.train(experiment), tinyclsf.train(experiment, seed=4)]
    assert [run.config.commands for run in runs] == [(f"{call})",), (f"{call}, seed=4)",)]
    again = eval(call + ")", {"tinyclsf": tinyclsf})
    assert same(weights(runs[0].folder), weights(again.folder))
    longer = tinyclsf.train(resume=again.folder, epochs=2)
    assert longer.config.commands == (f"{call})", f"tinyclsf.train(resume='{again.folder}', epochs=2)")
    given = tinyclsf.train(one_layer, data=small_splits(), epochs=1, callbacks=[Callback(), "csv"])
    assert given.config.commands == ("tinyclsf.train('one_layer', callbacks=['csv'], epochs=1)",)


def test_options_of_a_callback_stay_where_its_name_has_a_dot(install: Install) -> None:
    code = "from tinyclsf.plugin import Callback\nclass Every(Callback):\n    def __init__(self, folder, name, *, n=1): pass"
    install("dotted", code, module="dotted", callbacks={"my.every": "dotted:Every"})
    experiment = Experiment.of("linear", callbacks=["my.every"], callback_options={"my.every.n": 5})
    for changed in (experiment, experiment.with_(seed=1), experiment.with_(callbacks=["my.every"])):
        assert changed.callbacks[0].values["n"] == 5


def unequal_splits() -> Splits:
    splits = small_splits()
    light = splits.train.y.argsort(descending=True)  # type: ignore[attr-defined]
    rows = torch.cat([light[:10], light[-2:]])
    return dataclasses.replace(splits, train=Images(splits.train.x[rows], splits.train.y[rows]))  # type: ignore[attr-defined]


class Listed(Dataset[Any]):
    """Images that are read one by one, whose labels are known before."""

    def __init__(self, images: Images, labels: Any) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Any:
        return self.images[row]


class LossesSeen(Callback):
    """The class weights of the training loss."""

    def on_fit_start(self, trainer: Trainer) -> None:
        assert isinstance(trainer.loss_func, CrossEntropy)
        self.weights = trainer.loss_func.class_weights


def test_class_weights_are_of_the_training_labels_and_only_training_has_them() -> None:
    splits, seen = unequal_splits(), LossesSeen()
    asked: Any = {"epochs": 3, "lr": 0.01, "progress": False, "class_weights": "balanced"}
    run = tinyclsf.train(one_layer, data=splits, run="whole", callbacks=[seen], **asked)
    assert seen.weights is not None
    assert seen.weights.tolist() == pytest.approx([12 / (2 * 2), 12 / (2 * 10)])
    assert run.held_out.loss == pytest.approx(F.cross_entropy(*run.predictions).item())
    assert run.config.settings["class_weights"] == "balanced"
    plain = tinyclsf.train(one_layer, data=splits, run="plain", **{**asked, "class_weights": "none"})
    assert not same(weights(run.folder), weights(plain.folder))
    images: Any = splits.train
    tinyclsf.train(
        one_layer, data=dataclasses.replace(splits, train=Listed(images, images.y.tolist())), callbacks=[seen], **asked
    )
    assert seen.weights.tolist() == pytest.approx([3, 0.6])
    tinyclsf.train(one_layer, data=splits, run="part", **{**asked, "epochs": 2})
    more = tinyclsf.train(one_layer, data=splits, resume="part", epochs=3, progress=False)
    assert same(weights(run.folder), weights(more.folder))


@pytest.mark.parametrize("labels", [None, ["dark"] * 12])
def test_class_weights_of_labels_that_are_not_known_are_refused(labels: Any) -> None:
    splits: Any = unequal_splits()
    train = Listed(splits.train, labels)
    message = (
        "the training data does not say its labels without reading its images, and balanced class weights are made of them; "
        "give --class-weights none"
    )
    with pytest.raises(ConfigurationError) as error:
        tinyclsf.train(one_layer, data=dataclasses.replace(splits, train=train), class_weights="balanced")
    assert str(error.value) == message
    listed = dataclasses.replace(splits, train=Listed(splits.train, [0, 2] * 6))
    with pytest.raises(DataError, match=r"label 1 of the train split is 2; wanted 0 to 1 for 2 classes"):
        tinyclsf.train(one_layer, data=listed, class_weights="balanced")


def test_a_run_from_before_there_were_class_weights_goes_on_without() -> None:
    asked: Any = {"data": small_splits(), "lr": 0.01, "progress": False}
    whole = tinyclsf.train(one_layer, epochs=3, run="whole", **asked)
    part = tinyclsf.train(one_layer, epochs=2, run="part", **asked).folder / "config.json"
    config = json.loads(part.read_text())
    del config["settings"]["class_weights"]
    part.write_text(json.dumps(config))
    more = tinyclsf.train(one_layer, data=asked["data"], resume="part", epochs=3, progress=False)
    assert same(weights(whole.folder), weights(more.folder))
    assert more.config.settings["class_weights"] == "none"


def test_the_model_is_the_best_one(tmp_path: Path) -> None:
    run = tinyclsf.train("mnist-logistic", **SMALL)
    with torch.no_grad():
        images = load_splits(load_run(run.folder)).test
        assert isinstance(images, Images)
        assert torch.allclose(run.model(images.x), run.predictions.logits, atol=1e-6)
    assert not run.model.training


def test_a_function_and_splits_are_trained_and_resumed() -> None:
    splits = small_splits()
    run = tinyclsf.train(one_layer, data=splits, epochs=3, lr=0.01, run="whole", progress=False)
    tinyclsf.train(one_layer, data=splits, epochs=2, lr=0.01, run="part", progress=False)
    more = tinyclsf.train(one_layer, data=splits, resume="part", epochs=3, progress=False)
    assert same(weights(run.folder), weights(more.folder))
    assert [row.epoch for row in more.history] == [1, 2, 3]
    config = json.loads((run.folder / "config.json").read_text())
    assert (config["model"]["name"], config["model"]["package"]) == ("one_layer", None)
    assert (config["data"]["name"], config["data"]["package"]) == ("splits", None)
    with pytest.raises(ModelFileError, match=r"names no model plugin; hand load_model the network that was trained"):
        load_run(run.folder)
    opened = tinyclsf.load_model(run.folder, one_layer((1, 6, 6), 2))
    assert torch.equal(opened(splits.test.x), run.model(splits.test.x))  # type: ignore[union-attr]
    with pytest.raises(
        ConfigurationError, match=r"model one_layer of config file .* was given in Python; give it to train\(\) again"
    ):
        tinyclsf.train(config=run.folder / "config.json")
    with pytest.raises(ModelFileError, match=r"the data of runs/whole was given in Python, so it cannot be read again"):
        load_splits(run)


def test_other_data_does_not_go_on() -> None:
    splits = small_splits()
    tinyclsf.train(one_layer, data=splits, epochs=1, run="r", progress=False)
    before = weights("runs/r")
    assert splits.train.x[0, 0, 0, 0] != 7  # type: ignore[attr-defined]
    splits.train.x[0, 0, 0, 0] = 7  # type: ignore[attr-defined]
    with pytest.raises(ModelFileError, match=r"the data is not what run runs/r was begun with: train checksum was"):
        tinyclsf.train(one_layer, data=splits, epochs=2, resume="r", progress=False)
    assert same(before, weights("runs/r"))


def test_weights_are_scored_as_those_of_their_epoch() -> None:
    run = tinyclsf.train(one_layer, data=small_splits(), epochs=1, run="r", progress=False)
    save_weights(run.model, run.folder / "model.safetensors", notes={"epoch": "2"})  # killed after it, before its checkpoint
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(ModelFileError) as error:
        tinyclsf.train(one_layer, data=small_splits(), resume="r", progress=False)
    assert str(error.value) == (
        "runs/r/model.safetensors holds the weights of epoch 2, and the best epoch is 1; "
        "train epoch 2 once more with tinyclsf fit --resume runs/r --epochs 2"
    )
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before
    again = tinyclsf.train(one_layer, data=small_splits(), resume="r", epochs=2, progress=False)
    assert [row.epoch for row in again.history] == [1, 2]


def test_callbacks_see_the_run_and_progress_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    class Count(Callback):
        batches = 0

        def on_batch_end(self, trainer: Trainer) -> None:
            self.batches += 1

    count = Count()
    run = tinyclsf.train(one_layer, data=small_splits(), epochs=2, device="cpu", callbacks=[count, "csv"])
    assert count.batches == 2
    assert (run.folder / "metrics.csv").read_text().count("\n") == 3
    assert capsys.readouterr() == ("", "")
    run = tinyclsf.train(one_layer, data=small_splits(), epochs=1, lr=0.01, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    *header, epoch = err.splitlines()
    threads = torch.get_num_threads()
    assert header == [
        "data      splits: 40 train, 10 valid, 10 test; 2 classes; 1x6x6",
        "model     one_layer: 74 parameters",
        "training  1 epoch, batch size 64, adam, lr 0.01",
        "given     epochs 1, lr 0.01",
        f"device    cpu, float32, {threads} thread{'s' * (threads > 1)}",
        f"run       {run.folder}",
    ]
    assert re.sub(r"\d+\.\d s$", "s", epoch) == re.sub(r"\d+\.\d s$", "s", epoch_line(run.history[0], 1))


def test_an_experiment_is_varied_and_trained() -> None:
    first = Experiment.of(one_layer, data=small_splits(), epochs=1, optimizer="sgd", lr=0.1)
    second = first.with_(seed=1, lr=0.01)
    assert (first.settings["seed"].value, first.settings["lr"].value) == (0, 0.1)
    assert (second.settings["seed"], second.settings["lr"]) == ((1, "Python"), (0.01, "Python"))
    assert second.settings["epochs"] == first.settings["epochs"]
    assert first.with_(optimizer="adam").settings["lr"] == (0.1, "Python")  # as asked for, whatever the optimizer
    assert Experiment.of("mnist-logistic").with_(optimizer="adam").settings["lr"] == (0.001, "default of adam")
    with pytest.raises(AttributeError):
        first.settings = {}  # type: ignore[misc]
    runs = [tinyclsf.train(each, progress=False) for each in (first, second)]
    assert not same(weights(runs[0].folder), weights(runs[1].folder))
    assert [row.epoch for row in tinyclsf.train(first, epochs=2, progress=False).history] == [1, 2]
    with pytest.raises(ConfigurationError, match="a run goes on as it was begun; leave out the experiment, or resume"):
        tinyclsf.train(first, resume=runs[0].folder)


def test_options_of_a_plugin_add_up_and_another_plugin_begins_with_its_own() -> None:
    first = Experiment.of("torch-clsf", data_options={"train_size": 320, "seed": 1}, model_options={"softmax": True})
    more = first.with_(data_options={"seed": 2})
    assert (more.data.values["train_size"], more.data.values["seed"]) == (320, 2)
    other = more.with_(model="mnist-logistic")
    assert "softmax" not in other.model.values
    assert other.settings["optimizer"] == ("sgd", "recipe")
    assert other.data.values["seed"] == 2


@pytest.mark.parametrize(
    ("arguments", "message", "tip"),
    [
        ({"epoch": 2}, f"there is no setting 'epoch'; choose one of {', '.join(VALUES)}", "did you mean 'epochs'?"),
        ({"epochs": "2"}, "epochs is '2'; wanted a whole number of at least 1", None),
        ({"epochs": True}, "epochs is True; wanted a whole number of at least 1", None),
        ({"lr": float("nan")}, "lr is nan; wanted a number above 0", None),
        ({"momentum": 1}, "momentum is 1; wanted a number of at least 0 and below 1", None),
        ({"seed": -1}, "seed is -1; wanted a whole number from 0 to 4294967295", None),
        ({"precision": "int8"}, "precision is 'int8'; wanted one of auto, float32, tf32, bfloat16, float16", None),
        ({"compile": 1}, "compile is 1; wanted true or false", None),
        ({"data": "digts"}, "there is no dataset 'digts'; 'tinyclsf list datasets' shows all", "did you mean 'digits'?"),
        ({"data": 3}, "data is of type int; wanted a name, Splits, or what returns Splits", None),
        ({"data_options": {"train_size": 0}, "epochs": 1}, "train_size is 0; wanted at least 1", None),
        ({"model_options": {"x": 1}}, "model mnist-logistic has no option 'x'; it takes manual", None),
        (
            {"run": "../x"},
            "run name '../x' cannot be used; wanted at most 100 of a-z, A-Z, 0-9, '.', '_' and '-', the first no '.' or '-'",
            None,
        ),
        ({"resume": "x", "run": "y"}, "a run that is resumed goes on in its own folder; leave out run and config", None),
        ({"momentum": 0.5, "optimizer": "adam"}, "optimizer adam does not use momentum; leave it out", None),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(arguments: Any, message: str, tip: str | None) -> None:
    with pytest.raises((ConfigurationError, DataError)) as error:
        tinyclsf.train("mnist-logistic", **arguments)
    assert (str(error.value), error.value.tip) == (message, tip)
    assert not list(Path().glob("runs/*"))


def test_a_network_that_is_made_already_is_no_model() -> None:
    with pytest.raises(ConfigurationError) as error:
        tinyclsf.train(one_layer((1, 6, 6), 2), data=small_splits())
    message = "model is of type Sequential; wanted a name, or what makes a network of (image_shape, num_classes)"
    assert str(error.value) == message


def test_an_experiment_says_what_is_no_default() -> None:
    found = Experiment.of("lenet", epochs=1, data_options={"train_size": 320}, model_options={"padding": 2})
    assert repr(found).splitlines() == [
        "lenet on digits",
        "-m: model padding 2",
        "-d: data train-size 320",
        "Python: epochs 1",
        "recipe: batch-size 50, lr 0.01, schedule one-cycle",
    ]
    assert rows_of_table(found)[:3] == [
        ["setting", "value", "from"],
        ["model padding", "2", "-m"],
        ["data train-size", "320", "-d"],
    ]
    assert "all else has its default" in words_of(found)


def test_what_belonged_to_something_that_is_gone_goes_too(tmp_path: Path) -> None:
    photos = Experiment.of("linear", data="image-folder", data_dir=tmp_path, callbacks=["csv"])
    assert photos.with_(data="digits").data.plugin.name == "digits"  # which takes no folder
    for same in (None, "image-folder"):
        assert photos.with_(data=same, seed=1).data.values["data_dir"] == tmp_path
    watched = make_request("linear", callbacks=["tensorboard", "csv"], callback_options={"tensorboard.folder": "curves"})
    assert watched.with_(callbacks=["csv"]).callback_options == {}
    assert watched.with_(seed=1).callback_options == {"tensorboard.folder": "curves"}


def test_a_class_is_no_callback() -> None:
    with pytest.raises(ConfigurationError, match="a callback is of type type; wanted a name or a Callback"):
        tinyclsf.train(one_layer, data=small_splits(), callbacks=[Callback])  # type: ignore[list-item]


def test_a_function_without_a_name_makes_a_run_that_commands_take() -> None:
    run = tinyclsf.train(lambda shape, classes: one_layer(shape, classes), data=small_splits(), epochs=1, progress=False)
    assert run.folder.name.startswith("lambda--splits-")


def test_predictions_of_earlier_weights_are_none() -> None:
    run = tinyclsf.train(one_layer, data=small_splits(), epochs=1, progress=False)
    (run.folder / "state.json").unlink()  # as when it goes on
    with pytest.raises(ModelFileError, match="has no scores yet"):
        _ = run.predictions


def test_classes_may_be_a_list(cli: Any, install: Any) -> None:
    code = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def listed():
    part = Images(torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]))
    return Splits(part, part, part, ["cat", "dog"], (1, 4, 4), Preprocess())
"""
    install("theirs", code, module="listed_code", datasets={"listed": "listed_code:listed"})
    assert cli("fit", "linear", "--data", "listed", "--epochs", "1", "--run", "a", "--progress", "none").code == 0
    assert cli("evaluate", "a").code == 0
