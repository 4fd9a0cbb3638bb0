"""The report of a run: one HTML page that needs nothing else, with its curves, figures, mistakes and what these suggest."""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch.utils.data import IterableDataset

from tinyclsf.analysis.assessment import MOST_SHOWN, Assessment, Mistake, assess
from tinyclsf.analysis.checks import stuck_outputs
from tinyclsf.analysis.course import Remark
from tinyclsf.analysis.remarks import find_remarks
from tinyclsf.drawing.figures import draw_confusion, draw_reliability, draw_single_curves
from tinyclsf.drawing.page import picture_url
from tinyclsf.drawing.samples import as_pictures
from tinyclsf.drawing.style import as_svg
from tinyclsf.errors import ConfigurationError, DataWarning, TinyclsfError, join_names, shape_as_text
from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.storage import StrPath, check_target, write_text
from tinyclsf.machine.templates import load_template
from tinyclsf.metrics import best_of, percent
from tinyclsf.registry.plugins import blamed_on, find
from tinyclsf.runs.config_file import ConfigFile, read_run_config
from tinyclsf.runs.epochs import read_history
from tinyclsf.runs.folder import PREDICTIONS, is_there, read_predictions
from tinyclsf.runs.listing import RunSummary, describe_run
from tinyclsf.runs.models import read_card
from tinyclsf.runs.trained_run import choose_split, data_of_run, how_changed, loss_of_run, paths_of, splits_for

REPORT = "report.html"
_ENLARGED = 96  # pixels: smaller pictures are drawn as squares


class Scored(NamedTuple):
    """What the saved predictions of a run tell: the split that they are for, and its figures."""

    split: str
    assessment: Assessment
    stuck: list[int]


class Picture(NamedTuple):
    """A mistake with its image, as a data URL, and its file."""

    mistake: Mistake
    url: str
    smooth: bool
    path: str | None


class PageReport(NamedTuple):
    """The page that was written, what it says about the run, and notes on what is missing."""

    path: Path
    run: RunSummary
    scored: Scored | None
    remarks: list[Remark]
    notes: list[str]


def write_report(folder: StrPath, out: StrPath | None = None, *, worst: int = 12) -> PageReport:
    """Write the report of a run as one HTML file, by default `report.html` in its folder.

    If the run was never scored, or was resumed since, the page has only its curves and what they suggest. If the data has
    changed or cannot be read, the mistakes have no pictures.
    Raises: ModelFileError if a file of the run is missing or broken; DataError if its predictions have no figures;
    StorageError if the page cannot be written.
    """
    path, notes = as_path("folder", folder), list[str]()
    target = path / REPORT if out is None else as_path("out", out)
    if type(worst) is not int or worst < 0:
        raise ConfigurationError(f"worst is {worst!r}; wanted a whole number of at least 0")
    check_target(target)
    run, config, history = describe_run(path), read_run_config(path), read_history(path)
    content, predicted, done = config.content or {}, is_there(path / PREDICTIONS), run.state == "done"
    scored = _scored(path, config) if predicted and done else None
    if predicted and not done:
        notes.append("The run is not done and its saved predictions are of earlier weights, so it has no figures.")
    if done and not predicted:
        notes.append(f"{path / PREDICTIONS} is not there, so the page has no figures; tinyclsf evaluate computes them.")
    if in_python := [each.name for each in (config.model, config.data) if each is not None and each.given_in_python]:
        notes.append(f"No command can make {join_names(in_python)}, given in Python: give the options below to tinyclsf.train.")
    remarks = find_remarks(
        history,
        None if scored is None else scored.assessment,
        config.settings,
        name=str(path),
        stuck=() if scored is None else scored.stuck,
        split="test" if scored is None else scored.split,
        sets_aside=config.sets_aside,
        valid_images=content.get("valid"),
        error=run.error,
    )
    text = load_template(Path(__file__).with_name("report.html"), autoescape=True, percent=percent).render(
        run=run,
        commands=config.commands,
        about=_about(config, content),
        settings=config.rows(),
        best=best_of(history),
        history=history,
        curves=[as_svg(figure) for figure in draw_single_curves({run.name: history})] if history else [],
        remarks=remarks,
        scored=scored,
        pictures=[] if scored is None else _pictures(path, config, scored, worst, notes),
        reliability=None if scored is None else as_svg(draw_reliability(scored.assessment.reliability)),
        confusion=None if scored is None else _drawn_confusion(scored.assessment),
        notes=notes,
    )
    write_text(target, text)
    return PageReport(target, run, scored, remarks, notes)


def _scored(folder: Path, config: ConfigFile) -> Scored:
    split, predictions = read_predictions(folder)
    found = assess(predictions, read_card(folder).classes, loss_of_run(folder, config))
    return Scored(split, found, stuck_outputs(predictions.logits))


def _pictures(folder: Path, config: ConfigFile, scored: Scored, worst: int, notes: list[str]) -> list[Picture]:
    shown = scored.assessment.mistakes[:worst]
    if not shown:
        return []
    try:
        card = read_card(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # it was told when the run was trained
            splits = splits_for(card, folder, config)
        if changed := how_changed(folder, config, splits):
            notes.append(f"The mistakes have no pictures, as {changed}.")
            return []
        _, dataset = choose_split(splits, scored.split)
        if isinstance(dataset, IterableDataset):
            notes.append("The mistakes have no pictures, as the images come as a stream, which gives none a second time.")
            return []
        if isinstance(dataset, Sized) and len(dataset) != scored.assessment.images:
            found = f"{scored.assessment.images:,} images and there are {len(dataset):,}"
            notes.append(f"The mistakes have no pictures, as the saved predictions are of {found}.")
            return []
        paths = paths_of(dataset)
        with blamed_on(find("dataset", data_of_run(folder, config).name), "failed to give an image"):
            return [_picture(dataset[each.index][0], card.white, each, paths) for each in shown]
    except TinyclsfError as error:
        notes.append(f"The mistakes have no pictures, as the run's data could not be read: {error}.")
        return []


def _picture(image: Any, white: float, mistake: Mistake, paths: Sequence[str] | None) -> Picture:
    pixels = as_pictures(image[None], white)[0]
    return Picture(
        mistake,
        picture_url(Image.fromarray(pixels)),
        max(pixels.shape[:2]) > _ENLARGED,
        None if paths is None else paths[mistake.index],
    )


def _about(config: ConfigFile, content: dict[str, Any]) -> list[str]:
    sizes = [f"{content[split]:,} {split}" for split in ("train", "valid", "test") if content.get(split)]
    classes, shape = content.get("classes"), content.get("image_shape")
    data = [
        *([f"{', '.join(sizes)} images"] if sizes else []),
        *([f"of {shape_as_text(shape)}"] if shape else []),
        *([f"in {len(classes)} classes"] if classes else []),
    ]
    parameters = "" if config.parameters is None else f"{config.parameters:,} parameters"
    found = {"tinyclsf": config.versions.tinyclsf, "torch": config.versions.torch, "Python": config.versions.python}
    versions = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    return [" ".join(data), parameters, versions]


def _drawn_confusion(assessment: Assessment) -> str | None:
    names = [each.name for each in assessment.classes]
    return as_svg(draw_confusion(assessment.confusion, names)) if len(names) > MOST_SHOWN else None
