"""The training loop of a run as plain PyTorch: only what the run uses stands in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinyclsf.augment.named import AUGMENTATIONS, MIXTURES, alternates, parse_augment
from tinyclsf.finetuning import FREEZES, parameter_groups, put_in_training
from tinyclsf.machine.templates import load_template
from tinyclsf.metrics import NO_TEST_SPLIT
from tinyclsf.modules import Classifier, show_images
from tinyclsf.recipes import STEPPED_BY_EPOCH, balanced_weights, mse, optimizers
from tinyclsf.registry.scripted import as_source
from tinyclsf.scripting.sources import Sources, sources_in, sources_of


def loop_sources(
    settings: Mapping[str, Any], model: Classifier, held_out: str, seeds: Sequence[str]
) -> tuple[dict[str, str], Sources]:
    """The settings that a person may want to change, by name, for the top of a script, and the functions of the loop.

    The augmentation and the loss are among them; the last one is `main`.
    - `settings`: those of the run, which trained `model`.
    - `held_out`: the split that the best weights are scored on.
    - `seeds`: calls that seed the generators besides PyTorch's.
    """
    augments, schedule = parse_augment(settings["augment"]), settings["schedule"]
    changes = [AUGMENTATIONS[name](min(model.image_shape[1:])) for name in augments if name in AUGMENTATIONS]
    mixtures = [MIXTURES[name] for name in augments if name in MIXTURES]
    weighs = settings.get("class_weights", "none") == "balanced"
    freeze, by_epoch = settings.get("freeze", "none"), schedule in STEPPED_BY_EPOCH
    usual = {"backbone_lr": 1, "decayed": "all"}
    rates = {name: settings[name] for name, value in usual.items() if settings.get(name, value) != value}
    grouped, looks = bool(rates) or hasattr(model.network, "lr_shares"), hasattr(model.network, "look_at")
    text = load_template(Path(__file__).with_name("loop.py.jinja")).render(
        settings,
        weighs=weighs,
        freeze_call=None if freeze == "none" else f"{FREEZES[freeze].__name__}(model.network)",
        grouped=grouped,
        groups_call=_call("parameter_groups", "model.network, LEARNING_RATE", rates),
        looks=looks,
        unfreeze_after=settings.get("unfreeze_after"),
        num_classes=len(model.classes),
        label_smoothing=settings.get("label_smoothing"),  # which not every loss has
        moves=settings["device"].partition(":")[0] != "cpu",
        device_name=as_source(settings["device"]),
        augments=augments,
        changes=[_call(change.func.__name__, "x, epoch" if alternates(change) else "x", change.keywords) for change in changes],
        alternates=any(map(alternates, changes)),
        mixtures=[f"v2.{name}(alpha={alpha}, num_classes={len(model.classes)})" for name, alpha in mixtures],
        by_epoch=by_epoch,
        by_step=schedule != "none" and not by_epoch,
        averages=settings["ema_decay"] is not None,
        warms_up=settings.get("ema_warmup") is True,
        optimizer_call=_optimizer_call(settings, grouped),
        tested=held_out == "test",
        no_test_split=NO_TEST_SPLIT,
        seeds=seeds,
    )
    losses = [mse] if settings["loss"] == "mse" else [balanced_weights] if weighs else []
    tuning: list[Callable[..., Any]] = [] if freeze == "none" else [FREEZES[freeze], put_in_training]
    tuning += [parameter_groups] if grouped else []
    tuning += [show_images] if looks else []
    taken = sources_of(*losses, *tuning, *(change.func for change in changes))
    written, _ = sources_in(text)
    constants = {name: code for name, code in written.definitions.items() if name.isupper()}
    functions = {name: code for name, code in written.definitions.items() if name not in constants}
    return constants, Sources([*taken.imports, *written.imports], taken.definitions | functions)


def _optimizer_call(settings: Mapping[str, Any], grouped: bool) -> str:
    cls = optimizers()[settings["optimizer"]]
    parameters = inspect.signature(cls).parameters
    known = ("momentum", "nesterov", "weight_decay")
    given = {name: settings[name] for name in known if name in settings and name in parameters}
    others = {name: value for name, value in given.items() if value != parameters[name].default}
    trained = "groups" if grouped else "model.parameters()"
    return _call(f"torch.optim.{cls.__name__}", f"{trained}, lr=LEARNING_RATE", others)


def _call(function: str, first: str, options: Mapping[str, Any]) -> str:
    return f"{function}({', '.join([first, *(f'{name}={as_source(value)}' for name, value in options.items())])})"
