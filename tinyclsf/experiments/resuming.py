"""From the folder of a stopped run to the state that training goes on from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tinyclsf.batches.loaders import batches_of
from tinyclsf.data import differences
from tinyclsf.errors import ConfigurationError, ModelFileError, TinyclsfWarning
from tinyclsf.experiments.building import Built
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.loop.state_checks import check_state
from tinyclsf.machine import launch
from tinyclsf.metrics import Epoch, best_of
from tinyclsf.runs.checkpoints import CHECKPOINT, PREVIOUS, load_checkpoint
from tinyclsf.runs.folder import is_there
from tinyclsf.runs.models import WEIGHTS, restore_weights, weights_epoch


def state_to_resume(experiment: Experiment, built: Built) -> dict[str, Any] | None:
    """The state that a run goes on from, None for one that begins; its data is held to what its config file tells.

    Raises: ModelFileError if a run would go on with other data, or none of its checkpoints is whole; ConfigurationError if it
    has more epochs already.
    """
    config, folder = experiment.request.config, experiment.request.resumed
    differing = "" if config.content is None else differences(config.content, built.content)
    if differing and folder is not None:
        raise ModelFileError(f"the data is not what run {folder} was begun with: {differing}; bring that back")
    if differing:
        _warn(f"the data is not that of {config}: {differing}")
    if config.versions.torch not in (None, torch.__version__):
        found = f"{config} is of torch {config.versions.torch} and this is {torch.__version__}"
        _warn(f"{found}: figures may differ in the last digits")
    state = None if folder is None else _newest_state(folder)
    if folder is not None and state is not None:
        with _from_checkpoint(folder):
            check_state(state, ("optimizer",))
        if state["history"]:  # now, and not after training, so that a run whose best weights are broken stays as it is
            restore_weights(built.model, folder / WEIGHTS)
        with _from_checkpoint(folder):
            _stretch(state, built, folder)
            built.trainer.take_up(state)  # before anything in the folder is touched
        best = best_of(built.trainer.history)
        if best is not None and len(built.trainer.history) == built.settings["epochs"].value:
            check_kept(folder, best)  # as no more training will make it right
    return state


def check_kept(folder: Path, best: Epoch) -> None:
    """Hold the weights that a run keeps to its best epoch, from which a kill between two files can part them.

    Raises: ModelFileError if they are of another one.
    """
    if (kept := weights_epoch(folder / WEIGHTS)) not in (None, best.epoch):
        raise ModelFileError(
            f"{folder / WEIGHTS} holds the weights of epoch {kept}, and the best epoch is {best.epoch}; "
            f"train epoch {kept} once more with {launch.resume_command(folder)} --epochs {kept}"
        )


def _newest_state(folder: Path) -> dict[str, Any] | None:
    if not is_there(folder / CHECKPOINT) and not is_there(folder / PREVIOUS):
        _warn(f"{folder} has no checkpoint yet, so its training begins anew")
        return None
    checkpoint = load_checkpoint(folder)
    if checkpoint.warning is not None:
        _warn(checkpoint.warning)
    return checkpoint.state


@contextmanager
def _from_checkpoint(folder: Path) -> Iterator[None]:
    """Say of an error that it is the checkpoint's."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"run {folder} cannot go on from its checkpoint: {error}") from error


def _stretch(state: dict[str, Any], built: Built, folder: Path) -> None:
    """Make a state go on to as many epochs as are wanted: its schedule is that of a run of so many, at its step."""
    trainer, epochs = built.trainer, built.settings["epochs"].value
    whole, begun = len(state["history"]), state["random_at_epoch_start"] is not None
    if epochs < whole + begun:
        found = f"is in epoch {whole + 1}" if begun else f"has {whole} epochs"
        raise ConfigurationError(f"run {folder} {found} already; give --epochs {whole + begun} or more")
    if trainer.schedule is None or state["optimizer"] is None:  # the latter is refused as it is taken up
        return
    batches = batches_of(built.train_dl)
    if batches is not None and state["steps"] > batches * (whole + begun):
        raise ModelFileError(f"it has made {state['steps']} steps in {whole + begun} epochs of {batches} batches")
    # Whatever the checkpoint has: a run that was stretched may have been killed before it saved one of its own.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch would have the optimizer step before its schedule
        for _ in range(state["steps"]):
            trainer.schedule.step()
    state["schedule"] = trainer.schedule.state_dict()
    for group, saved in zip(trainer.opt.param_groups, state["optimizer"]["param_groups"], strict=False):
        saved["lr"] = group["lr"]


def _warn(message: str) -> None:
    warnings.warn(message, TinyclsfWarning, stacklevel=3)
