"""Train image classifiers: `loss_batch`, `fit` and `get_data`, a device-aware `Trainer`, plugins and a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinyclsf.machine.names_when_used import names_when_used

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

__getattr__, __dir__, __all__ = names_when_used(
    __name__,
    {
        "analysis.assessment": "assess",
        "analysis.checks": "check",
        "analysis.comparison": "compare",
        "analysis.curves": "plot",
        "analysis.report": "write_report",
        "analysis.summary": "summarize",
        "batches.loaders": "WrappedDataLoader",
        "data": "Images Splits",
        "deployment.export": "export_model",
        "deployment.exported_files": "load_exported",
        "deployment.prediction": "predict_files",
        "drawing.samples": "show_samples",
        "estimator": "TorchClassifier",
        "experiments.experiment": "Experiment",
        "experiments.train": "train",
        "machine.duration": "DurationTime",
        "metrics": "Epoch accuracy",
        "modules": "Classifier Lambda Preprocess",
        "progress.display": "Progress",
        "runs.models": "load_model save_model",
        "runs.trained_run": "load_run load_splits",
        "scripting.script": "write_script",
        "trainer": "Trainer",
        "training": "fit get_data loss_batch",
    },
)
