"""Train image classifiers: `loss_batch`, `fit` and `get_data`, a device-aware `Trainer`, plugins and a command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyclsf.analysis.assessment import assess as assess
    from tinyclsf.analysis.checks import check as check
    from tinyclsf.analysis.comparison import compare as compare
    from tinyclsf.analysis.curves import plot as plot
    from tinyclsf.analysis.report import write_report as write_report
    from tinyclsf.analysis.summary import summarize as summarize
    from tinyclsf.batches.loaders import WrappedDataLoader as WrappedDataLoader
    from tinyclsf.data import Images as Images, Splits as Splits
    from tinyclsf.deployment.export import export_model as export_model
    from tinyclsf.deployment.exported_files import load_exported as load_exported
    from tinyclsf.deployment.prediction import predict_files as predict_files
    from tinyclsf.drawing.samples import show_samples as show_samples
    from tinyclsf.estimator import TorchClassifier as TorchClassifier
    from tinyclsf.experiments.experiment import Experiment as Experiment
    from tinyclsf.experiments.train import train as train
    from tinyclsf.machine.duration import DurationTime as DurationTime
    from tinyclsf.metrics import Epoch as Epoch, accuracy as accuracy
    from tinyclsf.modules import Classifier as Classifier, Lambda as Lambda, Preprocess as Preprocess
    from tinyclsf.progress.display import Progress as Progress
    from tinyclsf.runs.models import load_model as load_model, save_model as save_model
    from tinyclsf.runs.trained_run import load_run as load_run, load_splits as load_splits
    from tinyclsf.scripting.script import write_script as write_script
    from tinyclsf.trainer import Trainer as Trainer
    from tinyclsf.training import fit as fit, get_data as get_data, loss_batch as loss_batch

_HOME = {
    "Classifier": "modules",
    "DurationTime": "machine.duration",
    "Epoch": "metrics",
    "Experiment": "experiments.experiment",
    "Images": "data",
    "Lambda": "modules",
    "Preprocess": "modules",
    "Progress": "progress.display",
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
    "plot": "analysis.curves",
    "predict_files": "deployment.prediction",
    "save_model": "runs.models",
    "show_samples": "drawing.samples",
    "summarize": "analysis.summary",
    "train": "experiments.train",
    "write_report": "analysis.report",
    "write_script": "scripting.script",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    # Importing torch takes seconds; a name is fetched from its module on first use, so that `tinyclsf --help` need not wait.
    if name not in _HOME:
        raise AttributeError(f"module 'tinyclsf' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"tinyclsf.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
