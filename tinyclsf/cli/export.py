"""`tinyclsf export RUN`: a trained model as one file that is used without this package."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

import click

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import FILE, common_options, option, run_argument, runs_option
from tinyclsf.errors import join_names
from tinyclsf.runs.listing import find_run

if TYPE_CHECKING:
    from tinyclsf.deployment.export import Check, Export

_TO = "What to write. [onnx]"
_OUT = "Where. [model.onnx, model.pt2 or export.safetensors in the run's folder]"
_TOLD = ("path", "format", "bytes", "opset", "input", "output", "classes", "checked", "usage", "versions")


@click.command(short_help="Write a model as ONNX, PT2 or safetensors.")
@run_argument
@option("--to", type=click.Choice(["onnx", "pt2", "safetensors"]), default="onnx", help=_TO)
@option("--out", help=_OUT, **FILE)
@runs_option()
@common_options
def export(run: str, to: str, out: Path | None, runs: Path) -> Output:
    """Write a run's model to one file that takes raw pixels, checked against the model.

    onnx is for ONNX Runtime, pt2 for plain PyTorch; safetensors has the weights and a description, without code.

    \b
    tinyclsf export overnight
    tinyclsf export overnight --to pt2 --out digits.pt2
    tinyclsf export overnight --to safetensors --json
    """
    from tinyclsf.cli.console import Watch, warn_if_training
    from tinyclsf.deployment.export import export_model

    folder = find_run(runs, run)
    with Watch("auto") as watch:
        warn_if_training(watch, folder)
        exported = export_model(folder, to, out)
    content = {name: getattr(exported, name) for name in _TOLD}
    return Output(_text(exported), document("export", run=folder, **content, warnings=watch.warnings))


def _text(exported: Export) -> str:
    shape = ", ".join(map(str, exported.image_shape))
    rows = [
        ("input", f"images: uint8 (n, {shape}), pixels 0..255"),
        ("output", f"logits: {exported.output_type} (n, {len(exported.classes)})"),
        ("classes", f"{join_names(exported.classes)}; the file's metadata holds them"),
        ("checked", _checked(exported.checked)),
    ]
    what = exported.format if exported.opset is None else f"{exported.format}, opset {exported.opset}"
    file = f"{exported.path}: {what}, {exported.bytes / 1e6:.2f} MB"
    return "\n".join([*columns(rows, indent=""), "in Python", indent(exported.usage, "  "), file])


def _checked(check: Check) -> str:
    images = f"{check.images} {check.split or 'random'} image{'s' * (check.images != 1)}"
    ties = f"{check.same_classes} classes equal, the others ties within the tolerance"
    classes = "all classes equal" if check.same_classes == check.images else ties
    return f"on {images}: largest difference {check.max_difference:.1e} of {check.tolerance:.1e} allowed, {classes}"
