"""What a run says of itself before it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from tinyclsf.errors import shape_as_text
from tinyclsf.experiments.building import Built
from tinyclsf.experiments.settings import DEFAULTS
from tinyclsf.registry.options import Setting, as_text
from tinyclsf.runs.config_file import ConfigFile

# Settings that are told of in their own words.
_TOLD = ("epochs", "batch_size", "optimizer", "lr", "schedule", "device", "precision")
# Sources that are nobody's wish of this run.
_USUAL = ("", "default", "auto", "recipe", "torchrun", "argument", "$TINYCLSF_DATA")


def header(config: ConfigFile, built: Built) -> list[tuple[str, str]]:
    """What is trained, on what and how, in about six rows."""
    assert config.model is not None
    assert config.data is not None
    splits, settings = built.splits, config.in_force
    sizes = ", ".join(_size(name, getattr(splits, name)) for name in ("train", "valid", "test"))
    wanted = [f"{name} {as_text(each.value)}" for name, each in config.data.in_force.items() if each.source == "recipe"]
    data = f"{config.data.name}: {sizes}; {len(splits.classes):,} classes; {shape_as_text(splits.image_shape)}"
    rows = [
        ("data", data + (f"; {', '.join(wanted)}, as the model wants" if wanted else "")),
        ("model", f"{config.model.name}: {_parameters(built)}"),
        ("training", _training(settings)),
    ]
    if given := _given(config):
        rows.append(("given", ", ".join(given)))
    if config.callbacks:
        rows.append(("callbacks", ", ".join(each.name for each in config.callbacks)))
    processes = f", {settings['processes'].value} processes" if "processes" in settings else ""
    threads = "thread" if config.threads == 1 else "threads"
    device = f"{settings['device'].value}, {settings['precision'].value}, {config.threads} {threads}{processes}"
    return [*rows, ("device", device), ("run", str(settings["run"].value))]


def _parameters(built: Built) -> str:
    counts = [(each.numel(), each.requires_grad) for each in built.model.parameters()]
    parameters, trained = sum(count for count, _ in counts), sum(count for count, learns in counts if learns)
    if trained == parameters:
        return f"{parameters:,} parameters"
    counted = f"{parameters:,} parameters, of which {trained:,} are trained"
    if built.settings["freeze"].value == "batch-norm":
        return f"{counted}; batch norm stays as it is"
    how = "once, before the first epoch" if built.computed_once else "in every epoch"
    return f"{counted}; the frozen part is computed {how}"


def _training(settings: Mapping[str, Setting]) -> str:
    value = {name: each.value for name, each in settings.items()}
    epochs = f"{value['epochs']} epoch{'' if value['epochs'] == 1 else 's'}"
    lr = f", lr {value['lr']:g}" if "lr" in value else ""
    schedule = [] if value["schedule"] == "none" else [f"{value['schedule']} schedule"]
    others = [
        f"{name.replace('_', ' ')} {as_text(each.value)}"
        for name, each in settings.items()
        if name in DEFAULTS and name not in (*_TOLD, "seed") and each.value != DEFAULTS[name] and "default" not in each.source
    ]
    return ", ".join([f"{epochs}, batch size {value['batch_size']}, {value['optimizer']}{lr}", *schedule, *others])


def _given(config: ConfigFile) -> list[str]:
    """What a flag, a call or a config file gave, where a recipe or a default would have been."""
    return [
        f"{name} {value}"
        for name, value, source in config.rows()
        if source not in _USUAL and "default" not in source and name not in ("run", "data data-dir")
    ]


def _size(name: str, dataset: Any) -> str:
    if dataset is None:
        return f"no {name}"
    return f"{len(dataset):,} {name}" if isinstance(dataset, Sized) else f"a stream of {name}"
