"""Train image classifiers: `loss_batch`, `fit` and `get_data`, a device-aware `Trainer`, plugins and a command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyclsf.analysis.assessment import assess
    from tinyclsf.analysis.checks import check
    from tinyclsf.analysis.comparison import compare
    from tinyclsf.analysis.report import write_report
    from tinyclsf.analysis.summary import summarize
    from tinyclsf.batches.loaders import WrappedDataLoader
    from tinyclsf.data import Images, Splits
    from tinyclsf.deployment.export import export_model
    from tinyclsf.deployment.exported_files import load_exported
    from tinyclsf.deployment.prediction import predict_files
    from tinyclsf.drawing.samples import show_samples
    from tinyclsf.estimator import TorchClassifier
    from tinyclsf.experiments.experiment import Experiment
    from tinyclsf.experiments.train import train
    from tinyclsf.machine.duration import DurationTime
    from tinyclsf.metrics import Epoch, accuracy
    from tinyclsf.modules import Classifier, Lambda, Preprocess
    from tinyclsf.runs.models import load_model, save_model
    from tinyclsf.runs.trained_run import load_run, load_splits
    from tinyclsf.scripting.script import write_script
    from tinyclsf.trainer import Trainer
    from tinyclsf.training import fit, get_data, loss_batch

_HOME = {
    "Classifier": "modules",
    "DurationTime": "machine.duration",
    "Epoch": "metrics",
    "Experiment": "experiments.experiment",
    "Images": "data",
    "Lambda": "modules",
    "Preprocess": "modules",
    "Splits": "data",
    "TorchClassifier": "estimator",
    "Trainer": "trainer",
    "WrappedDataLoader": "batches.loaders",
    "accuracy": "metrics",
    "assess": "analysis.assessment",
    "check": "analysis.checks",
    "compare": "analysis.comparison",
    "export_model": "deployment.export",
    "fit": "training",
    "get_data": "training",
    "load_exported": "deployment.exported_files",
    "load_model": "runs.models",
    "load_run": "runs.trained_run",
    "load_splits": "runs.trained_run",
    "loss_batch": "training",
    "predict_files": "deployment.prediction",
    "save_model": "runs.models",
    "show_samples": "drawing.samples",
    "summarize": "analysis.summary",
    "train": "experiments.train",
    "write_report": "analysis.report",
    "write_script": "scripting.script",
}

__all__ = [
    "Classifier",
    "DurationTime",
    "Epoch",
    "Experiment",
    "Images",
    "Lambda",
    "Preprocess",
    "Splits",
    "TorchClassifier",
    "Trainer",
    "WrappedDataLoader",
    "accuracy",
    "assess",
    "check",
    "compare",
    "export_model",
    "fit",
    "get_data",
    "load_exported",
    "load_model",
    "load_run",
    "load_splits",
    "loss_batch",
    "predict_files",
    "save_model",
    "show_samples",
    "summarize",
    "train",
    "write_report",
    "write_script",
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
