"""`tinyclsf.train`: what `tinyclsf fit` does, as a Python call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from tinyclsf.errors import ConfigurationError
from tinyclsf.experiments.experiment import Experiment, describe
from tinyclsf.experiments.request import PYTHON, Asked, Request, make_request
from tinyclsf.experiments.running import carry_out
from tinyclsf.machine.arguments import as_path, check_type
from tinyclsf.machine.signals import StopSignals
from tinyclsf.progress.display import Progress
from tinyclsf.runs.folder import check_run_name
from tinyclsf.runs.listing import find_run
from tinyclsf.runs.trained_run import TrainedRun

if TYPE_CHECKING:
    from typing_extensions import Unpack


def train(
    model: str | Callable[..., nn.Module] | Experiment | None = None,
    *,
    resume: str | Path | None = None,
    run: str | None = None,
    runs: str | Path | None = None,
    progress: bool | Progress | None = None,
    **asked: Unpack[Asked],
) -> TrainedRun:
    """Train a model, keep its best weights in a run folder, and score them once on held-out images.

    It does what `tinyclsf fit` does, and ends with the same weights and files. Ctrl-C saves and stops.

    model: a name, a function or class of (image_shape, num_classes) that returns a network, or an `Experiment`.
    resume: the name or folder of a run to resume.
    run: the name of the run folder; by default MODEL-DATA-TIME.
    runs: the folder for run folders; by default $TINYCLSF_RUNS, or "runs" if that is not set.
    progress: by default shown in a notebook and on a terminal; True shows it everywhere, False nowhere.
    asked: data, options and settings, named as in `Asked`: data, data_dir, data_options, model_options, callbacks,
    callback_options, config, and the settings of `tinyclsf fit`: epochs, batch_size, lr and so on.
    Raises: a TinyclsfError, with the message of the command line.
    """
    root = as_path("runs", os.environ.get("TINYCLSF_RUNS") or "runs" if runs is None else runs)
    check_type("run", run, str, type(None), wanted="the name of a run folder")
    shown = Progress.of(progress)
    if resume is not None and (run is not None or "config" in asked):
        raise ConfigurationError("a run that is resumed goes on in its own folder; leave out run and config")
    if resume is not None and isinstance(model, Experiment):
        raise ConfigurationError("a run goes on as it was begun; leave out the experiment, or resume")
    if run is not None:
        check_run_name(run)
    if isinstance(model, Experiment):
        experiment = model.with_(**asked) if asked else model
    else:
        folder = None if resume is None else find_run(root, str(as_path("resume", resume)))
        experiment = describe(make_request(model, resume=folder, **asked))
    command = _as_written(experiment.request, resume)
    with StopSignals() as signals, shown:
        return carry_out(experiment, name=run, root=root, progress=shown, signals=signals, command=command)


def _as_written(request: Request, resume: str | Path | None) -> str:
    """The call, by what it asked for: a model of Python's has its name there, and other objects are left out."""
    arguments = [repr(request.model.name)] if resume is None else [f"resume={str(resume)!r}"]
    chosen: dict[str, Any] = {
        "data": request.data.name if request.data_source == PYTHON and request.data.package is not None else None,
        "data_dir": None if request.data_dir is None else str(request.data_dir),
        "model_options": request.model_options,
        "data_options": request.data_options,
        "callbacks": [each for each in request.callbacks if isinstance(each, str)],
        "callback_options": request.callback_options,
        "config": None if resume is not None or request.config.path is None else str(request.config.path),
    }
    arguments += [f"{name}={value!r}" for name, value in chosen.items() if value]
    arguments += [f"{name}={setting.value!r}" for name, setting in request.settings.items()]
    return f"tinyclsf.train({', '.join(arguments)})"
