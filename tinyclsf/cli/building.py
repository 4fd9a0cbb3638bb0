"""The parts of a training run, built from what was asked for: data, model, loaders, and the Trainer with its callbacks."""

from __future__ import annotations

import copy
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinyclsf.analysis.checks import quick_check
from tinyclsf.batches.loaders import batches_of, loader
from tinyclsf.batches.sharing import Share
from tinyclsf.callbacks import EarlyStopping, EpochSchedule
from tinyclsf.cli.console import Watch
from tinyclsf.cli.request import Request
from tinyclsf.cli.settings import Settings, arguments_of
from tinyclsf.data import Splits, fingerprint
from tinyclsf.errors import ConfigurationError, DataError
from tinyclsf.machine import distributed
from tinyclsf.machine.randomness import seed_all
from tinyclsf.modules import Classifier
from tinyclsf.recipes import STEPPED_BY_EPOCH, make_augment, make_loss, make_optimizer, make_schedule
from tinyclsf.registry.components import build_model, build_splits
from tinyclsf.registry.options import Setting
from tinyclsf.runs.folder import METRICS
from tinyclsf.runs.keeping import BestModel, Checkpoints, history_lines
from tinyclsf.runs.models import WEIGHTS
from tinyclsf.trainer import Callback, Trainer
from tinyclsf.training import get_data


@dataclass(frozen=True)
class Built:
    """What a run works with; `content` is the fingerprint of its data, `settings` also hold what was chosen by itself."""

    splits: Splits
    content: dict[str, Any]
    model: Classifier
    trainer: Trainer
    train_dl: Any
    valid_dl: Any
    settings: Settings


def build(request: Request, device: torch.device, folder: Path, watch: Watch) -> Built:
    """Build everything; in several processes, those of one machine one after the other.

    Raises: DataError, PluginError or ConfigurationError as the parts do; DataError if processes have different data.
    """
    # A callback is made before the data is read, as it may find that something is missing.
    asked_for = [part(folder, request.model.plugin.name) for part in request.callbacks] if distributed.rank() == 0 else []
    settings = dict(request.settings)
    seed = settings["seed"].value
    seed_all(seed)
    with distributed.first_on_each_machine():
        splits = build_splits(request.data)
    content = fingerprint(splits)
    if distributed.any_of(content != distributed.from_first(content)):
        raise DataError("the processes have different data; give them all the same files and options")
    seed_all(seed)  # once more: the weights do not depend on what the data set drew
    model = build_model(request.model, splits)
    if distributed.rank() == 0:
        loss_func = make_loss(settings["loss"].value, **arguments_of(settings, "loss"))
        for finding in quick_check(model, splits, loss_func):
            watch.warn(finding.sentence)
    if isinstance(splits.train, Sized):
        _check_last_batch(model, len(splits.train), settings["batch_size"].value)
    train_dl, valid_dl = _loaders(splits, settings["batch_size"].value)
    trainer = _build_trainer(model, settings, device, batches_of(train_dl))
    trainer.callbacks += _callbacks(settings, folder, [*asked_for, watch])
    settings |= {
        "precision": Setting(trainer.precision, _chosen(settings["precision"])),
        "device": Setting(str(trainer.device) if distributed.size() == 1 else trainer.device.type, request.device.source),
        "memory_format": Setting(trainer.memory_format, "auto"),
        "run": Setting(str(folder), "--resume" if request.resumed else "default" if request.run is None else "--run"),
    }
    if distributed.size() > 1:
        settings["processes"] = Setting(distributed.size(), "torchrun")
    return Built(splits, content, model, trainer, train_dl, valid_dl, settings)


def _check_last_batch(model: Classifier, images: int, batch_size: int) -> None:
    """Find out before training whether a batch of one image is too little for the model, as it is for batch norm.

    Raises: ConfigurationError if it is.
    """
    size = distributed.size()
    if size > 1:  # the last batch never has fewer than two images for each process
        found = f"batches of {min(batch_size, images)}, shared by {size} processes,"
        alone = min(batch_size, images) // size == 1
    else:
        found = f"{images:,} training images in batches of {batch_size}"
        alone = images % batch_size == (1 if batch_size > 1 else 0)
    if not alone:
        return
    try:
        with torch.random.fork_rng(devices=[]):  # the trial draws nothing from what training draws
            copy.deepcopy(model).train()(torch.zeros(1, *model.image_shape))
    except ValueError as error:
        raise ConfigurationError(
            f"{found} leave a batch of 1, which the model's batch norm cannot train on; give another --batch-size"
        ) from error


def _loaders(splits: Splits, batch_size: int) -> tuple[Any, Any]:
    if distributed.size() == 1:
        return get_data(splits.train, splits.valid, batch_size)
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())  # all have the same one now: they go on in the order of a single process
    share = Share(distributed.rank(), distributed.size(), generator)
    loaders = loader(splits.train, batch_size, shuffle=True, share=share), loader(splits.valid, 2 * batch_size, share=share)
    # All have the same weights; what they draw from now on, as for augmentation, is each one's own.
    seed_all(int(torch.randint(2**32, (share.size,))[share.rank]))
    return loaders


def _build_trainer(model: Classifier, settings: Settings, device: torch.device, batches: int | None) -> Trainer:
    value = {name: setting.value for name, setting in settings.items()}
    opt = make_optimizer(value["optimizer"], model.parameters(), **arguments_of(settings, "optimizer"))
    steps = None if batches is None else -(-batches // value["accumulate"])
    stepped = make_schedule(value["schedule"], opt, value["epochs"], steps, **arguments_of(settings, "schedule"))
    by_epoch = [EpochSchedule(stepped)] if stepped is not None and value["schedule"] in STEPPED_BY_EPOCH else []
    return Trainer(
        model,
        make_loss(value["loss"], **arguments_of(settings, "loss")),
        opt,
        device=str(device),
        precision=value["precision"],
        compile=value["compile"],
        schedule=None if by_epoch else stepped,
        augment=make_augment(value["augment"], len(model.classes)),
        accumulate=value["accumulate"],
        clip_norm=value["clip_norm"],
        ema_decay=value["ema_decay"],
        callbacks=by_epoch,
    )


def _callbacks(settings: Settings, folder: Path, more: list[Callback]) -> list[Callback]:
    """What steers is in every process, what writes and shows in the first; Checkpoints come last, as they hold the rest."""
    patience = settings["patience"].value
    steering = [EarlyStopping(patience)] if patience is not None else []
    writing = [BestModel(folder / WEIGHTS), history_lines(folder / METRICS), *more] if distributed.rank() == 0 else []
    return [*steering, *writing, Checkpoints(folder, settings["checkpoint_every"].value)]


def _chosen(precision: Setting) -> str:
    return "auto" if precision.value == "auto" else precision.source
