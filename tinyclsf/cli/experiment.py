"""One training run, from what was asked for to figures: build the parts, train, score the best weights once."""

from __future__ import annotations

import contextlib
import platform
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from tinyclsf.batches.loaders import loader
from tinyclsf.cli.building import Built, build
from tinyclsf.cli.console import Watch, position
from tinyclsf.cli.output import Output
from tinyclsf.cli.request import Request
from tinyclsf.cli.results import report, score, settings_rows
from tinyclsf.cli.resuming import check_content, state_of, stretch, warn_of_versions
from tinyclsf.errors import Interrupted, StorageError, TrainingError
from tinyclsf.loop.state import check_state
from tinyclsf.machine import distributed, launch
from tinyclsf.machine.devices import choose_device
from tinyclsf.machine.signals import SignalReceived, StopSignals, ended
from tinyclsf.machine.storage import remove_torn
from tinyclsf.machine.torch_errors import explained
from tinyclsf.metrics import best_of
from tinyclsf.registry.options import as_json
from tinyclsf.registry.plugins import own_version
from tinyclsf.runs.checkpoints import CHECKPOINT
from tinyclsf.runs.folder import (
    CONFIG,
    LOCK,
    METRICS,
    PREDICTIONS,
    STATE,
    clear_state,
    create_run,
    occupied,
    write_config,
    write_predictions,
    write_state,
)
from tinyclsf.runs.models import CARD, WEIGHTS, read_weights, save_card


def run_experiment(request: Request, signals: StopSignals) -> Output | None:
    """Train as asked and return the figures; of several processes the first one does, and keeps what is worth keeping."""
    device = choose_device(distributed.own_device(request.device.value))
    with distributed.joined(device), distributed.explained():
        if distributed.rank() > 0:
            folder = distributed.from_first(Path())
            with Watch("none", quiet=True) as watch:
                _train(*_prepare(request, device, folder, watch, signals), folder, signals)
            return None
        signals.hold()  # until there is somebody to remove a folder that stays empty
        folder = request.resumed or create_run(
            request.runs, request.run, default=f"{request.model.plugin.name}-{request.data.plugin.name}"
        )
        with occupied(folder), _removed_if_empty(folder), Watch(request.progress) as watch:
            built, state = _prepare(request, device, distributed.from_first(folder), watch, signals)
            with _recorded(folder):
                _write_down(request, built, folder, watch)
                _train(built, state, folder, signals)
                return _score(built, folder, watch, signals)


def _prepare(
    request: Request, device: torch.device, folder: Path, watch: Watch, signals: StopSignals
) -> tuple[Built, dict[str, Any] | None]:
    """What a run works with, and the state that it goes on from; in the folder of one that goes on nothing is touched yet."""
    with _ending("before training began", folder):
        signals.release()
        built = build(request, device, folder, watch)
        return built, _state(request, built, watch)


def _write_down(request: Request, built: Built, folder: Path, watch: Watch) -> None:
    with _ending("before training began", folder):
        watch.header(settings_rows(request, built))
        write_config(folder, _config(request, built))
        save_card(built.model, folder, plugin=request.model.described())


def _train(built: Built, state: dict[str, Any] | None, folder: Path, signals: StopSignals) -> None:
    trainer = built.trainer
    signals.on_first = trainer.stop
    try:
        with distributed.explained():
            trainer.fit(built.settings["epochs"].value, built.train_dl, built.valid_dl, resume=state)
    except SignalReceived as received:  # the second one
        raise _ended(received.number, f"at once, in epoch {trainer.epoch}", folder) from None
    if distributed.any_of(signals.received is not None):
        raise _ended(signals.received or signal.SIGTERM, position(trainer), folder)


def _state(request: Request, built: Built, watch: Watch) -> dict[str, Any] | None:
    """What a run goes on from; held, as any run of a config file, to the data that the file is of."""
    config, resumed = request.config, request.resumed
    if config is not None:
        check_content(config, built.content, resumed=resumed is not None, watch=watch)
        warn_of_versions(config, watch)
    state = None if resumed is None else state_of(resumed, watch)
    if resumed is not None and state is not None:
        check_state(state, ("optimizer",))
        stretch(state, built.trainer, resumed, built.settings["epochs"].value)
    return state


def _score(built: Built, folder: Path, watch: Watch, signals: StopSignals) -> Output:
    """Score the best weights on what they were not chosen by."""
    trainer = built.trainer
    best = best_of(trainer.history)
    if best is None:
        raise TrainingError(
            f"training was stopped {position(trainer)}, so there are no validated weights to score; "
            f"go on with {launch.command()} fit --resume {folder}"
        )
    name, dataset = built.splits.held_out
    batch_size = 2 * built.settings["batch_size"].value
    where = f"scoring the {name} images, with batches of {batch_size}"
    with _ending("after training, before the model was scored", folder), explained(lambda: where):
        signals.release()
        trainer.evaluated_model.load_state_dict(read_weights(folder / WEIGHTS))
        predictions = trainer.predict(loader(dataset, batch_size))
        write_predictions(folder, name, predictions)
        held_out = score(name, predictions, trainer.loss_func)
        signals.hold()  # the rest takes no time, and a run that is done was not stopped
        write_state(folder, "done", held_out=held_out)
    return report(folder, built.settings, trainer.history, best, held_out, watch.warnings)


def _config(request: Request, built: Built) -> dict[str, Any]:
    begun = request.config if request.resumed is not None else None
    return {
        "version": 1,
        "tinyclsf": own_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "created": (begun and begun.created) or datetime.now().astimezone().isoformat(timespec="seconds"),
        "commands": [*(begun.commands if begun else ()), request.command],
        "model": {**request.model.described(), "parameters": sum(each.numel() for each in built.model.parameters())},
        "data": {**request.data.described(), "content": built.content},
        "callbacks": [part.described() for part in request.callbacks],
        "settings": {name: {"value": as_json(value), "source": source} for name, (value, source) in built.settings.items()},
    }


def _ended(number: int, where: str, folder: Path) -> Interrupted:
    """The error of a run that a signal ended, with the way to go on."""
    if not (folder / CHECKPOINT).exists():
        return ended(number, f"{where}; nothing was saved yet")
    return ended(number, f"{where}; the run is saved in {folder}", tip=f"{launch.command()} fit --resume {folder}")


@contextlib.contextmanager
def _ending(where: str, folder: Path) -> Iterator[None]:
    """Say where a signal ended the run."""
    try:
        yield
    except SignalReceived as received:
        raise _ended(received.number, where, folder) from None


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove the folder of a run that ends before anything came into it."""
    try:
        yield
    except BaseException:
        if not (folder / CONFIG).exists():
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink(missing_ok=True)
                folder.rmdir()
        raise


@contextlib.contextmanager
def _recorded(folder: Path) -> Iterator[None]:
    """Write down how a run ended that did not end well; what it said of an earlier end is void from here on."""
    clear_state(folder)
    for name in (CONFIG, CARD, WEIGHTS, METRICS, PREDICTIONS, STATE):
        remove_torn(folder / name)
    try:
        yield
    except BaseException as error:
        if (folder / CONFIG).exists():
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            with contextlib.suppress(StorageError):  # what ended the run is worth more than a second error
                write_state(folder, "stopped" if stopped else "failed", error=str(error) or type(error).__name__)
        raise
