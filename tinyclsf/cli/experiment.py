"""One training run from names to figures: build the parts, train, score the best weights once, write the run folder."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinyclsf.callbacks import BestModel, EpochSchedule, JsonLines
from tinyclsf.checkpoint import WEIGHTS, read_weights, save_card
from tinyclsf.cli.console import Mode, Watch
from tinyclsf.cli.parts import Part, build_model, build_splits, check_last_batch, gives_probabilities, load_part
from tinyclsf.cli.report import Report
from tinyclsf.cli.results import report, score, settings_rows
from tinyclsf.cli.settings import Setting, arguments_of, resolve
from tinyclsf.data import loader
from tinyclsf.errors import Interrupted
from tinyclsf.modules import Classifier
from tinyclsf.options import as_json
from tinyclsf.recipes import STEPPED_BY_EPOCH, make_augment, make_loss, make_optimizer, make_schedule
from tinyclsf.registry import Plugin, own_version
from tinyclsf.runs import METRICS, check_run_name, create_run, write_config, write_predictions
from tinyclsf.trainer import Trainer, batches_of, choose_device
from tinyclsf.training import get_data


@dataclass(frozen=True)
class Request:
    """What the person asked for; None where nothing was said."""

    model: Plugin
    data: Plugin
    model_options: dict[str, str]
    data_options: dict[str, str]
    data_source: str
    settings: dict[str, Any]
    data_dir: Path | None
    device: str | None
    run: str | None
    runs: Path
    progress: Mode


def run_experiment(request: Request) -> Report:
    """Train as asked and return the figures; what can be checked is checked before any data is read."""
    device = choose_device(request.device or "auto")
    if request.run is not None:
        check_run_name(request.run)
    model_part = load_part(request.model, request.model_options)
    data_part = load_part(request.data, request.data_options, data_dir=request.data_dir)
    settings = resolve(request.settings, getattr(model_part.factory, "recipe", None))
    folder = create_run(request.runs, request.run, default=f"{request.model.name}-{request.data.name}")
    with _removed_if_empty(folder), Watch(request.progress) as watch:
        splits = build_splits(data_part)
        torch.manual_seed(settings["seed"].value)
        model = build_model(model_part, splits)
        if gives_probabilities(model):
            watch.warn(
                f"the outputs of model {request.model.name} sum to one already, and the loss takes their softmax once more, "
                "which flattens the gradient; a model should give logits"
            )
        if isinstance(splits.train, Sized):
            check_last_batch(model, len(splits.train), settings["batch_size"].value)
        train_dl, valid_dl = get_data(splits.train, splits.valid, settings["batch_size"].value)
        trainer = _build_trainer(model, settings, device, batches_of(train_dl))
        best = BestModel(folder / WEIGHTS)
        trainer.callbacks += [JsonLines(folder / METRICS), best, watch]
        settings |= {
            "device": Setting(str(trainer.device), "auto" if request.device in (None, "auto") else "--device"),
            "memory_format": Setting(trainer.memory_format, "auto"),
            "run": Setting(str(folder), "default" if request.run is None else "--run"),
        }
        watch.header(settings_rows(data_part, request.data_source, splits, model_part, settings, trainer))
        write_config(folder, _config(model_part, data_part, settings))
        save_card(model, folder, plugin=model_part.described())
        try:
            history = trainer.fit(settings["epochs"].value, train_dl, valid_dl)
        except KeyboardInterrupt:
            kept = f"the best weights, of epoch {best.row.epoch}, are kept" if best.row else "no epoch was over"
            raise Interrupted(f"interrupted in epoch {trainer.epoch}; {kept} in {folder}") from None
        assert best.row is not None  # every epoch's row is finite, so the first was kept at the least
        model.load_state_dict(read_weights(folder / WEIGHTS))
        name, dataset = ("valid", splits.valid) if splits.test is None else ("test", splits.test)
        predictions = trainer.predict(loader(dataset, 2 * settings["batch_size"].value))
        write_predictions(folder, name, predictions)
    return report(folder, settings, history, best.row, score(name, predictions, trainer.loss_func), watch.warnings)


def _build_trainer(model: Classifier, settings: dict[str, Setting], device: torch.device, batches: int | None) -> Trainer:
    loss, optimizer, schedule, augment = (settings[name].value for name in ("loss", "optimizer", "schedule", "augment"))
    opt = make_optimizer(optimizer, model.parameters(), **arguments_of(settings, "optimizer"))
    stepped = make_schedule(schedule, opt, settings["epochs"].value, batches, **arguments_of(settings, "schedule"))
    by_epoch = [EpochSchedule(stepped)] if stepped is not None and schedule in STEPPED_BY_EPOCH else []
    return Trainer(
        model,
        make_loss(loss, **arguments_of(settings, "loss")),
        opt,
        device=str(device),
        schedule=None if by_epoch else stepped,
        augment=make_augment(augment),
        callbacks=by_epoch,
    )


def _config(model: Part, data: Part, settings: dict[str, Setting]) -> dict[str, Any]:
    return {
        "version": 1,
        "tinyclsf": own_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "model": model.described(),
        "data": data.described(),
        "settings": {name: {"value": as_json(value), "source": source} for name, (value, source) in settings.items()},
    }


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Leave no empty run folder behind where something failed before there was anything to keep."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
