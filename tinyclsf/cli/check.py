"""`tinyclsf check MODEL`: what is likely to go wrong in training, looked for before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyclsf.cli.output import Output, columns, document, wrapped
from tinyclsf.cli.shared_options import DATA_DIR, DIRECTORY, KEY_VALUE, common_options, complete_plugin, option
from tinyclsf.errors import printable, shape_as_text
from tinyclsf.registry.plugins import find

if TYPE_CHECKING:
    from tinyclsf.analysis.checks import Examination

_SEED = click.IntRange(0, 2**32 - 1)


@click.command(short_help="Look for common problems before training.")
@click.argument("model", shell_complete=complete_plugin)
@option("--data", default="digits", metavar="NAME", shell_complete=complete_plugin, help="Data set to look at. [digits]")
@option("--data-dir", help=DATA_DIR, **DIRECTORY)
@option("-d", "data_options", help="An option of the data set.", **KEY_VALUE)
@option("-m", "model_options", help="An option of the model.", **KEY_VALUE)
@option("--loss", metavar="NAME", help="cross-entropy or mse. [the model's recipe]")
@option("--seed", type=_SEED, default=0, metavar="N", help="Seed of the weights. [0]")
@option("--images", type=click.IntRange(min=2), default=256, metavar="N", help="Training images to try. [256]")
@common_options
def check(
    model: str,
    data: str,
    data_dir: Path | None,
    data_options: dict[str, str],
    model_options: dict[str, str],
    loss: str | None,
    seed: int,
    images: int,
) -> Output:
    """Look for common problems before MODEL is trained on a data set.

    Nothing is trained, and no run is written. It finds some problems, but cannot prove that there are none.

    \b
    tinyclsf check mnist-cnn
    tinyclsf check lenet -m softmax=true
    tinyclsf check torch-clsf --data image-folder --data-dir photos
    """
    plugins = find("model", model), find("dataset", data)
    from tinyclsf.analysis.checks import examine
    from tinyclsf.cli.console import Watch
    from tinyclsf.experiments.settings import arguments_of, resolve
    from tinyclsf.machine.randomness import seed_all
    from tinyclsf.recipes import make_loss
    from tinyclsf.registry.components import build_model, build_splits, load_component
    from tinyclsf.registry.options import Setting

    model_part = load_component(plugins[0], model_options)
    data_part = load_component(plugins[1], data_options, wanted=model_part.data_options, data_dir=data_dir)
    settings = resolve(model_part.recipe, {} if loss is None else {"loss": Setting(loss, "--loss")})
    loss_func = make_loss(settings["loss"].value, **arguments_of(settings, "loss"))
    with Watch("auto") as watch:
        seed_all(seed)
        splits = build_splits(data_part)
        seed_all(seed)  # as fit does, for the same weights
        built = build_model(model_part, splits)
        found = examine(built, splits, loss_func, images=images)
    shape = shape_as_text(splits.image_shape)
    described = f"{data}, {len(splits.classes):,} classes of {shape} images"
    content = document(
        "check",
        model=model_part.described(),
        data=data_part.described(),
        loss=settings["loss"].value,
        seed=seed,
        **found._asdict(),
        left_out=[{"file": file, "reason": reason} for file, reason in splits.left_out.items()],
        warnings=watch.warnings,
    )
    return Output("\n".join(_lines(model, described, found, splits.left_out)), content)


def _lines(model: str, data: str, found: Examination, left_out: Mapping[str, str]) -> list[str]:
    rows = [
        ("model", f"{model}, {found.parameters:,} parameters, {found.frozen:,} of them frozen"),
        ("data", data),
        ("sample", f"{found.images:,} training images"),
        ("first loss", f"{_number(found.first_loss, 3)}; guessing has {found.guessing:.3f}, which is ln(classes)"),
        ("inputs", f"mean {_number(found.mean, 2)}, standard deviation {_number(found.std, 2)}; 0 and 1 are best"),
    ]
    lines = columns(rows)
    lines += wrapped("; ".join(found.looked_at), "  looked at   ", indent=14) if found.looked_at else []
    lines += wrapped("; ".join(found.skipped), "  skipped     ", indent=14) if found.skipped else []
    for number, (file, reason) in enumerate(left_out.items()):
        lines.append(f"{'' if number else '  left out':<14}{printable(file)} ({reason})")
    lines.append("")
    for number, finding in enumerate(found.findings, start=1):
        lines += wrapped(f"{finding.check}: {finding.evidence}.", f"{number}. ", indent=3)
        lines += wrapped(f"Advice: {finding.advice}.", "   ", indent=3)
    if not found.findings:
        lines.append("the checks found nothing to report; they look at a sample, and cannot prove that all is well")
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
