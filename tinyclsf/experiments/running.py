"""An experiment carried out: its folder, its training, and one score of its best weights on held-out images."""

from __future__ import annotations

import contextlib
import math
import platform
import signal
import traceback
import warnings
from collections.abc import Iterator, Sized
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from tinyclsf.batches.loaders import loader
from tinyclsf.errors import ConfigurationError, Interrupted, StorageError, TinyclsfWarning, TrainingError, printable
from tinyclsf.experiments.building import Built, build
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.experiments.header import header
from tinyclsf.experiments.resuming import check_kept, state_to_resume
from tinyclsf.loop.evaluation import score
from tinyclsf.machine import distributed, launch
from tinyclsf.machine.devices import choose_device
from tinyclsf.machine.signals import SignalReceived, StopSignals, stopped_by
from tinyclsf.machine.storage import remove_torn
from tinyclsf.machine.torch_errors import translated
from tinyclsf.metrics import best_of, loss_of
from tinyclsf.progress.display import Progress, position
from tinyclsf.progress.telling import counted
from tinyclsf.registry.components import Component
from tinyclsf.registry.options import Setting
from tinyclsf.registry.plugins import blamed_for_batches, blamed_on, own_version
from tinyclsf.runs.checkpoints import CHECKPOINT
from tinyclsf.runs.config_file import ConfigFile, read_run_config
from tinyclsf.runs.ending import clear_state, write_state
from tinyclsf.runs.folder import (
    CONFIG,
    RUN_FILES,
    STATE,
    create_run,
    occupied,
    removed_unless_begun,
    write_config,
    write_left_out,
    write_predictions,
)
from tinyclsf.runs.models import CARD, WEIGHTS, restore_weights, save_card
from tinyclsf.runs.trained_run import TrainedRun


def carry_out(
    experiment: Experiment, *, name: str | None, root: Path, progress: Progress, signals: StopSignals, command: str
) -> TrainedRun:
    """Train, score, and keep all in a run folder.

    In several processes each trains its share, and the first one keeps and scores.

    name: the run folder's, or None for MODEL-DATA-TIME; a run that goes on has its own.
    root: the folder that run folders are in.
    progress: shows how it goes.
    signals: Ctrl-C and SIGTERM, which save and stop.
    command: what the run writes down as the command that it was asked for by.
    Raises: every TinyclsfError there is; Interrupted or a kind of it where a signal ended it.
    """
    _check_readable(root)
    device = choose_device(distributed.own_device(experiment.settings["device"].value))
    source = "--resume" if experiment.request.resumed else "default" if name is None else "--run"
    with distributed.joined(device), distributed.diagnosed():
        if distributed.rank() > 0:
            return _follow(experiment, device, source, signals)
        signals.hold()  # until there is somebody to remove a folder that stays empty
        default = f"{experiment.model.plugin.name}-{experiment.data.plugin.name}"
        folder = experiment.request.resumed or create_run(root, name, default=default)
        new = contextlib.nullcontext() if experiment.request.resumed else removed_unless_begun(folder)
        with occupied(folder), new:
            distributed.from_first(folder)
            built, state = _prepare(experiment, device, folder, source, signals)
            clear_state(folder)  # what it said of an earlier end is void from here on
            for each in (*RUN_FILES, CARD, WEIGHTS, CHECKPOINT):
                remove_torn(folder / each)
            with _recorded(folder), _blamed(experiment, built):
                with _ending("before training began", folder):
                    write_config(folder, _config(experiment, built, command))
                    write_left_out(folder, built.splits.left_out)
                    config = read_run_config(folder)
                    progress.header(header(config, built))
                    if progress.verbose:
                        progress.header(
                            [(name, f"{value} ({source})" if source else value) for name, value, source in config.rows()]
                        )
                    plugin = experiment.model
                    save_card(built.model, folder, plugin=plugin.described() if plugin.plugin.package else None)
                _train(built, state, folder, signals, progress)
                _score(built, folder, signals)
            distributed.any_of(False)  # the others have waited for the scores
            return _opened(folder, built)


def _check_readable(root: Path) -> None:
    """Find out whether files of safetensors can be read there, before a run is trained whose weights nobody could read.

    Raises: ConfigurationError if they cannot.
    """
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"runs cannot be kept in {printable(root)}: its name is not UTF-8 here, which files of safetensors need; "
            "choose another --runs, or a locale with UTF-8"
        ) from None


def _follow(experiment: Experiment, device: torch.device, source: str, signals: StopSignals) -> TrainedRun:
    """Be one of the other processes: they train, and open what the first one kept."""
    folder = distributed.from_first(Path())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TinyclsfWarning)  # the first one has said it
        built, state = _prepare(experiment, device, folder, source, signals)
    with _recorded(folder), _blamed(experiment, built):
        _train(built, state, folder, signals, Progress("none"))
    distributed.any_of(False)
    return _opened(folder, built)


def _prepare(
    experiment: Experiment, device: torch.device, folder: Path, source: str, signals: StopSignals
) -> tuple[Built, dict[str, Any] | None]:
    """What a run works with, and the state that it goes on from; in the folder of one that goes on nothing is touched yet."""
    with _ending("before training began", folder):
        signals.release()
        built = build(experiment, device, folder, Setting(str(folder), source))
        return built, state_to_resume(experiment, built)


def _train(built: Built, state: dict[str, Any] | None, folder: Path, signals: StopSignals, progress: Progress) -> None:
    trainer = built.trainer
    signals.on_first = trainer.stop
    try:
        with distributed.diagnosed():
            trainer.fit(built.settings["epochs"].value, built.train_dl, built.valid_dl, resume=state, progress=progress)
    except SignalReceived as received:  # the second one
        raise _stopped(received.number, f"at once, in epoch {trainer.epoch}", folder) from None
    if distributed.any_of(signals.received is not None):
        raise _stopped(signals.received or signal.SIGTERM, position(trainer), folder)


def _score(built: Built, folder: Path, signals: StopSignals) -> None:
    trainer = built.trainer
    best = best_of(trainer.history)
    if best is None:
        raise TrainingError(
            f"training was stopped {position(trainer)}, so there are no validated weights to score; "
            f"go on with {launch.resume_command(folder)}"
        )
    name, dataset = built.splits.held_out
    batch_size = 2 * built.settings["batch_size"].value
    where = f"scoring the {name} images, with batches of {batch_size}"
    with _ending("after training, before the model was scored", folder), translated(lambda: where):
        signals.release()
        check_kept(folder, best)
        restore_weights(trainer.evaluated_model, folder / WEIGHTS)
        known = built.computed_once and name == "valid"
        batches = built.valid_dl if known else loader(dataset, batch_size)
        images = len(dataset) if isinstance(dataset, Sized) else None
        predictions = trainer.predict(batches if images is None else counted(batches, f"scoring the {name} images", images))
        signals.hold()  # the rest takes no time, and a run that is done was not stopped
        write_predictions(folder, name, predictions)
        held_out = score(name, predictions, trainer.loss_func)
        if not math.isfinite(held_out.loss):
            raise TrainingError(f"the loss on the {name} images is {held_out.loss}; train again with a lower learning rate")
        write_state(folder, "done", held_out=held_out)


def _opened(folder: Path, built: Built) -> TrainedRun:
    restore_weights(built.model, folder / WEIGHTS)
    return TrainedRun(folder, read_run_config(folder), built.trainer.history, built.model.cpu().eval())


def _config(experiment: Experiment, built: Built, command: str) -> dict[str, Any]:
    """What `config.json` says: all that it takes to run it again, and what was found out as it was built."""
    before = experiment.request.config if experiment.request.resumed is not None else ConfigFile()
    return {
        "version": 1,
        "tinyclsf": own_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "created": before.created or datetime.now().astimezone().isoformat(timespec="seconds"),
        "commands": [*before.commands, command],
        "model": {**_described(experiment.model), "parameters": sum(each.numel() for each in built.model.parameters())},
        "data": {**_described(experiment.data), "content": built.content},
        "callbacks": [_described(each) for each in experiment.callbacks],
        "settings": {name: {"value": value, "source": source} for name, (value, source) in built.settings.items()},
    }


def _described(component: Component) -> dict[str, Any]:
    return {**component.described(), "sources": {name: setting.source for name, setting in component.options.items()}}


def _stopped(number: int, where: str, folder: Path) -> Interrupted:
    if not (folder / CHECKPOINT).exists():
        return stopped_by(number, f"{where}; nothing was saved yet")
    return stopped_by(number, f"{where}; the run is saved in {folder}", tip=launch.resume_command(folder))


@contextlib.contextmanager
def _ending(where: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except SignalReceived as received:
        raise _stopped(received.number, where, folder) from None


@contextlib.contextmanager
def _blamed(experiment: Experiment, built: Built) -> Iterator[None]:
    """Blame on a plugin what came out of its network or its data, as the frames that an error went through tell."""
    try:
        with blamed_for_batches(experiment.data.plugin):
            yield
    except Exception as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        networks = built.model.network, built.trainer.evaluated_model.network
        if any(frame.f_locals.get("self") is network for frame in frames for network in networks):
            blame = blamed_on(experiment.model.plugin, "failed in its forward pass")
        elif any(frame.f_code is loss_of.__code__ and not isinstance(frame.f_locals["out"], torch.Tensor) for frame in frames):
            blame = blamed_on(experiment.model.plugin, "gave something other than a tensor of logits")
        else:
            raise
        with blame:
            raise


@contextlib.contextmanager
def _recorded(folder: Path) -> Iterator[None]:
    """Write down how a run ended that did not end well; of several processes the first to fail does, as it knows why."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        rank = distributed.rank()
        if (folder / CONFIG).exists() and not (folder / STATE).exists() and not (stopped and rank > 0):
            reason = f"{f'process {rank}: ' if rank > 0 else ''}{str(error) or type(error).__name__}"
            with contextlib.suppress(StorageError):  # what ended the run is worth more than a second error
                write_state(folder, "stopped" if stopped else "failed", error=reason)
        raise
