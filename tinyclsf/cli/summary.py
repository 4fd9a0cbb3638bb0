"""`tinyclsf summary MODEL`: the layers of a model or of a run's model, and how large they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import KEY_VALUE, common_options, complete_plugin, complete_run, option, runs_option
from tinyclsf.errors import ConfigurationError, PluginError, did_you_mean, shape_as_text
from tinyclsf.registry.plugins import find, plugins
from tinyclsf.runs.folder import CONFIG
from tinyclsf.runs.listing import find_run, run_names

if TYPE_CHECKING:
    from tinyclsf.analysis.summary import Layer, Summary
    from tinyclsf.modules import Classifier

_SHAPE = (1, 28, 28)  # of digits, the data that `tinyclsf fit MODEL` trains on
_CLASSES = 10
_LAYER, _TYPE = 40, 26  # the most characters of a column, so that a line has a hundred at most
_HEADER = ("layer", "type", "output", "parameters")


def _shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    if value is None:
        return None
    sizes = [int(word) for word in value.replace("x", ",").split(",") if word.strip().isdecimal()]
    if len(sizes) != 3 or value.replace("x", ",").count(",") != 2 or min(sizes) < 1:
        raise click.BadParameter(f"'{value}' is not CHANNELS,HEIGHT,WIDTH, such as 3,32,32.", ctx, param)
    return sizes[0], sizes[1], sizes[2]


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [*complete_plugin(ctx, param, incomplete), *complete_run(ctx, param, incomplete)]


@click.command(short_help="Show a model's layers and parameters.")
@click.argument("model", metavar="MODEL|RUN", shell_complete=_complete)
@option("--image-shape", "shape", callback=_shape, metavar="C,H,W", help="A model's images. [1,28,28, as digits]")
@option("--classes", type=click.IntRange(1), metavar="N", help="A model's number of classes. [10]")
@option("-m", "model_options", help="An option of the model.", **KEY_VALUE)
@runs_option()
@common_options
def summary(
    model: str, shape: tuple[int, int, int] | None, classes: int | None, model_options: dict[str, str], runs: Path
) -> Output:
    """Show the layers of a model, or of a run's model: outputs, parameters, memory.

    A name is a model's first ('tinyclsf list models'), then a run's; runs/NAME is
    always a run. Layers are modules: calls such as F.relu(x) are not listed.

    \b
    tinyclsf summary cifar-net --image-shape 3,32,32
    tinyclsf summary vgg --image-shape 3,32,32 --classes 100
    tinyclsf summary overnight
    """
    is_run = os.path.isfile(runs / model / CONFIG)
    is_plugin = any(plugin.name == model for plugin in plugins("model")) or (bool(plugins("model", model)) and not is_run)

    from tinyclsf.analysis.summary import summarize
    from tinyclsf.cli.console import Watch
    from tinyclsf.machine.torch_errors import translated

    with Watch("none") as watch:
        if is_plugin:
            if is_run:
                watch.warn(f"{model} is a model and a run; this is the model, and {runs / model} is the run")
            with translated(lambda: f"the summary of {model}", advice="give a smaller --image-shape"):
                built, folder = _from_plugin(model, model_options, classes or _CLASSES, shape or _SHAPE), None
        else:
            given = {"--image-shape": shape, "--classes": classes, "-m": model_options or None}
            folder = _run_folder(runs, model, [name for name, value in given.items() if value is not None])
            built = _from_run(folder)
        found = summarize(built)
    content = document(
        "summary",
        model=model if folder is None else None,
        run=folder,
        image_shape=built.image_shape,
        classes=len(built.classes),
        layers=found.layers,
        parameters={"total": found.parameters, "trainable": found.trainable, "non_trainable": found.non_trainable},
        bytes={
            "input": found.input_bytes,
            "activations": found.activation_bytes,
            "parameters": found.parameter_bytes,
            "total": found.total_bytes,
        },
        warnings=watch.warnings,
    )
    return Output("\n".join(_text(model, built, found)), content)


def _from_plugin(name: str, options: dict[str, str], classes: int, shape: tuple[int, int, int]) -> Classifier:
    import torch

    from tinyclsf.data import Images, Splits
    from tinyclsf.modules import Preprocess
    from tinyclsf.registry.components import build_model, load_component

    blank = Images(torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64))
    splits = Splits(blank, blank, None, tuple(map(str, range(classes))), shape, Preprocess())
    component = load_component(find("model", name), options)
    try:
        return build_model(component, splits)
    except (ConfigurationError, PluginError) as error:
        if error.tip is None:
            other = "3,224,224" if shape[0] == 3 else "3,32,32"
            error.tip = f"a model may want other images: --image-shape {other}, for one"
        raise


def _from_run(folder: Path) -> Classifier:
    """The model of a run; what its training left frozen to the end is frozen."""
    from tinyclsf.finetuning import FREEZES
    from tinyclsf.runs.config_file import read_run_config
    from tinyclsf.runs.epochs import read_history
    from tinyclsf.runs.models import load_model

    model, settings = load_model(folder), read_run_config(folder).settings
    unfrozen, after = FREEZES[settings.get("freeze", "none")](model.network), settings.get("unfreeze_after")
    if after is not None and len(read_history(folder)) > after:
        for parameter in unfrozen:
            parameter.requires_grad_(True)
    return model


def _run_folder(runs: Path, name: str, given: list[str]) -> Path:
    """The folder of the run; a name that is nothing gets a sentence for both."""
    if not os.path.isdir(runs / name) and not os.path.isdir(name):
        names = [*run_names(runs), *(plugin.name for plugin in plugins("model"))]
        raise ConfigurationError(
            f"there is no model and no run '{name}'; 'tinyclsf list models' and 'tinyclsf runs' show all",
            tip=did_you_mean(name, names),
        )
    folder = find_run(runs, name)
    if given:
        raise ConfigurationError(f"{folder} is a run, whose model is as it was trained; leave out {' and '.join(given)}")
    return folder


def _text(name: str, model: Classifier, found: Summary) -> list[str]:
    lines = [f"{name}: {shape_as_text(found.image_shape)} to {len(model.classes):,} classes"]
    lines += columns([_HEADER, *map(_row, found.layers)], indent="", numbers_from=3)
    lines += [
        "",
        f"parameters  {found.parameters:,}: {found.trainable:,} trainable, {found.non_trainable:,} non-trainable",
        f"memory      {_mb(found.total_bytes)}: input {_mb(found.input_bytes)}, "
        f"forward and backward pass {_mb(found.activation_bytes)}, parameters {_mb(found.parameter_bytes)}",
    ]
    return lines


def _row(layer: Layer) -> tuple[str, ...]:
    name = _clipped("  " * layer.depth + (layer.name or "(the model)"), _LAYER)
    output = "-" if layer.output_shape is None else shape_as_text(layer.output_shape) or "scalar"
    parameters = "" if layer.is_container and not layer.parameters else f"{layer.parameters:,}"
    return name, _clipped(layer.type, _TYPE), output, parameters


def _clipped(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 3] + "..."


def _mb(size: int) -> str:
    """Megabytes of 2^20 bytes, as torchsummary has them."""
    return f"{size / 2**20:,.2f} MB"
