"""`tinyclsf fit MODEL`: the options, and the checks that need neither torch nor data."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from tinyclsf.cli.info import complete_plugin
from tinyclsf.cli.report import Report, common_options
from tinyclsf.registry import find, own_version


class _Number(click.FloatRange):
    """A range of finite numbers: click's own lets nan through, as nan is neither above nor below anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def _assignments(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"'{value}' is not KEY=VALUE.", ctx, param)
        if key in found:
            raise click.BadParameter(f"'{key}' is given twice.", ctx, param)
        found[key] = text
    return found


_DATA = "digits"
_DATA_DIR = "Where data files are or go. [$TINYCLSF_DATA, else ~/.cache/tinyclsf]"
_PROGRESS = "What to show while training; auto is a bar on a terminal, else a line an epoch."
_GAMMA = "What step, exponential and plateau multiply the learning rate by."
_PATIENCE = "Epochs without a lower validation loss that plateau waits for."
_SMOOTHING = "Share of a training label that cross-entropy spreads over all classes."
_KEY_VALUE: dict[str, Any] = {"metavar": "KEY=VALUE", "multiple": True, "callback": _assignments}
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model", shell_complete=complete_plugin)
@click.option("--data", shell_complete=complete_plugin, help=f"Data set to train on. [{_DATA}]")
@click.option("--data-dir", type=_PATH, help=_DATA_DIR)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training data.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a training step; validation takes twice as many.")
@click.option("--lr", type=_Number(min=0, min_open=True), help="Learning rate; with a schedule, its highest.")
@click.option("--momentum", type=_Number(min=0, max=1, max_open=True), help="Momentum, where the optimizer has it.")
@click.option("--weight-decay", type=_Number(min=0), help="Weight decay, where the optimizer has it.")
@click.option("--optimizer", help="sgd, adam, adamw, rmsprop, ...: any of torch.optim.")
@click.option("--schedule", help="Learning rate over the run: none, cosine, one-cycle, step, exponential or plateau.")
@click.option("--gamma", type=_Number(min=0, max=1, min_open=True, max_open=True), help=_GAMMA)
@click.option("--step-size", type=click.IntRange(min=1), help="Epochs from one step of the schedule to the next.")
@click.option("--plateau-patience", type=click.IntRange(min=0), help=_PATIENCE)
@click.option("--loss", help="cross-entropy or mse.")
@click.option("--label-smoothing", type=_Number(min=0, max=1, max_open=True), help=_SMOOTHING)
@click.option("--augment", help="Random changes of training images: flip, crop, affine, cutout, or several: flip,crop.")
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Seed of weights and batches. [0]")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps. [auto]")
@click.option("--run", help="Name of the run folder. [MODEL-DATA-TIME]")
@click.option("--runs", type=_PATH, envvar="TINYCLSF_RUNS", default="runs", help="Where runs go. [$TINYCLSF_RUNS, else runs]")
@click.option(
    "--progress", type=click.Choice(["auto", "bar", "plain", "none"]), default="auto", show_default=True, help=_PROGRESS
)
@click.option("-m", "model_options", help="An option of the model; 'tinyclsf info MODEL' shows them.", **_KEY_VALUE)
@click.option("-d", "data_options", help="An option of the data set.", **_KEY_VALUE)
@common_options
def fit(model: str, data: str | None, model_options: dict[str, str], data_options: dict[str, str], **options: Any) -> Report:
    """Train MODEL, keep its best weights and score them once on held-out images.

    What is not given comes from the model's recipe; the header says every value in force and where it came from.

    \b
    tinyclsf fit mnist-cnn --epochs 2
    tinyclsf fit mnist-logistic --data mnist --optimizer adam --lr 0.001
    """
    plugins = find("model", model), find("dataset", data or _DATA)
    # torch takes seconds to import: --help need not wait for it, and a person at a terminal sees that something has begun.
    if options["progress"] != "none" and sys.stderr.isatty():
        click.echo(f"tinyclsf {own_version()}: {model} on {data or _DATA}", err=True)
    from tinyclsf.cli.experiment import Request, run_experiment

    given = {name: options.pop(name) for name in ("data_dir", "device", "run", "runs", "progress")}
    return run_experiment(
        Request(*plugins, model_options, data_options, "default" if data is None else "--data", settings=options, **given)
    )
