"""Train image classifiers: `loss_batch`, `fit` and `get_data`, a device-aware `Trainer`, plugins and a command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyclsf.data import Images, Splits
    from tinyclsf.duration import DurationTime
    from tinyclsf.estimator import TorchClassifier
    from tinyclsf.loading import WrappedDataLoader
    from tinyclsf.metrics import Epoch, accuracy
    from tinyclsf.model_files import load_model, save_model
    from tinyclsf.modules import Classifier, Lambda, Preprocess
    from tinyclsf.trainer import Trainer
    from tinyclsf.training import fit, get_data, loss_batch

_HOME = {
    "Classifier": "modules",
    "DurationTime": "duration",
    "Epoch": "metrics",
    "Images": "data",
    "Lambda": "modules",
    "Preprocess": "modules",
    "Splits": "data",
    "TorchClassifier": "estimator",
    "Trainer": "trainer",
    "WrappedDataLoader": "loading",
    "accuracy": "metrics",
    "fit": "training",
    "get_data": "training",
    "load_model": "model_files",
    "loss_batch": "training",
    "save_model": "model_files",
}

__all__ = [
    "Classifier",
    "DurationTime",
    "Epoch",
    "Images",
    "Lambda",
    "Preprocess",
    "Splits",
    "TorchClassifier",
    "Trainer",
    "WrappedDataLoader",
    "accuracy",
    "fit",
    "get_data",
    "load_model",
    "loss_batch",
    "save_model",
]


def __getattr__(name: str) -> object:
    # Importing torch takes seconds; a name is fetched from its module on first use, so that `tinyclsf --help` need not wait.
    if name not in _HOME:
        raise AttributeError(f"module 'tinyclsf' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"tinyclsf.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
