"""The command line as a person and a program meet it: what it prints where, exit codes, and whole error messages."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]

import tinyclsf
from tests.support.forking import Forks
from tinyclsf import Preprocess, load_model
from tinyclsf.cli.app import cli as program
from tinyclsf.machine.launch import resume_command
from tinyclsf.metrics import percent, wilson_interval
from tinyclsf.registry.plugins import find, load
from tinyclsf_plugins.datasets.digits import digits

SMALL = ("-d", "train_size=640", "--epochs", "2")


def run(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    return subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_fit_trains_scores_and_keeps_the_best_weights(cli: Any, tmp_path: Path) -> None:
    result = cli("fit", "mnist-cnn", *SMALL, "--run", "first")
    assert result.code == 0
    folder = tmp_path / "runs" / "first"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "checkpoint.previous.pt",
        "checkpoint.pt",
        "config.json",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
        "predictions.npz",
        "state.json",
    ]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    best = max(rows, key=lambda row: (row["valid_accuracy"], -row["valid_loss"]))

    splits = digits(train_size=640)
    assert splits.test is not None
    x, y = splits.test.tensors  # type: ignore[attr-defined]
    with torch.no_grad():
        logits = load_model(folder)(x)
        valid = load_model(folder)(splits.valid.x).argmax(1)  # type: ignore[attr-defined]
    assert (valid == splits.valid.y).float().mean().item() == pytest.approx(best["valid_accuracy"])  # type: ignore[attr-defined]
    saved = np.load(folder / "predictions.npz")
    assert str(saved["split"]) == "test"
    np.testing.assert_array_equal(saved["labels"], y.numpy())
    np.testing.assert_allclose(saved["logits"], logits.numpy(), atol=1e-4)

    accuracy = accuracy_score(y.numpy(), logits.argmax(1).numpy())
    lines = result.out.splitlines()
    assert lines[0].split() == [
        *f"best epoch {best['epoch']}: valid accuracy {best['valid_accuracy']:.2%}".replace("%", " %,").split(),
        *f"valid loss {best['valid_loss']:.4f}".split(),
    ]
    assert lines[1].startswith(f"test  accuracy {accuracy * 100:.2f} % (95 % interval ")
    assert lines[1].endswith(" %, 360 images)")
    assert lines[-4:] == [
        "next  tinyclsf report first",
        "      tinyclsf predict first FILES",
        '      tinyclsf.load_model("runs/first") in Python',
        "run   runs/first",
    ]
    progress = [line for line in result.err.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in progress] == ["epoch 1/2", "epoch 2/2"]


def test_fit_as_json_is_one_document(cli: Any) -> None:
    result = cli("fit", "mnist-logistic", *SMALL, "--json", "--run", "first", "--progress", "none")
    assert (result.code, result.err) == (0, "")
    document = result.document
    assert set(document) == {"version", "command", "run", "settings", "best", "held_out", "notes", "history", "warnings"}
    assert document["notes"] == []
    assert (document["version"], document["command"], document["run"]) == (1, "fit", "runs/first")
    assert document["settings"]["lr"] == {"value": 0.1, "source": "recipe"}
    assert document["settings"]["epochs"] == {"value": 2, "source": "--epochs"}
    assert document["best"] in document["history"]
    saved = np.load("runs/first/predictions.npz")
    logits = torch.from_numpy(saved["logits"])
    held_out = document["held_out"]
    assert held_out["accuracy"] == accuracy_score(saved["labels"], logits.argmax(1).numpy())
    assert held_out["loss"] == pytest.approx(log_loss(saved["labels"], logits.double().softmax(1).numpy()), rel=1e-6)


GUESSES = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def of(many):
    images = Images(torch.zeros(40, 1, 2, 2, dtype=torch.uint8), (torch.arange(40) >= many).long())
    return Splits(images, images, images, ("bee", "ant"), (1, 2, 2), Preprocess())

def most():
    return of(24)

def all():
    return of(40)
"""


def test_a_result_no_better_than_the_most_frequent_class_is_said(cli: Any, install: Any) -> None:
    install("guesses", GUESSES, module="guesses", datasets={"most": "guesses:most", "all": "guesses:all"})
    fit = ("fit", "linear", "--lr", "0.5", "--epochs", "5", "--progress", "none", "--data")
    note = "accuracy 60.00 % is not clearly above the 60.00 % of always answering bee, the most frequent class"
    result = cli(*fit, "most", "--run", "most")
    assert result.out.splitlines()[1:4] == [
        f"test  accuracy 60.00 % (95 % interval {' to '.join(map(percent, wilson_interval(24, 40)))}, 40 images)",
        f"note  {note.removesuffix(' frequent class')}",
        "      frequent class",
    ]
    assert cli("evaluate", "most", "--json").document["notes"] == [note]
    # Of a single class even a model that knows nothing is always right.
    assert cli(*fit, "all", "--json").document["notes"] == []


def test_what_is_printed_to_paste_works_in_any_folder(cli: Any) -> None:
    for root in ('q"r', "my runs", "back\\slash"):
        result = cli("fit", "linear", *SMALL, "--epochs", "1", "--runs", root, "--run", "r")
        call = next(line for line in result.out.splitlines() if "load_model" in line)
        model = eval(call.strip().removesuffix(" in Python"), {"tinyclsf": tinyclsf})
        assert model.classes == tuple("0123456789")
    assert resume_command("my runs/r") == "tinyclsf fit --resume 'my runs/r'"


def test_the_header_fits_a_screen(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYCLSF_RUNS", "elsewhere")
    result = cli("fit", "mnist-cnn", *SMALL, "--optimizer", "adam", "--seed", "3", "--ema-decay", "0.9", "--callback", "csv")
    assert result.code == 0
    folder, count = next(Path("elsewhere").iterdir()), torch.get_num_threads()
    assert result.err.splitlines()[:-2] == [
        "data       digits: 640 train, 360 valid, 360 test; 10 classes; 1x28x28",
        "model      mnist-cnn: 3,930 parameters",
        "training   2 epochs, batch size 64, adam, lr 0.001, one-cycle schedule, ema decay 0.9",
        "given      data train-size 640, epochs 2, optimizer adam, ema-decay 0.9, seed 3",
        "callbacks  csv",
        f"device     cpu, float32, {count} thread{'s' * (count > 1)}",
        f"run        {folder}",
    ]
    assert result.out.splitlines()[-4] == f"next  tinyclsf report {folder.name}"


def test_every_setting_and_where_it_came_from_is_shown_where_it_is_asked_for(cli: Any) -> None:
    result = cli("fit", "mnist-cnn", *SMALL, "--optimizer", "adam", "--run", "first", "--verbose", "--callback", "csv")
    shown = [tuple(re.split("  +", line)) for line in cli("runs", "first").out.splitlines()[3:]]
    assert shown == [
        ("data", "digits"),
        ("data train-size", "640", "-d"),
        ("data normalize", "unit", "default"),
        *((f"data {name}", "none", "default") for name in ("mean", "std", "test-ratio", "valid-ratio", "valid-size")),
        ("data split", "auto", "default"),
        ("data fraction", "1.0", "default"),
        ("data seed", "0", "default"),
        ("model", "mnist-cnn"),
        ("model manual", "false", "default"),
        ("callback", "csv"),
        ("epochs", "2", "--epochs"),
        ("batch-size", "64", "recipe"),
        ("optimizer", "adam", "--optimizer"),
        ("lr", "0.001", "default of adam"),
        ("weight-decay", "0", "default of adam"),
        ("schedule", "one-cycle", "recipe"),
        ("loss", "cross-entropy", "recipe"),
        ("label-smoothing", "0.0", "default of cross-entropy"),
        ("class-weights", "none", "recipe"),
        ("augment", "none", "recipe"),
        ("accumulate", "1", "recipe"),
        *((name, "none", "default") for name in ("clip-norm", "ema-decay", "patience")),
        ("freeze", "none", "recipe"),
        ("unfreeze-after", "none", "default"),
        ("backbone-lr", "1.0", "recipe"),
        ("decayed", "all", "recipe"),
        ("seed", "0", "default"),
        ("precision", "float32", "auto"),
        ("compile", "false", "default"),
        ("checkpoint-every", "none", "default"),
        ("device", "cpu", "auto"),
        ("memory-format", "channels_last", "auto"),
        ("run", "runs/first", "--run"),
        ("versions", f"tinyclsf {version('tinyclsf')}, python {platform.python_version()}, torch {torch.__version__}"),
    ]
    header = [re.split("  +", line) for line in result.err.splitlines()]
    for name, value, *source in shown:
        assert [name, f"{value} ({source[0]})" if source else value] in header
    assert cli("runs", "first", "--json").document["settings"][1] == ["data train-size", "640", "-d"]


def test_scoring_that_takes_long_says_that_it_scores(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyclsf.progress.telling._SILENT_SECONDS", -1.0)
    lines = cli("fit", "linear", *SMALL, "--batch-size", "64").err.splitlines()
    assert lines[-2] == "scoring the test images: 360 ..."
    assert re.fullmatch(r"scoring the test images: 360 done in \d\.\d s", lines[-1])
    assert "scoring" not in cli("fit", "linear", *SMALL, "--batch-size", "512").err  # all at once


def test_the_loss_of_the_last_batches_is_logged(cli: Any) -> None:
    lines = cli("fit", "linear", *SMALL, "--batch-size", "64", "--log-every", "4").err.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("epoch")] == [
        *("epoch 1, batch 4", "epoch 1, batch 8", "epoch 1/2", "epoch 2, batch 4", "epoch 2, batch 8", "epoch 2/2")
    ]


def test_a_softmax_before_the_loss_is_warned_of(cli: Any) -> None:
    result = cli("fit", "mlp", *SMALL, "-m", "softmax=true", "--progress", "none", "--json")
    assert result.code == 0
    sentence = (
        "the outputs sum to one already, and the loss takes their softmax once more, which flattens the gradient; "
        "a model should give logits: leave its softmax out"
    )
    assert (result.err, result.document["warnings"]) == (f"warning: {sentence}\n", [sentence])
    assert cli("fit", "mlp", *SMALL, "--json").document["warnings"] == []


def test_a_last_batch_too_small_for_batch_norm_is_found_before_training(cli: Any, tmp_path: Path) -> None:
    more = ("-d", "train_size=641", "--batch-size", "64", "--epochs", "1", "--progress", "none")
    result = cli("fit", "mlp", "-m", "batch_norm=true", *more)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: 641 training images in batches of 64 leave a batch of 1, which the model's batch norm cannot train on; "
        "give another --batch-size\n"
    )
    single = cli("fit", "mlp", "-m", "batch_norm=true", *more[:3], "1", *more[4:])
    assert single.err.startswith("error: 641 training images in batches of 1 leave a batch of 1, ")
    assert list((tmp_path / "runs").iterdir()) == []
    assert cli("fit", "mlp", *more).code == 0
    assert cli("fit", "mlp", "-m", "batch_norm=true", *more[:3], "65", *more[4:]).code == 0


def test_a_model_begun_from_a_file_is_loaded_without_it(cli: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "begun.pt"
    torch.save(load(find("model", "torchvision"))((1, 28, 28), 10, arch="squeezenet1_1").state_dict(), weights)
    begun = ("-m", "arch=squeezenet1_1", "-m", f"weights={weights}")
    result = cli("fit", "torchvision", *begun, "-d", "train_size=64", "--epochs", "1", "--run", "begun", "--json")
    assert result.code == 0
    weights.unlink()
    saved = np.load("runs/begun/predictions.npz")
    with torch.no_grad():
        logits = load_model("runs/begun")(digits(train_size=64).test.x)  # type: ignore[union-attr]
    np.testing.assert_allclose(saved["logits"], logits.numpy(), atol=1e-4)


def test_a_scaling_of_ones_own_is_in_the_header_the_config_and_the_saved_model(cli: Any) -> None:
    scaling = ("-d", "mean=0.1", "-d", "std=0.25")
    result = cli("fit", "mnist-logistic", *SMALL, *scaling, "--run", "a")
    assert "given     data train-size 640, data mean 0.1, data std 0.25, epochs 2" in result.err.splitlines()
    options = json.loads(Path("runs/a/config.json").read_text())["data"]["options"]
    assert (options["mean"], options["std"]) == ([0.1], [0.25])
    preprocess = load_model("runs/a").preprocess
    assert isinstance(preprocess, Preprocess)
    assert (preprocess.mean.item(), preprocess.std.item()) == (25.5, 63.75)
    assert cli("fit", "--resume", "a", "--epochs", "3", "-d", "std=0.25").code == 0
    refused = cli("fit", "--resume", "a", "-d", "std=0.5")
    assert (refused.code, "data option std was 0.25 and shall be 0.5" in refused.err) == (4, True)
    wrong = cli("fit", "mnist-logistic", *SMALL, "-d", "mean=0,0,0", "-d", "std=1,1,1")
    assert (wrong.code, wrong.err.splitlines()[-1]) == (
        3,
        "error: the data is scaled by a mean for each of 3 channels and its images have 1; "
        "-d normalize=unit is for any images, or give -d channels=3 where the data set has that",
    )


def test_settings_of_the_loss_the_schedule_and_the_augmentation_are_used(cli: Any) -> None:
    def losses(*more: str) -> list[float]:
        document = cli("fit", "mnist-logistic", *SMALL, "--epochs", "3", "--json", *more).document
        return [row["train_loss"] for row in document["history"]]

    plain = losses()
    assert losses("--label-smoothing", "0.3")[0] > plain[0]
    assert losses("--augment", "cutout")[0] != plain[0]
    stepped = losses("--schedule", "step", "--gamma", "1e-9")
    assert stepped[0] == plain[0]
    assert stepped[1] == pytest.approx(stepped[2], rel=1e-5)
    waiting = losses("--schedule", "plateau", "--plateau-patience", "5")
    assert waiting == plain
    assert losses("--schedule", "step", "--gamma", "1e-9", "--step-size", "2")[:2] == plain[:2]


def test_two_runs_of_one_command_give_the_same_figures(cli: Any) -> None:
    found = []
    for name in ("first", "second"):
        document = cli("fit", "mnist-cnn", *SMALL, "--json", "--run", name).document
        found.append([{**row, "seconds": 0} for row in document["history"]])
    assert found[0] == found[1]


@pytest.mark.stress
def test_digits_are_learnt_in_two_epochs(cli: Any) -> None:
    document = cli("fit", "mnist-cnn", "--epochs", "2", "--json").document
    assert document["held_out"]["accuracy"] >= 0.95


@pytest.mark.stress
def test_real_mnist_with_the_settings_of_the_tutorial(cli: Any, mnist_dir: Path) -> None:
    settings = ("--optimizer", "sgd", "--lr", "0.1", "--momentum", "0.9", "--batch-size", "64", "--schedule", "none")
    result = cli("fit", "mnist-cnn", "--data", "mnist", "--data-dir", str(mnist_dir), "--epochs", "2", *settings, "--json")
    assert result.document["held_out"]["images"] == 10_000
    assert result.document["held_out"]["accuracy"] >= 0.90


CASES = [
    (
        ("fti", "mnist-cnn"),
        "there is no command 'fti'; choose one of fit, runs, evaluate, report, compare, summary, predict, export, script, "
        "show, check, cache, list, info, new",
        "did you mean 'fit'?",
    ),
    (("fit",), "missing argument 'MODEL'", "name a model, such as mnist-cnn; 'tinyclsf list models' shows all"),
    (("fit", "mnist-cn"), "there is no model 'mnist-cn'; 'tinyclsf list models' shows all", "did you mean 'mnist-cnn'?"),
    (
        ("fit", "mnist-cnn", "--data", "minst"),
        "there is no dataset 'minst'; 'tinyclsf list datasets' shows all",
        "did you mean 'mnist'?",
    ),
    (("fit", "mnist-cnn", "--epoch", "2"), "there is no option '--epoch'", "did you mean '--epochs'?"),
    (
        ("fit", "mnist-cnn", "--epochs", "-1"),
        "invalid value for '--epochs': it is '-1'; wanted a whole number of at least 1",
        None,
    ),
    (
        ("fit", "mnist-cnn", "--epochs", "two"),
        "invalid value for '--epochs': it is 'two'; wanted a whole number of at least 1",
        None,
    ),
    (
        ("fit", "mnist-cnn", "--batch-size", "0"),
        "invalid value for '--batch-size': it is '0'; wanted a whole number of at least 1",
        None,
    ),
    (("fit", "mnist-cnn", "--lr", "nan"), "invalid value for '--lr': it is 'nan'; wanted a number above 0", None),
    (("fit", "mnist-cnn", "--lr", "0"), "invalid value for '--lr': it is '0'; wanted a number above 0", None),
    (
        ("fit", "mnist-cnn", "--momentum", "1"),
        "invalid value for '--momentum': it is '1'; wanted a number of at least 0 and below 1",
        None,
    ),
    (("fit", "mnist-cnn", "-d", "seed"), "invalid value for '-d': 'seed' is not KEY=VALUE", None),
    (("fit", "mnist-cnn", "-d", "seed=1", "-d", "seed=2"), "invalid value for '-d': 'seed' is given twice", None),
    (("fit", "mnist-cnn", "-m", "width=3"), "model mnist-cnn has no option 'width'; it takes manual", None),
    (("fit", "mnist-cnn-sequential", "-m", "width=3"), "model mnist-cnn-sequential has no option 'width'; it takes none", None),
    (
        ("fit", "mnist-cnn", "-d", "sead=1"),
        "dataset digits has no option 'sead'; "
        "it takes train_size, normalize, mean, std, test_ratio, valid_ratio, valid_size, split, fraction, seed",
        "did you mean 'seed'?",
    ),
    (("fit", "mnist-cnn", "-m", "=3"), "invalid value for '-m': '=3' is not KEY=VALUE", None),
    (("fit", "mnist-cnn", "-d", "seed=x"), "option seed of dataset digits is 'x'; wanted a whole number", None),
    (("fit", "mnist-cnn", "-d", "seed=1=2"), "option seed of dataset digits is '1=2'; wanted a whole number", None),
    (("fit", "mnist-cnn", "--data", "mnist-pickle"), "dataset mnist-pickle needs -d path=PATH", None),
    (
        ("fit", "mnist-cnn", "--data-dir", "."),
        "dataset digits does not use --data-dir; leave it out, or name other data, as with --data image-folder",
        None,
    ),
    (
        ("fit", "mnist-cnn", "--augment", "flip,", "crop"),
        "got unexpected extra argument (crop)",
        "write a list without spaces, as in flip,crop",
    ),
    (("fit", "mnist-cnn", "batch_size=3"), "got unexpected extra argument (batch_size=3)", "did you mean --batch-size 3?"),
    (("fit", "mnist-cnn", "pretrained=yes"), "got unexpected extra argument (pretrained=yes)", "did you mean --pretrained?"),
    (("fit", "mnist-cnn", ".."), "got unexpected extra argument (..)", "did you mean --data image-folder --data-dir ..?"),
    (("check", "lenet", "digits"), "got unexpected extra argument (digits)", "did you mean --data digits?"),
    (("show", "digits", ".."), "got unexpected extra argument (..)", "did you mean --data-dir ..?"),
    (("info", "mnist-cnn", "digits"), "got unexpected extra argument (digits)", None),
    (("show", "digits", "nowhere"), "got unexpected extra argument (nowhere)", None),
    (
        ("fit", "mnist-cnn", "--optimizer", "adam", "--momentum", "0.9"),
        "optimizer adam does not use --momentum; leave it out",
        None,
    ),
    (
        ("fit", "mnist-cnn", "--schedule", "onecycle"),
        "there is no schedule 'onecycle'; choose one of cosine, exponential, none, one-cycle, plateau, step",
        "did you mean 'one-cycle'?",
    ),
    (
        ("fit", "mnist-cnn", "--loss", "crossentropy"),
        "there is no loss 'crossentropy'; choose one of cross-entropy, mse",
        "did you mean 'cross-entropy'?",
    ),
    (("fit", "mnist-cnn", "--device", "gpu"), "'gpu' is not a device; use auto, cpu, cuda, cuda:0 or mps", None),
    (
        ("fit", "mnist-cnn", "--run", "../x"),
        "run name '../x' cannot be used; wanted at most 100 of a-z, A-Z, 0-9, '.', '_' and '-', the first no '.' or '-'",
        None,
    ),
    (("info", "mnist-cn"), "there is no plugin 'mnist-cn'; 'tinyclsf list' shows all", "did you mean 'mnist-cnn'?"),
    (
        ("list", "plugins"),
        "invalid value for '[KIND]': 'plugins' is not one of 'datasets', 'models', 'callbacks', 'commands'",
        None,
    ),
]


@pytest.mark.parametrize(("args", "message", "tip"), CASES, ids=[" ".join(args) for args, _, _ in CASES])
def test_bad_usage_is_one_sentence_and_exit_code_2(cli: Any, tmp_path: Path, args: Any, message: str, tip: str | None) -> None:
    result = cli(*args)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {message}\n" + (f"tip: {tip}\n" if tip else "")
    result = cli(*args, "--json")
    wanted = {"kind": "configuration", "exit_code": 2, "message": message, "tip": tip}
    assert (result.code, result.err) == (2, "")
    assert result.document == {"version": 1, "error": wanted}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_an_absent_device_is_no_silent_cpu(cli: Any) -> None:
    result = cli("fit", "mnist-cnn", "--device", "cuda")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"error: device cuda was asked for and PyTorch {torch.__version__} finds 0 cuda devices here; "
        "use --device auto or cpu\n"
    )


def test_a_run_folder_that_is_there_is_left_as_it_is(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    result = cli("fit", "mnist-cnn", "--run", "first")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: run folder runs/first is there already; choose another --run or move it away\n"
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_written_is_found_before_training(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = cli("fit", "mnist-cnn", "--runs", "file", "--run", "first")
    assert (result.code, result.out) == (7, "")
    assert result.err == "error: cannot make run folder file/first: file is not a folder; choose another --runs\n"


def test_bad_data_leaves_no_run_folder(cli: Any, tmp_path: Path) -> None:
    result = cli("fit", "mnist-cnn", "--data", "mnist-pickle", "-d", "path=no.pkl.gz")
    assert (result.code, result.out) == (3, "")
    assert result.err == "error: there is no file no.pkl.gz; check its name and the folder that it is looked for in\n"
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_diverging_run_ends_with_code_6(cli: Any) -> None:
    result = cli("fit", "mnist-logistic", "-d", "train_size=640", "--lr", "1e38", "--progress", "none")
    assert (result.code, result.out) == (6, "")
    assert result.err.startswith("error: the training loss of epoch 1, batch 2 is nan at learning rate 1e+38; lower ")


@pytest.mark.stress
def test_ctrl_c_keeps_the_run_and_its_best_weights(forks: Forks, tmp_path: Path) -> None:
    process = forks.start(tmp_path, "fit", "mnist-logistic", "--epochs", "10000", "--run", "long", "-d", "train_size=640")
    deadline = time.monotonic() + 60
    metrics = tmp_path / "runs" / "long" / "metrics.jsonl"
    while not (metrics.exists() and "\n" in metrics.read_text()[:-1]) and time.monotonic() < deadline:  # two epochs
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    code, out, err = process.finish()
    assert (code, out) == (130, "")
    last, tip = err.splitlines()[-2:]
    where = r"(in epoch \d+, after \d+ of 10 batches|after epoch \d+)"
    assert re.fullmatch(rf"error: interrupted {where}; the run is saved in runs/long", last), last
    assert tip == "tip: tinyclsf fit --resume runs/long"
    assert load_model(tmp_path / "runs" / "long").classes == tuple("0123456789")


def test_debug_shows_the_traceback(cli: Any) -> None:
    result = cli("fit", "mnist-cn", "--debug")
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert result.err.endswith("tip: did you mean 'mnist-cnn'?\n")


def test_list_and_info(cli: Any) -> None:
    assert cli("list").out.splitlines()[0] == "datasets"
    assert [plugin["name"] for plugin in cli("list", "models", "--json").document["models"]] == [
        *("cifar-net", "cifar-speed", "lenet", "linear", "mlp", "mnist-cnn", "mnist-cnn-sequential"),
        *("mnist-logistic", "timm", "torch-clsf", "torchvision", "vgg"),
    ]
    (idx,) = cli("info", "idx", "--json").document["plugins"]
    assert {option["name"]: option["type"] for option in idx["options"]} == {
        "data_dir": "path",
        "images": "str",
        "labels": "str",
        "test_images": "none or str",
        "test_labels": "none or str",
        "normalize": "one of unit|half|stats|imagenet",
        "mean": "none or float,...",
        "std": "none or float,...",
        "test_ratio": "none or float",
        "valid_ratio": "none or float",
        "valid_size": "none or int",
        "split": "one of auto|stratified|tail",
        "fraction": "float",
        "seed": "int",
    }
    shown = cli("info", "mnist-cnn").out
    assert "Three strided 3x3 convolutions" in shown
    assert [line.split() for line in shown.splitlines() if "momentum" in line] == [["momentum", "0.9"]]


def test_no_command_shows_the_help(cli: Any) -> None:
    result = cli()
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Usage: tinyclsf [OPTIONS] COMMAND [ARGS]...")
    assert cli("--json").code == 2


RESTLESS = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def dots(*, drawn: int = 0):
    torch.rand(drawn)
    part = Images(torch.arange(40 * 16, dtype=torch.uint8).view(40, 1, 4, 4), torch.arange(40) % 2)
    return Splits(part, part, None, ("a", "b"), (1, 4, 4), Preprocess())
"""


def test_weights_do_not_depend_on_what_a_data_set_draws(cli: Any, install: Any) -> None:
    install("dots", RESTLESS, module="restless", datasets={"dots": "restless:dots"})
    for drawn in ("0", "3"):
        more = ("-d", f"drawn={drawn}", "--epochs", "1", "--run", drawn, "--progress", "none")
        assert cli("fit", "linear", "--data", "dots", *more).code == 0
    weights = [Path("runs", name, "model.safetensors").read_bytes() for name in ("0", "3")]
    assert weights[0] == weights[1]


def test_a_bug_is_said_to_be_one(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(program, "main", fail)
    message = "KeyError: 'lost'; this is a bug of tinyclsf: please report what --debug prints"
    found = cli("list", "--json")
    assert (found.code, found.err) == (1, "")
    assert found.document["error"] == {"kind": "internal", "exit_code": 1, "message": message, "tip": None}
    assert cli("list", "--debug").err.startswith("Traceback (most recent call last):\n")


def test_version_and_help(cli: Any) -> None:
    assert cli("--version").out == f"tinyclsf {version('tinyclsf')}\n"
    assert cli("--help").out.startswith("Usage: tinyclsf [OPTIONS] COMMAND [ARGS]...")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["list"], ["fit", "--help"], ["fit", "no-such"]])
def test_what_needs_no_training_imports_nothing_heavy(args: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tinyclsf.cli.app import main\n"
        f"main({args!r})\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'torchvision', 'rich', 'tinyclsf_plugins'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    assert run("-c", code, cwd=tmp_path).stdout.splitlines()[-1] == "HEAVY []"


def test_importing_the_package_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys, tinyclsf; print('torch' in sys.modules, tinyclsf.Lambda.__name__, 'torch' in sys.modules)"
    assert run("-c", code, cwd=tmp_path).stdout == "False Lambda True\n"
    code = "import tinyclsf; print(sorted(set(tinyclsf.__all__) - set(dir(tinyclsf))), hasattr(tinyclsf, 'nothing'))"
    assert run("-c", code, cwd=tmp_path).stdout == "[] False\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("tinyclsf fit mnist-l", ["mnist-logistic"]), ("tinyclsf fit mnist-cnn --data mnist-", ["mnist-pickle"])],
)
def test_the_shell_completes_names(words: str, wanted: list[str], tmp_path: Path) -> None:
    env = {"_TINYCLSF_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    result = run("-m", "tinyclsf", cwd=tmp_path, env=env)
    assert [line.split(",")[1] for line in result.stdout.splitlines()] == wanted


def test_a_reader_that_closes_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tinyclsf list | head -c 1"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "d", "")
    reading, writing = os.pipe()
    os.close(reading)  # before anything is written
    command_line = [sys.executable, "-m", "tinyclsf", "list"]
    closed = subprocess.run(command_line, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (closed.returncode, closed.stderr) == (0, "")


@pytest.mark.parametrize(
    ("args", "message", "tip"),
    [
        (
            ("resnet81",),
            "torchvision has no classification model 'resnet81'; wanted one such as resnet18",
            "did you mean 'resnet18'?",
        ),
        (("lenet", "--pretrained"), "model lenet has no option 'pretrained'; it takes padding, softmax", None),
        (
            ("mnist-cnn", "--data", "my photos"),
            "there is no dataset 'my photos'; 'tinyclsf list datasets' shows all",
            "did you mean --data image-folder --data-dir 'my photos'?",
        ),
        (
            ("mnist-cnn", "--data", "my labels.csv"),
            "there is no dataset 'my labels.csv'; 'tinyclsf list datasets' shows all",
            "did you mean --data image-table -d table='my labels.csv'?",
        ),
        (
            ("mnist-cnn", "--data", "image-folder"),
            "data set image-folder reads your own pictures; give their folder as --data-dir FOLDER",
            None,
        ),
        (("mnist-cnn", "--lr", "abc"), "invalid value for '--lr': it is 'abc'; wanted a number above 0", None),
    ],
)
def test_what_a_person_may_have_meant(cli: Any, args: tuple[str, ...], message: str, tip: str | None) -> None:
    Path("my photos").mkdir()
    result = cli("fit", *args)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {message}\n" + (f"tip: {tip}\n" if tip else "")
