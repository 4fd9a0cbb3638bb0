"""`tinyclsf fit MODEL`: the options, and the checks that need neither torch nor data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tinyclsf.cli.output import Output
from tinyclsf.cli.shared_options import DATA_DIR, DIRECTORY, KEY_VALUE, common_options, complete_plugin, option, runs_option
from tinyclsf.errors import ConfigurationError
from tinyclsf.experiments.request import DATA, make_request
from tinyclsf.machine import launch
from tinyclsf.machine.shell import shell_text
from tinyclsf.machine.signals import SignalReceived, StopSignals, stopped_by
from tinyclsf.progress.display import on_terminal
from tinyclsf.registry.choices import VALUES
from tinyclsf.registry.plugins import own_version
from tinyclsf.runs.folder import check_run_name
from tinyclsf.runs.listing import find_run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tinyclsf.experiments.request import Asked
    from tinyclsf.progress.display import Mode


def _setting(name: str, metavar: str, help: str) -> Callable[[Any], Any]:
    """An option for a setting of training, by its own name, held to the values that it takes wherever it is given."""
    values = VALUES[name]

    def parse(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else values.parsed(text)
        except ValueError:
            wanted = f"{values.wanted}, or none" if values.optional else values.wanted
            raise click.BadParameter(f"it is {text!r}; wanted {wanted}.", ctx, param) from None

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in values.words if word.startswith(incomplete)]

    flag = f"--{name.replace('_', '-')}"
    return option(flag, name, callback=parse, shell_complete=complete, metavar=metavar, help=help)


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
    "pretrained": "Fine-tuning",
    "epochs": "Training",
    "device": "Computing",
    "resume": "Run",
    "progress": "Output",
}
_AUGMENT = (
    "Random changes of training images: flip, alternating-flip, crop, shift, affine, cutout, resized-crop, jitter, grey, "
    "rotate, erase, blur, trivialaugment, randaugment, mixup, cutmix; or several: flip,crop. [none]"
)
_EMA = "Evaluate and save a moving average of the weights with this decay, such as 0.999. [none]"
_PRECISION = (
    "auto, float32, tf32 (float32 whose matrix products are rounded), bfloat16 or float16. "
    "[auto: bfloat16 on CUDA that has it, for models that are not tiny; else float32]"
)
_RESUME = "Resume a stopped run, or train a finished one for more --epochs."
_CONFIG = "Take every other setting from a run's config.json."
_PROGRESS = "auto, bar, plain or none. [auto: bar on a terminal, else a line an epoch]"
_CALLBACK = "A callback to add: csv, tensorboard, ...; may be repeated."


@contextlib.contextmanager
def _before_a_run(resume: str | None) -> Iterator[None]:
    """Say that a signal came before there was a run; a run itself says more."""
    try:
        yield
    except SignalReceived as received:
        tip = None if resume is None else launch.resume_command(resume)
        raise stopped_by(received.number, "before training began", tip=tip) from None


@click.command(cls=_Command, short_help="Train a model, and score it on images it has not seen.")
@click.argument("model", required=False, shell_complete=complete_plugin)
@option("--data", metavar="NAME", shell_complete=complete_plugin, help=f"Data set to train on. [{DATA}]")
@option("--data-dir", help=DATA_DIR, **DIRECTORY)
@option("-d", "data_options", help="An option of the data set; 'tinyclsf info NAME' shows them.", **KEY_VALUE)
@option("-m", "model_options", help="An option of the model; 'tinyclsf info MODEL' shows them.", **KEY_VALUE)
@option(
    "--pretrained", is_flag=True, default=None, help="Begin with weights trained on other images, where the model has some."
)
@_setting("freeze", "WHAT", "What is not trained: backbone (all but the last layer), batch-norm, or both. [none]")
@_setting("unfreeze_after", "N", "Train the frozen backbone too after N epochs. [never]")
@_setting("backbone_lr", "X", "Learning rate of the backbone, as a share of --lr. [1]")
@_setting("epochs", "N", "Passes over the training data.")
@_setting("batch_size", "N", "Images per step; validation uses twice as many.")
@_setting("augment", "NAMES", _AUGMENT)
@_setting("optimizer", "NAME", "sgd, adam, adamw, rmsprop, ...: any of torch.optim.")
@_setting("lr", "X", "Learning rate; with a schedule, the highest.")
@_setting("momentum", "X", "Momentum, where the optimizer has it.")
@option("--nesterov/--no-nesterov", default=None, help="Nesterov momentum, where the optimizer has it. [no]")
@_setting("weight_decay", "X", "Weight decay, where the optimizer has it.")
@_setting("decayed", "WHAT", "What weight decay applies to: all, or weights, which leaves out biases and norms. [all]")
@_setting("schedule", "NAME", "none, cosine, one-cycle, step, exponential or plateau.")
@_setting("gamma", "X", "step, exponential, plateau: factor for the learning rate.")
@_setting("step_size", "N", "step: epochs between two steps.")
@_setting("plateau_patience", "N", "plateau: epochs to wait for a lower validation loss.")
@_setting("loss", "NAME", "cross-entropy or mse.")
@_setting("label_smoothing", "X", "cross-entropy: share of each label spread over all classes.")
@_setting("class_weights", "NAME", "balanced: every class has the same weight in the training loss. [none]")
@_setting("accumulate", "N", "Add up the gradients of N batches before each step. [1]")
@_setting("clip_norm", "X", "Clip the gradient norm to X. [none]")
@_setting("ema_decay", "X", _EMA)
@_setting("patience", "N", "Stop early after N epochs without a new best. [none]")
@_setting("seed", "N", "Seed of weights and batches. [0]")
@_setting("device", "NAME", "auto, cpu, cuda, cuda:1 or mps. [auto]")
@_setting("precision", "NAME", _PRECISION)
@option("--compile/--no-compile", default=None, help="Compile the model, where there is a compiler. [no]")
@option("--resume", metavar="RUN", help=_RESUME)
@option("--config", type=click.Path(path_type=Path), metavar="FILE", help=_CONFIG)
@_setting("checkpoint_every", "N", "Save every N batches too, not only after each epoch.")
@option("--run", metavar="NAME", help="Name of the run folder. [MODEL-DATA-TIME]")
@runs_option("runs", "Where runs go.")
@option("--callback", "callbacks", multiple=True, metavar="NAME", help=_CALLBACK)
@option("-c", "callback_options", help="An option of a callback.", **{**KEY_VALUE, "metavar": "NAME.KEY=VALUE"})
@option("--progress", type=click.Choice(["auto", "bar", "plain", "none"]), default="auto", metavar="HOW", help=_PROGRESS)
@option("--log-every", type=click.IntRange(min=1), metavar="N", help="Show the mean training loss of each N batches.")
@option("--verbose", is_flag=True, help="Show every setting before training, and where it came from.")
@common_options
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    *,
    model: str | None,
    resume: str | None,
    run: str | None,
    runs: Path,
    progress: Mode,
    log_every: int | None,
    verbose: bool,
    **options: Unpack[Asked],
) -> Output | None:
    """Train MODEL, keep its best weights and score them once on held-out images.

    The model's recipe gives every setting that you leave out; --verbose shows them all.
    Ctrl-C saves and stops; --resume goes on.

    \b
    tinyclsf fit mnist-cnn --epochs 2
    tinyclsf fit mnist-logistic --data mnist --optimizer adam --lr 0.001
    tinyclsf fit --resume overnight --epochs 10
    """
    with StopSignals() as signals, _before_a_run(resume):
        if resume is not None and (options.get("config") is not None or run is not None):
            raise ConfigurationError("--resume goes on in its own run folder; leave out --config and --run")
        # What was said is given, none too: it may take the place of a value of the recipe or the config file.
        given: Any = {name: value for name, value in options.items() if value is not None or _was_said(ctx, name)}
        folder = None if resume is None else find_run(runs, resume)
        request = make_request(model, resume=folder, source_of=_source, **given)
        if run is not None:
            check_run_name(run)
        # torch takes seconds to import: --help need not wait for it, and a person at a terminal sees that something has begun.
        if progress != "none" and on_terminal() and launch.rank() == 0:
            click.echo(f"tinyclsf {own_version()}: {request.model.name} on {request.data.name}", err=True)
        from tinyclsf.cli.console import Watch
        from tinyclsf.cli.fit_end import output_of
        from tinyclsf.experiments.experiment import describe
        from tinyclsf.experiments.running import carry_out

        first = launch.rank() == 0
        words: tuple[str, ...] = ctx.obj  # those of the whole command line, as `main` was given them
        command = f"{launch.command()} {shell_text(*words)}"
        with Watch(progress, every=log_every, verbose=verbose) as watch:
            trained = carry_out(describe(request), name=run, root=runs, progress=watch, signals=signals, command=command)
        return output_of(trained, watch.warnings) if first else None


def _was_said(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _source(name: str) -> str:
    return "argument" if name == "model" else f"--{name.replace('_', '-')}"
