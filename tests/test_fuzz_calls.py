"""Arguments of other types to every public call: what is raised says which argument it is, or is an error of tinyclsf's own."""

from __future__ import annotations

import contextlib
import inspect
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typeguard import TypeCheckError, check_type

import tinyclsf
from tests.support.commands import Cli
from tinyclsf.errors import TinyclsfError
from tinyclsf.loop.evaluation import Predictions

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, 0.5, math.nan, math.inf, "", "a", "a\0b", "\ud800", b"a"),
    *([], [None], ["a"], {}, {"a": 1}, (1, 2), Path("nowhere"), object(), int, print),
    *(np.zeros(3), np.array("a"), torch.zeros(()), torch.zeros(2, 3)),
)
Calls = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


def calls(run: Path) -> Calls:
    """Every public call with arguments that are right."""
    y = torch.arange(12) % 2
    x = (y.view(12, 1, 1, 1).expand(12, 1, 4, 4) * 200).to(torch.uint8).contiguous()
    images = tinyclsf.Images(x, y)
    preprocess = tinyclsf.Preprocess(0.0, 255.0)
    of_model = {"classes": ("a", "b"), "image_shape": (1, 4, 4), "preprocess": preprocess}
    splits = tinyclsf.Splits(images, images, None, **of_model)  # type: ignore[arg-type]
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    model = tinyclsf.Classifier(network=network, **of_model)  # type: ignore[arg-type]
    opt, loss_func = torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy
    dl, _ = tinyclsf.get_data(images, images, 4)
    found = Predictions(torch.eye(2), torch.tensor([0, 1]))
    training = {"model": model, "loss_func": loss_func, "opt": opt}
    trainer = tinyclsf.Trainer(**training)  # type: ignore[arg-type]
    options = {
        "device": "cpu",
        "precision": "auto",
        "memory_format": "auto",
        "compile": False,
        "schedule": None,
        "augment": None,
    }
    options |= {"accumulate": 1, "clip_norm": None, "ema_decay": None, "callbacks": ()}
    of_fit: dict[str, Any] = {"model": "linear", "data": "digits", "data_options": {"train_size": 20}, "model_options": {}}
    of_fit |= {"epochs": 1, "lr": 0.1, "seed": 1, "device": "cpu", "optimizer": "sgd", "batch_size": 16}
    return {
        "Images": (tinyclsf.Images, {"x": x, "y": y, "paths": None}),
        "Splits": (tinyclsf.Splits, {"train": images, "valid": images, "test": None, "white": 255.0, **of_model}),
        "Preprocess": (tinyclsf.Preprocess, {"mean": 0.0, "std": 255.0}),
        "Classifier": (tinyclsf.Classifier, {"network": network, "white": 255.0, **of_model}),
        "Trainer": (tinyclsf.Trainer, training | options),
        "Trainer.fit": (trainer.fit, {"epochs": 1, "train_dl": dl, "valid_dl": dl, "resume": None}),
        "Trainer.evaluate": (trainer.evaluate, {"dl": dl}),
        "Trainer.predict": (trainer.predict, {"dl": dl}),
        "accuracy": (tinyclsf.accuracy, {"out": torch.eye(2), "yb": torch.tensor([0, 1])}),
        "assess": (tinyclsf.assess, {"predictions": found, "classes": ("a", "b")}),
        "check": (tinyclsf.check, {"model": model, "splits": splits, "loss_func": loss_func}),
        "compare": (tinyclsf.compare, {"folders": [run, run]}),
        "export_model": (tinyclsf.export_model, {"run": run, "to": "safetensors"}),
        "fit": (tinyclsf.fit, {"epochs": 1, **training, "train_dl": dl, "valid_dl": dl, "on_epoch": print}),
        "get_data": (tinyclsf.get_data, {"train_ds": images, "valid_ds": images, "bs": 4}),
        "load_exported": (tinyclsf.load_exported, {"path": run / "export.safetensors"}),
        "load_model": (tinyclsf.load_model, {"folder": run, "network": None}),
        "load_run": (tinyclsf.load_run, {"folder": run}),
        "load_splits": (tinyclsf.load_splits, {"run": tinyclsf.load_run(run), "data": None, "data_dir": None, "options": None}),
        "loss_batch": (tinyclsf.loss_batch, {"model": model, "loss_func": loss_func, "xb": x, "yb": y, "opt": None}),
        "plot": (tinyclsf.plot, {"runs": [run]}),
        "predict_files": (tinyclsf.predict_files, {"model": model, "files": ["dot.png"], "device": "cpu", "batch_size": 4}),
        "save_model": (tinyclsf.save_model, {"model": model, "folder": "saved", "plugin": None}),
        "show_samples": (tinyclsf.show_samples, {"images": x, "labels": y, "class_names": ("a", "b"), "out": "a.png"}),
        "summarize": (tinyclsf.summarize, {"model": model}),
        "Experiment.of": (tinyclsf.Experiment.of, of_fit),
        "write_report": (tinyclsf.write_report, {"folder": run}),
        "write_script": (tinyclsf.write_script, {"run_folder": run, "out": "train.py"}),
    }


def has_type(function: Callable[..., Any], name: str, value: Any) -> bool:
    """Whether an argument may be that, as far as its annotation says."""
    function = function.__init__ if inspect.isclass(function) else function
    parameter = inspect.signature(function).parameters.get(name)
    if parameter is None:  # one of **options
        return False
    try:
        check_type(value, eval(parameter.annotation, {"Tensor": Tensor} | inspect.unwrap(function).__globals__))
    except TypeCheckError:
        return False
    except NameError:
        return False
    return True


@pytest.fixture
def run(cli: Cli) -> Path:
    assert cli("fit", "linear", "--epochs", "1", "-d", "train_size=20", "--run", "first", "--progress", "none").code == 0
    assert cli("export", "first", "--to", "safetensors").code == 0
    return Path("runs/first").absolute()


@pytest.mark.stress
def test_an_argument_of_another_type_is_named(run: Path) -> None:
    faults = []
    for name, (call, given) in calls(run).items():
        for argument in given:
            for odd in ODD:
                if has_type(call, argument, odd):
                    continue
                try:
                    with contextlib.redirect_stdout(io.StringIO()):
                        call(**{**given, argument: odd})
                except TinyclsfError:
                    pass
                except (TypeError, ValueError) as error:
                    faults += [] if argument in str(error) else [f"{name}({argument}={odd!r:.40}): {error!r:.120}"]
                except Exception as error:
                    faults.append(f"{name}({argument}={odd!r:.40}): {error!r:.120}")
    assert faults == []
