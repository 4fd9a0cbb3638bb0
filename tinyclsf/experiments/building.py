"""From an experiment to what trains it: data, model, loaders, and the Trainer with its callbacks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from tinyclsf.analysis.checks import quick_check
from tinyclsf.augment.named import Augmentation
from tinyclsf.batches.loaders import batches_of, loader
from tinyclsf.batches.sharing import Share
from tinyclsf.callbacks import EarlyStopping, EpochSchedule, Unfreeze
from tinyclsf.data import Splits, fingerprint, train_labels
from tinyclsf.errors import ConfigurationError, DataError, TinyclsfWarning
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.experiments.settings import Settings, arguments_of
from tinyclsf.finetuning import FREEZES, freezes_backbone, head_of, parameter_groups, put_in_training
from tinyclsf.loop.features import OnFeatures, features_of
from tinyclsf.machine import distributed
from tinyclsf.machine.devices import choose_memory_format, choose_precision
from tinyclsf.machine.randomness import seed_all
from tinyclsf.modules import Classifier
from tinyclsf.recipes import STEPPED_BY_EPOCH, balanced_weights, make_loss, make_optimizer, make_schedule
from tinyclsf.registry.components import Component, build_model, build_splits, check_can_learn
from tinyclsf.registry.options import Setting
from tinyclsf.registry.plugins import blamed_for_batches
from tinyclsf.runs.folder import METRICS
from tinyclsf.runs.keeping import BestModel, Checkpoints, history_lines
from tinyclsf.runs.models import WEIGHTS
from tinyclsf.trainer import Callback, Trainer
from tinyclsf.training import LossFunc, get_data


@dataclass(frozen=True)
class Built:
    """What a run works with; `content` is the fingerprint of its data, and nothing of `settings` is "auto" any more."""

    splits: Splits
    content: dict[str, Any]
    model: Classifier
    trainer: Trainer
    train_dl: Any
    valid_dl: Any
    settings: Settings
    computed_once: bool  # what the frozen backbone makes of the images


def build(experiment: Experiment, device: torch.device, folder: Path, run: Setting) -> Built:
    """Build everything; in several processes, those of one machine one after the other.

    `run` is the run's folder as a setting.
    Raises: DataError, PluginError or ConfigurationError as the parts do; DataError if processes have different data.
    """
    settings = experiment.settings
    # A callback is made before the data is read, as it may find that something is missing.
    here = [make for make in experiment.callbacks if make.every_process or distributed.rank() == 0]
    asked_for = [make(folder, experiment.model.plugin.name) for make in here]
    seed_all(settings["seed"].value)
    with distributed.first_on_each_machine():
        splits = build_splits(experiment.data)
    content = fingerprint(splits)
    if distributed.any_of(content != distributed.from_first(content)):
        raise DataError("the processes have different data; give them all the same files and options")
    seed_all(settings["seed"].value)  # once more: the weights do not depend on what the data set drew
    model = build_model(experiment.model, splits)
    check_can_learn(experiment.model, model)
    loss_func = make_loss(settings["loss"].value, **arguments_of(settings, "loss"), **_class_weights(settings, splits))
    if distributed.rank() == 0:
        for finding in quick_check(model, splits, loss_func):
            warnings.warn(finding.sentence, TinyclsfWarning, stacklevel=1)
        _look_at_weights(experiment.model, settings)
    batch_size = settings["batch_size"].value
    frozen = _frozen(model, settings)
    if isinstance(splits.train, Sized):
        later = frozen if settings["unfreeze_after"].value is not None else []
        _check_last_batch(model, later, len(splits.train), batch_size)
    with blamed_for_batches(experiment.data.plugin):
        trained, train, valid = _on_features(model, splits, settings, device) or (model, splits.train, splits.valid)
    train_dl, valid_dl = _loaders(train, valid, batch_size)
    settings = _settled(settings, model, device) | {"run": run}
    if distributed.size() > 1:
        settings["processes"] = Setting(distributed.size(), "torchrun")
    if settings["ema_decay"].value is not None:
        resumed, before = experiment.request.resumed, experiment.request.config.found_out
        # A run that was begun before there was a warm-up goes on without.
        settings["ema_warmup"] = Setting(resumed is None or before.get("ema_warmup", False), "default")
    if settings["unfreeze_after"].value is not None:
        asked_for.append(Unfreeze(frozen, settings["unfreeze_after"].value))
    watching = [each for each in experiment.request.callbacks if not isinstance(each, str)]
    trainer = _trainer(trained, loss_func, settings, device, batches_of(train_dl), folder, [*asked_for, *watching])
    return Built(splits, content, model, trainer, train_dl, valid_dl, settings, trained is not model)


def _look_at_weights(model: Component, settings: Settings) -> None:
    """Warn of a backbone that is frozen as it was drawn."""
    of_model = model.values
    if freezes_backbone(settings["freeze"].value) and of_model.get("pretrained") is False and not of_model.get("weights"):
        message = "the frozen backbone has random weights, so it has learned nothing; add --pretrained"
        warnings.warn(message, TinyclsfWarning, stacklevel=2)


def _frozen(model: Classifier, settings: Settings) -> list[torch.nn.Parameter]:
    """The parameters that are not trained, or not yet.

    Raises: ConfigurationError if the settings do not go together, or the model does not have what is to be frozen.
    """
    if settings["unfreeze_after"].value is not None and not freezes_backbone(settings["freeze"].value):
        raise ConfigurationError("--unfreeze-after needs --freeze backbone; leave it out")
    frozen = FREEZES[settings["freeze"].value](model.network)
    if settings["freeze"].value == "batch-norm" and not frozen:
        raise ConfigurationError(f"network {type(model.network).__name__} has no batch norm; give --freeze none")
    return frozen


def _on_features(
    model: Classifier, splits: Splits, settings: Settings, device: torch.device
) -> tuple[Classifier, Dataset[Any], Dataset[Any]] | None:
    """What is trained, and on what, where a frozen backbone has to see each image only once; else None."""
    changes = settings["unfreeze_after"].value is not None or settings["augment"].value != "none"
    in_full = isinstance(splits.train, Sized) and isinstance(splits.valid, Sized)
    if not freezes_backbone(settings["freeze"].value) or changes or not in_full or distributed.size() > 1:
        return None
    head, batch_size = head_of(model.network), 2 * settings["batch_size"].value
    train, valid = (features_of(model, head, dataset, batch_size, device) for dataset in (splits.train, splits.valid))
    return None if train is None or valid is None else (OnFeatures(model, head), train, valid)


def _class_weights(settings: Settings, splits: Splits) -> dict[str, torch.Tensor]:
    """The weights of the classes as an option of the loss, where it is to have them."""
    if settings["class_weights"].value == "none":
        return {}
    labels = train_labels(splits)
    if labels is None:
        raise ConfigurationError(
            "the training data does not say its labels without reading its images, and balanced class weights are made of "
            "them; give --class-weights none"
        )
    return {"class_weights": balanced_weights(labels, len(splits.classes))}


def _settled(settings: Settings, model: Classifier, device: torch.device) -> Settings:
    """The settings with what the machine and the model decide where they say "auto"."""
    precision = settings["precision"]
    return {
        **settings,
        "precision": Setting(choose_precision(precision.value, device, model), _source(precision)),
        "device": Setting(str(device) if distributed.size() == 1 else device.type, _source(settings["device"])),
        "memory_format": Setting(choose_memory_format("auto", model, device), "auto"),
    }


def _source(setting: Setting) -> str:
    return "auto" if setting.value == "auto" else setting.source


def _check_last_batch(model: Classifier, later: Sequence[torch.nn.Parameter], images: int, batch_size: int) -> None:
    """Find out before training whether a batch of one image is too little for the model, as it is for batch norm.

    `later` is what is frozen now and trained later.

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
    trial, unfrozen = copy.deepcopy(model), set(map(id, later))
    for own, parameter in zip(trial.parameters(), model.parameters(), strict=True):
        own.requires_grad_(parameter.requires_grad or id(parameter) in unfrozen)
    put_in_training(trial)
    try:
        with torch.random.fork_rng(devices=[]):  # the trial draws nothing from what training draws
            trial(torch.zeros(1, *model.image_shape))
    except ValueError as error:
        raise ConfigurationError(
            f"{found} leave a batch of 1, which the model's batch norm cannot train on; give another --batch-size"
        ) from error


def _loaders(train: Dataset[Any], valid: Dataset[Any], batch_size: int) -> tuple[Any, Any]:
    if distributed.size() == 1:
        return get_data(train, valid, batch_size)
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())  # all have the same one now: they go on in the order of a single process
    share = Share(distributed.rank(), distributed.size(), generator)
    loaders = loader(train, batch_size, shuffle=True, share=share), loader(valid, 2 * batch_size, share=share)
    # All have the same weights; what they draw from now on, as for augmentation, is each one's own.
    seed_all(int(torch.randint(2**32, (share.size,))[share.rank]))
    return loaders


def _trainer(
    model: Classifier,
    loss_func: LossFunc,
    settings: Settings,
    device: torch.device,
    batches: int | None,
    folder: Path,
    watching: Sequence[Callback],
) -> Trainer:
    value = {name: setting.value for name, setting in settings.items()}
    arguments = arguments_of(settings, "optimizer")
    rates = {name: value[name] for name in ("backbone_lr", "decayed")}
    opt = make_optimizer(value["optimizer"], parameter_groups(model.network, arguments["lr"], **rates), **arguments)
    steps = None if batches is None else -(-batches // value["accumulate"])
    schedule = make_schedule(value["schedule"], opt, value["epochs"], steps, **arguments_of(settings, "schedule"))
    by_epoch = schedule is not None and value["schedule"] in STEPPED_BY_EPOCH
    # What steers is in every process, what keeps in the first; Checkpoints come last, as they hold the state of the others.
    callbacks: list[Callback] = [EpochSchedule(schedule)] if schedule is not None and by_epoch else []
    callbacks += [EarlyStopping(value["patience"])] if value["patience"] is not None else []
    callbacks += [BestModel(folder / WEIGHTS), history_lines(folder / METRICS)] if distributed.rank() == 0 else []
    callbacks += [*watching, Checkpoints(folder, value["checkpoint_every"])]
    trainer = Trainer(
        model,
        loss_func,
        opt,
        device=device,
        memory_format=value["memory_format"],
        precision=value["precision"],
        compile=value["compile"],
        schedule=None if by_epoch else schedule,
        augment=Augmentation(value["augment"], len(model.classes)),
        accumulate=value["accumulate"],
        clip_norm=value["clip_norm"],
        ema_decay=value["ema_decay"],
        callbacks=callbacks,
    )
    if trainer.averaged is not None:
        trainer.averaged.warms_up = value["ema_warmup"]
    return trainer
