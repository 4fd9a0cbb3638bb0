"""What a run says of itself: the settings before it starts, and the figures when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import torch

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.errors import shape_as_text
from tinyclsf.experiments.building import Built
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.metrics import best_of, percent
from tinyclsf.registry.options import Setting, as_text
from tinyclsf.registry.plugins import own_version
from tinyclsf.runs.trained_run import TrainedRun

# Settings that most runs leave as they are: one row for all of those.
_RARE = {
    "accumulate": 1,
    "clip_norm": None,
    "ema_decay": None,
    "patience": None,
    "compile": False,
    "checkpoint_every": None,
}


def settings_rows(experiment: Experiment, built: Built) -> list[tuple[str, str, str]]:
    """Every value in force as (name, value, where it came from)."""
    data, model, splits, request = experiment.data, experiment.model, built.splits, experiment.request
    sizes = ", ".join(_size(name, getattr(splits, name)) for name in ("train", "valid", "test"))
    shape = shape_as_text(splits.image_shape)
    parameters = sum(parameter.numel() for parameter in built.model.parameters())
    rows = [
        ("data", data.plugin.name, request.data_source),
        *_option_rows(data.options),
        ("", f"{sizes}; {len(splits.classes)} classes; {shape}", ""),
        ("model", model.plugin.name, request.model_source),
        *_option_rows(model.options),
        ("", f"{parameters:,} parameters", ""),
    ]
    for callback in experiment.callbacks:
        rows += [("callback", callback.plugin.name, ""), *_option_rows(callback.options)]
    usual = {name: value for name, value in _RARE.items() if built.settings[name].value == value}
    rows += [
        (name.replace("_", "-"), f"{value:g}" if isinstance(value, float) else as_text(value), source)
        for name, (value, source) in built.settings.items()
        if name not in usual
    ]
    if usual:
        rows.append(
            ("others", ", ".join(f"{name.replace('_', '-')} {as_text(value)}" for name, value in usual.items()), "default")
        )
    rows.append(("versions", f"tinyclsf {own_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads", ""))
    return rows


def output_of(run: TrainedRun, warnings: list[str]) -> Output:
    """The end of a run: the best epoch, how good its weights are on held-out images, and where they are."""
    best, held_out, folder = best_of(run.history), run.held_out, str(run.folder)
    assert best is not None, "a run that was scored has an epoch"
    low, high = map(percent, held_out.interval)
    lines = columns(
        [
            ("best", f"epoch {best.epoch}: valid accuracy {percent(best.valid_accuracy)}, valid loss {best.valid_loss:.4f}"),
            (
                held_out.split,
                f"accuracy {percent(held_out.accuracy)} (95 % interval {low} to {high}, {held_out.images:,} images)",
            ),
            ("use", f'tinyclsf.load_model("{folder}") in Python'),
            ("run", folder),
        ],
        indent="",
    )
    content = document(
        "fit",
        run=folder,
        settings=run.config["settings"],
        best=best._asdict(),
        held_out=held_out._asdict(),
        history=[row._asdict() for row in run.history],
        warnings=warnings,
    )
    return Output("\n".join(lines), content)


def _size(name: str, part: Any) -> str:
    if part is None:
        return f"no {name}"
    return f"{len(part):,} {name}" if isinstance(part, Sized) else f"a stream of {name}"


def _option_rows(options: Mapping[str, Setting]) -> list[tuple[str, str, str]]:
    """A row for each option that somebody set, and one for all that stand at their defaults."""
    rows = [(f"  {name}", as_text(value), source) for name, (value, source) in options.items() if source != "default"]
    rest = [f"{name} {as_text(value)}" for name, (value, source) in options.items() if source == "default"]
    return [*rows, ("  options", ", ".join(rest), "default")] if rest else rows
