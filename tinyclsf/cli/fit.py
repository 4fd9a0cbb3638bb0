"""`tinyclsf fit MODEL`: the options, and the checks that need neither torch nor data."""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tinyclsf.cli.completion import complete_plugin
from tinyclsf.cli.config import read_config
from tinyclsf.cli.output import Output
from tinyclsf.cli.shared_options import DATA_DIR, DIRECTORY, KEY_VALUE, common_options, option, runs_option
from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import launch
from tinyclsf.machine.signals import SignalReceived, StopSignals, ended
from tinyclsf.registry.plugins import find, own_version
from tinyclsf.runs.listing import find_run


class _Number(click.FloatRange):
    """A range of finite numbers: click's own lets nan through, as nan is neither above nor below anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _Command(click.Command):
    """A command whose help has its options in sections, each from one of them on."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        title = ""
        for param in self.get_params(ctx):
            title = _SECTIONS.get(param.name or "", title)
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


_SECTIONS = {
    "data": "Data and model",
    "epochs": "Training",
    "device": "Computing",
    "resume": "Run",
    "progress": "Output",
}
_DATA = "digits"
_AUGMENT = "Random changes of training images: flip, crop, affine, cutout, mixup, cutmix; or several: flip,crop. [none]"
_PLATEAU = "plateau: epochs to wait for a lower validation loss."
_SMOOTHING = "cross-entropy: share of a label spread over all."
_EMA = "Evaluate and keep a moving average of the weights, of which this share stays at each step: 0.999. [none]"
_PATIENCE = "Stop after N epochs in a row without a new best. [none]"
_PRECISION = "auto, float32, bfloat16 or float16. [auto: bfloat16 on CUDA that has it, else float32]"
_EVERY = "Save every N batches too, not only after each epoch."
_RESUME = "Go on with a stopped run, or train it for more --epochs."
_CONFIG = "Take what is not given from a run's config.json."
_PROGRESS = "auto, bar, plain or none. [auto: bar on a terminal, else a line an epoch]"
_CALLBACK = "csv, tensorboard, ...: more to do; may be repeated."
_COUNT: dict[str, Any] = {"type": click.IntRange(min=1), "metavar": "N"}
_SHARE = _Number(min=0, max=1, min_open=True, max_open=True)


@contextlib.contextmanager
def _before_a_run(resume: str | None) -> Iterator[None]:
    """Say that a signal came before there was a run; a run itself says more."""
    try:
        yield
    except SignalReceived as received:
        tip = None if resume is None else f"{launch.command()} fit --resume {resume}"
        raise ended(received.number, "before training began", tip=tip) from None


@click.command(cls=_Command, short_help="Train a model, and score it on images it has not seen.")
@click.argument("model", required=False, shell_complete=complete_plugin)
@option("--data", metavar="NAME", shell_complete=complete_plugin, help=f"Data set to train on. [{_DATA}]")
@option("--data-dir", help=DATA_DIR, **DIRECTORY)
@option("-d", "data_options", help="An option of the data set; 'tinyclsf info NAME' shows them.", **KEY_VALUE)
@option("-m", "model_options", help="An option of the model; 'tinyclsf info MODEL' shows them.", **KEY_VALUE)
@option("--epochs", help="Passes over the training data.", **_COUNT)
@option("--batch-size", help="Images a step; validation takes twice as many.", **_COUNT)
@option("--augment", metavar="NAMES", help=_AUGMENT)
@option("--optimizer", metavar="NAME", help="sgd, adam, adamw, rmsprop, ...: any of torch.optim.")
@option("--lr", type=_Number(min=0, min_open=True), metavar="X", help="Learning rate; with a schedule, its highest.")
@option("--momentum", type=_Number(min=0, max=1, max_open=True), metavar="X", help="Momentum, where the optimizer has it.")
@option("--weight-decay", type=_Number(min=0), metavar="X", help="Weight decay, where the optimizer has it.")
@option("--schedule", metavar="NAME", help="none, cosine, one-cycle, step, exponential or plateau.")
@option("--gamma", type=_SHARE, metavar="X", help="step, exponential, plateau: factor on the lr.")
@option("--step-size", help="step: epochs from one step to the next.", **_COUNT)
@option("--plateau-patience", type=click.IntRange(min=0), metavar="N", help=_PLATEAU)
@option("--loss", metavar="NAME", help="cross-entropy or mse.")
@option("--label-smoothing", type=_Number(min=0, max=1, max_open=True), metavar="X", help=_SMOOTHING)
@option("--accumulate", help="Batches whose gradients make one step. [1]", **_COUNT)
@option("--clip-norm", type=_Number(min=0, min_open=True), metavar="X", help="Longest gradient a step may take. [none]")
@option("--ema-decay", type=_SHARE, metavar="X", help=_EMA)
@option("--patience", help=_PATIENCE, **_COUNT)
@option("--seed", type=click.IntRange(min=0, max=2**32 - 1), metavar="N", help="Seed of weights and batches. [0]")
@option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps. [auto]")
@option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), metavar="NAME", help=_PRECISION)
@option("--compile/--no-compile", default=None, help="Compile the model, where there is a compiler. [no]")
@option("--resume", metavar="RUN", help=_RESUME)
@option("--config", type=click.Path(path_type=Path), metavar="FILE", help=_CONFIG)
@option("--checkpoint-every", help=_EVERY, **_COUNT)
@option("--run", metavar="NAME", help="Name of the run folder. [MODEL-DATA-TIME]")
@runs_option("runs", "Where runs go.")
@option("--callback", "callbacks", multiple=True, metavar="NAME", help=_CALLBACK)
@option("-c", "callback_options", help="An option of a callback.", **{**KEY_VALUE, "metavar": "NAME.KEY=VALUE"})
@option("--progress", type=click.Choice(["auto", "bar", "plain", "none"]), default="auto", metavar="HOW", help=_PROGRESS)
@common_options
@click.pass_context
def fit(ctx: click.Context, /, **options: Any) -> Output | None:
    """Train MODEL, keep its best weights and score them once on held-out images.

    What is not given comes from the model's recipe; the header says every value in force and where it came from.
    Ctrl-C saves and stops; --resume goes on.

    \b
    tinyclsf fit mnist-cnn --epochs 2
    tinyclsf fit mnist-logistic --data mnist --optimizer adam --lr 0.001
    tinyclsf fit --resume overnight --epochs 10
    """
    with StopSignals() as signals, _before_a_run(options["resume"]):
        resume, file = options.pop("resume"), options.pop("config")
        if resume is not None and (file is not None or options["run"] is not None):
            raise ConfigurationError("--resume goes on in its own run folder; leave out --config and --run")
        folder = None if resume is None else find_run(options["runs"], resume)
        path = file if folder is None else folder / "config.json"
        config = None if path is None else read_config(path, ctx)
        model, model_source = options["model"], "argument"
        if model is None and config and config.model:
            model, model_source = config.model.name, "config"
        if model is None:
            missing = "missing argument 'MODEL'"
            raise ConfigurationError(missing if config is None else f"{missing}, and config file {config} names no model")
        saved = config.data.name if config and config.data else None
        data, source = (options["data"], "--data") if options["data"] else (saved or _DATA, "config" if saved else "default")
        plugins = find("model", model), find("dataset", data)
        # torch takes seconds to import: --help need not wait for it, and a person at a terminal sees that something has begun.
        if options["progress"] != "none" and sys.stderr.isatty() and launch.rank() == 0:
            click.echo(f"tinyclsf {own_version()}: {model} on {data}", err=True)
        from tinyclsf.cli.experiment import run_experiment
        from tinyclsf.cli.request import make_request

        words: tuple[str, ...] = ctx.obj  # those of the whole command line, as `main` was given them
        found = {"model_source": model_source, "data_source": source, "command": f"{launch.command()} {shlex.join(words)}"}
        return run_experiment(make_request(*plugins, {**options, **found}, config, folder), signals)
