"""`tinyclsf evaluate RUN`: how good a trained model is, class by class, what it takes for what, and its worst mistakes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyclsf.cli.output import WIDTH, Output, cells, columns, document, notes, scored, shortened, tta_title, wrapped
from tinyclsf.cli.shared_options import (
    DIRECTORY,
    common_options,
    option,
    other_data_options,
    run_argument,
    runs_option,
    tta_option,
)
from tinyclsf.errors import StorageError, join_names, printable
from tinyclsf.machine.storage import check_target, storing
from tinyclsf.metrics import measured, percent
from tinyclsf.registry.plugins import blamed_for_batches, blamed_on, find
from tinyclsf.runs.listing import find_run

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

    from tinyclsf.analysis.assessment import Assessment, Mistake
    from tinyclsf.analysis.by_class import Cell
    from tinyclsf.loop.evaluation import Tta
    from tinyclsf.runs.trained_run import TrainedRun

_SPLIT = "train, valid, test or all. [test, else valid]"
_OUT = "Where the files go. [RUN/evaluation-SPLIT, of other data RUN/evaluation-DATA-SPLIT]"
_MOST_CROSSED = 12  # classes whose confusion matrix fits on a page
_CONFUSIONS = 5
_NAME = 24
_CAPTION = 12  # leaves room beside it for the confidence


@click.command(short_help="Score a run class by class, with its mistakes.")
@run_argument
@option("--split", type=click.Choice(["train", "valid", "test", "all"]), metavar="NAME", help=_SPLIT)
@other_data_options
@option("--out", help=_OUT, **DIRECTORY)
@option("--worst", type=click.IntRange(1, 100), default=12, metavar="N", help="Mistakes in the picture. [12]")
@tta_option
@option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps. [auto]")
@runs_option()
@common_options
def evaluate(
    run: str,
    split: str | None,
    data: str | None,
    data_dir: Path | None,
    data_options: Mapping[str, str],
    out: Path | None,
    worst: int,
    tta: Tta,
    device: str,
    runs: Path,
) -> Output:
    """Score RUN's best weights: precision, recall and F1 by class, confusions and mistakes.

    Writes errors.csv (every mistake, the worst first), mistakes.png and confusion.png.

    \b
    tinyclsf evaluate overnight
    tinyclsf evaluate overnight --split valid --worst 30
    tinyclsf evaluate overnight --json
    """
    folder = find_run(runs, run)
    # Not at the top: torch takes seconds to import, which --help need not wait for.
    import torch
    from torch.utils.data import IterableDataset

    from tinyclsf.analysis.assessment import assess
    from tinyclsf.analysis.guessing import guessing_note
    from tinyclsf.cli.console import Watch, warn_if_training
    from tinyclsf.machine.devices import choose_device
    from tinyclsf.runs.trained_run import choose_split, load_run, load_splits, predictions_for

    with Watch("auto") as watch:
        choose_device(device)  # what is not there is said before the data is read
        trained = load_run(folder)
        warn_if_training(watch, folder)
        splits = load_splits(trained, data=data, data_dir=data_dir, options=data_options)
        name, dataset = choose_split(splits, split)
        evaluated = trained.data.name if data is None else data
        other = data_dir is not None or bool(data_options) or evaluated != trained.data.name
        # A data set's name may hold anything, a slash too.
        parts = ["evaluation", *([evaluated] if other else []), name, *([] if tta == "none" else ["tta", tta])]
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))
        target = out or folder / plain
        _make_writable(target)
        plugin = find("dataset", evaluated)
        with blamed_for_batches(plugin):
            predictions = predictions_for(trained, dataset, device=device, tta=tta)
        with blamed_on(plugin, "failed to give an image"):  # that has been in a batch already
            assessment = assess(predictions, splits.classes, trained.loss_func, dataset=dataset)
            shown = [] if isinstance(dataset, IterableDataset) else assessment.mistakes[:worst]  # a stream gives none again
            images = [torch.as_tensor(dataset[each.index][0]) for each in shown]
        files = _write(target, trained, assessment, shown, images, tta)
    names = [each.name for each in assessment.classes]
    said = guessing_note(assessment, [each.images for each in assessment.classes], names)
    said += [trained.config.no_test_split] if name == "valid" and splits.test is None and not other else []
    figures = {name: value for name, value in assessment._asdict().items() if name != "pictures"}
    figures |= {"confusion": _named(assessment.confusion, names), "mistakes": _named(assessment.mistakes, names)}
    content = document(
        "evaluate", run=folder, data=evaluated, split=name, tta=tta, **figures, notes=said, files=files, warnings=watch.warnings
    )
    blocks = [_overall(name, assessment, said), _by_class(assessment), _confusions(assessment, names)]
    blocks += [_crossed(assessment.confusion_matrix, names)] if len(names) <= _MOST_CROSSED else []
    written = [(what, str(path)) for what, path in files.items() if path is not None]
    blocks += [_remarks(assessment, files)]
    blocks = [[*tta_title(tta), *block] for block in blocks if block]  # in each, as one may be copied alone
    return Output("\n\n".join("\n".join(block) for block in [*blocks, columns(written, indent="")]), content)


def _named(found: Sequence[Cell | Mistake], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{**each._asdict(), "true": names[each.true], "predicted": names[each.predicted]} for each in found]


def _make_writable(folder: Path) -> None:
    """Make the folder, and find out before the model predicts that nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}; choose another --out") from error
    check_target(folder / "errors.csv")


def _write(
    folder: Path, run: TrainedRun, assessment: Assessment, shown: Sequence[Mistake], images: Sequence[Tensor], tta: Tta
) -> dict[str, Path | None]:
    """Write the table and the pictures; where no mistakes are shown, an older picture of some is removed."""
    from tinyclsf.analysis.assessment import write_mistakes
    from tinyclsf.drawing.figures import add_title, draw_confusion, save_figure

    classes = run.model.classes
    errors, pictures, confusion = (folder / name for name in ("errors.csv", "mistakes.png", "confusion.png"))
    write_mistakes(errors, assessment.mistakes, classes, tta)
    figures = {confusion: draw_confusion(assessment.confusion, classes)}
    if shown:
        figures[pictures] = _draw(run, images, shown)
    else:
        with storing(pictures):
            pictures.unlink(missing_ok=True)
    for path, figure in figures.items():
        for title in tta_title(tta):
            add_title(figure, title)
        save_figure(figure, path)
    return {"errors": errors, "mistakes": pictures if shown else None, "confusion": confusion}


def _overall(split: str, found: Assessment, said: Sequence[str]) -> list[str]:
    error = percent(found.calibration_error)
    rows = [(split, scored(found)), ("loss", f"{found.loss:.4f}")]
    if found.top5 is not None:
        rows.insert(1, ("top-5", f"accuracy {percent(found.top5)}: the true class is among the five most likely"))
    balanced = measured(found.balanced_accuracy, found.balanced_accuracy_interval)
    rows.append(("balanced", f"accuracy {balanced}: the mean recall of the classes"))
    rows.append(("macro F1", f"{measured(found.macro_f1, found.macro_f1_interval)}: the mean F1 of the classes"))
    rows.append(("confidence", f"{percent(found.confidence)} on average; calibration error {error} over 15 bins"))
    return columns([*rows, *notes(said)], indent="")


def _by_class(found: Assessment) -> list[str]:
    rows = [("class", "images", "recall", "95 % interval", "predicted", "precision", "F1")]
    chosen, title = found.worst_classes or found.classes, []
    if found.worst_classes:
        title = [f"the {len(chosen)} worst of {len(found.classes):,} classes; --json has all"]
    for each in chosen:
        interval = "-" if each.interval is None else " to ".join(map(percent, each.interval))
        recall = f"{each.images:,}", percent(each.recall), interval
        rows.append((_short(each.name), *recall, f"{each.predicted:,}", percent(each.precision), percent(each.f1)))
    return title + columns(rows, numbers_from=1)


def _confusions(found: Assessment, names: Sequence[str]) -> list[str]:
    wrong = [cell for cell in found.confusion if cell.true != cell.predicted]
    most = sorted(wrong, key=lambda cell: -cell.images)[:_CONFUSIONS]
    rows = [(f"{_short(names[cell.true])} -> {_short(names[cell.predicted])}", f"{cell.images:,}") for cell in most]
    return columns([("true -> predicted", "times"), *rows], numbers_from=1) if rows else []


def _crossed(confusion: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """The confusion matrix; a dot is no image."""
    first = max(cells(_short(name)) for name in names)
    room = (WIDTH - 2 - first) // len(names) - 2
    header = ("", *(_short(name, room) for name in names))
    counts = [[f"{count:,}" if count else "." for count in row] for row in confusion]
    rows = [(_short(name), *row) for name, row in zip(names, counts, strict=True)]
    return ["true class by row, predicted class by column", *columns([header, *rows], numbers_from=1)]


def _remarks(found: Assessment, files: Mapping[str, Path | None]) -> list[str]:
    unpredicted = [each for each in found.classes if each.images and not each.predicted]
    never = [f"{_short(each.name)} ({each.images:,} image{'s' * (each.images > 1)})" for each in unpredicted]
    without = [_short(each.name) for each in found.classes if not each.images]
    lines = wrapped(f"the model never predicted {join_names(never)}") if never else []
    lines += wrapped(f"there is no image of {join_names(without)}") if without else []
    if not found.mistakes:
        lines.append("there are no mistakes: errors.csv has its header alone, and there is no mistakes.png")
    elif files["mistakes"] is None:
        lines.append("there is no mistakes.png: the images come as a stream, which gives none of them a second time")
    return lines


def _draw(run: TrainedRun, images: Sequence[Tensor], wrong: Sequence[Mistake]) -> Figure:
    import torch

    from tinyclsf.drawing.figures import draw_samples

    classes = run.model.classes
    taken_for = [f"{_short(classes[each.predicted], _CAPTION)} ({each.confidence * 100:.0f} %)" for each in wrong]
    titles = [f"{guess}\nis {classes[each.true]}" for guess, each in zip(taken_for, wrong, strict=True)]
    marks = [False] * len(wrong)
    across = math.ceil(math.sqrt(len(wrong)))
    return draw_samples(torch.stack([*images]), titles, columns=across, marks=marks, white=run.model.white)


def _short(name: str, room: int = _NAME) -> str:
    return shortened(printable(name), room)
