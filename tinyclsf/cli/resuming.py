"""From the folder of a stopped run to the state that training goes on from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from tinyclsf.cli.config import Config
from tinyclsf.cli.console import Watch
from tinyclsf.data import differences
from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.runs.checkpoints import CHECKPOINT, PREVIOUS, load_checkpoint
from tinyclsf.trainer import Trainer


def state_of(folder: Path, watch: Watch) -> dict[str, Any] | None:
    """The state of a run's newest whole checkpoint, None for a run that was stopped before its first; each is said.

    Raises: ModelFileError if there are checkpoints and none is whole.
    """
    if not (folder / CHECKPOINT).exists() and not (folder / PREVIOUS).exists():
        watch.warn(f"{folder} has no checkpoint yet, so its training begins anew")
        return None
    checkpoint = load_checkpoint(folder)
    if checkpoint.warning is not None:
        watch.warn(checkpoint.warning)
    return checkpoint.state


def check_content(config: Config, content: dict[str, Any], *, resumed: bool, watch: Watch) -> None:
    """Hold the data to what it was in the run that a config file is of: other data is an error where that run goes on.

    Raises: ModelFileError if a run would go on with other data.
    """
    if config.content is None or config.content == content:
        return
    differing = differences(config.content, content)
    if resumed:
        raise ModelFileError(f"the data is not what run {config.path.parent} was begun with: {differing}; bring that back")
    watch.warn(f"the data is not that of {config}: {differing}")


def stretch(state: dict[str, Any], trainer: Trainer, folder: Path, epochs: int) -> None:
    """Make a state go on to so many epochs: its schedule is that of a run of so many, at its step.

    Raises: ConfigurationError if there are more epochs in the state already.
    """
    whole, begun = len(state["history"]), state["random_at_epoch_start"] is not None
    if epochs < whole + begun:
        found = f"is in epoch {whole + 1}" if begun else f"has {whole} epochs"
        raise ConfigurationError(f"run {folder} {found} already; give --epochs {whole + begun} or more")
    if trainer.schedule is None:
        return
    # Whatever the checkpoint has: a run that was stretched may have been killed before it saved one of its own.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch would have the optimizer step before its schedule
        for _ in range(state["steps"]):
            trainer.schedule.step()
    state["schedule"] = trainer.schedule.state_dict()
    for group, saved in zip(trainer.opt.param_groups, state["optimizer"]["param_groups"], strict=True):
        saved["lr"] = group["lr"]


def warn_of_versions(config: Config, watch: Watch) -> None:
    """Say where the numbers may differ from those of the run, as PyTorch is another one."""
    if config.torch is not None and config.torch != torch.__version__:
        watch.warn(
            f"{config} is of torch {config.torch} and this is {torch.__version__}: figures may differ in the last digits"
        )
