"""Runs beside each other: where their settings differ, how good each was, and what of that is more than chance.

Only files of a run folder are read and no model is built, so that runs of a plugin that is gone compare too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tinyclsf.analysis.by_class import ByClass, by_class, confusion_of
from tinyclsf.analysis.differences import differing, setting_names
from tinyclsf.analysis.significance import SIGNIFICANT, McNemar, holm, mcnemar, p_as_text
from tinyclsf.errors import ConfigurationError, ModelFileError, join_names, printable
from tinyclsf.history import History
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.machine.arguments import as_path, check_type, naming_arguments
from tinyclsf.machine.storage import StrPath
from tinyclsf.metrics import Epoch, Score, best_of, measured, percent, quality
from tinyclsf.registry.options import as_text
from tinyclsf.runs.config_file import ConfigFile, read_run_config
from tinyclsf.runs.epochs import read_history
from tinyclsf.runs.folder import read_predictions
from tinyclsf.runs.listing import describe_run

ALL_PAIRS = 4  # runs of which each is tested against each; of more, the best one against the others

_MOST_SETTINGS, _MOST_DRAWN = 8, 8  # settings, and runs and sentences, in a notebook
_WHY = {"running": "is still being trained", "stopped": "was stopped", "failed": "failed"}


class ComparedRun(NamedTuple):
    """One of the runs; a field is None if its files do not have it.

    `by_class` are figures of its saved predictions. `settings` are those in which the runs differ, without settings that this
    run does not have.
    """

    name: str
    folder: Path
    state: str
    settings: dict[str, Any]
    history: History
    epochs: int | None
    best: Epoch | None
    held_out: Score | None
    by_class: ByClass | None
    parameters: int | None


class Pair(NamedTuple):
    """Two runs by name and the result of their test; `p_value` is corrected for the number of tests, None without a test."""

    a: str
    b: str
    test: McNemar | None
    p_value: float | None
    sentence: str


class Comparison(NamedTuple):
    """Runs side by side; `differing` names the settings that differ, `notes` are remarks on all tests together."""

    runs: tuple[ComparedRun, ...]
    differing: tuple[str, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        runs = [f"{printable(run.name)}: {_scored(run)}" for run in self.runs[:ALL_PAIRS]]
        more = [f"and {len(self.runs) - ALL_PAIRS:,} runs more"] if len(self.runs) > ALL_PAIRS else []
        return "\n".join([*runs, *more, *(printable(pair.sentence) for pair in self.pairs[:ALL_PAIRS])])

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.figures import draw_curves
        from tinyclsf.drawing.page import page, paragraph, table
        from tinyclsf.drawing.style import as_html

        names = self.differing[:_MOST_SETTINGS]
        left_out = [f"{len(self.differing) - len(names):,} more settings differ"] if len(self.differing) > len(names) else []
        settings = [[run.name, *(as_text(run.settings.get(name, "-")) for name in names)] for run in self.runs]
        validated = [percent(None if run.best is None else run.best.valid_accuracy) for run in self.runs]
        figures = [
            [run.name, run.state, f"{len(run.history):,}", best, _scored(run)]
            for run, best in zip(self.runs, validated, strict=True)
        ]
        curves = {run.name: run.history for run in self.runs[:_MOST_DRAWN] if run.history}
        return page(
            f"{len(self.runs):,} runs",
            table(("run", "state", "epochs", "best validation accuracy", "held-out images"), figures, names=2),
            *([table(("run", *names), settings)] if names else [paragraph("the settings are the same")]),
            *map(paragraph, (*left_out, *(pair.sentence for pair in self.pairs[:_MOST_DRAWN]), *self.notes)),
            as_html(draw_curves(curves)) if curves else "",
        )


@naming_arguments
def compare(folders: Sequence[StrPath]) -> Comparison:
    """Compare runs by the files in their folders, without building a model.

    Two runs are tested if both were scored on the same images: the same files, at any size, or the same pixels.
    Raises: ConfigurationError if there are fewer than two, or one is given twice; ModelFileError if a file of a run is broken.
    """
    if isinstance(folders, (str, os.PathLike)):
        folders = [folders]
    check_type("folders", folders, Iterable, wanted="the folders of two runs or more")
    paths = [as_path("a folder", folder) for folder in folders]
    if len(paths) < 2:
        given = f"; got only {paths[0]}" if paths else ""
        raise ConfigurationError(f"compare needs at least two runs{given}; 'tinyclsf runs' shows all")
    for first, second in combinations(paths, 2):
        if first.resolve() == second.resolve():
            raise ConfigurationError(f"run {second} is given twice; give each run once")
    configs = [read_run_config(path) for path in paths]
    each_settings = differing(configs)
    runs = tuple(map(_compared, paths, _shown_names(paths), configs, each_settings))
    scored = [_Scored(run, config, *_read_predictions(run)) for run, config in zip(runs, configs, strict=True)]
    pairs = tuple(_tested(_chosen_pairs(scored)))
    runs = tuple(each.run._replace(by_class=_by_class(each)) for each in scored)
    return Comparison(runs, tuple(setting_names(each_settings)), pairs, tuple(_notes(scored, pairs, configs)))


class _Scored(NamedTuple):
    run: ComparedRun
    config: ConfigFile
    split: str
    predictions: Predictions | None
    why_none: str

    @property
    def name(self) -> str:
        return self.run.name


def _compared(folder: Path, name: str, config: ConfigFile, settings: dict[str, Any]) -> ComparedRun:
    summary, history = describe_run(folder), read_history(folder)
    return ComparedRun(
        name=name,
        folder=folder,
        state=summary.state,
        settings=settings,
        history=history,
        epochs=summary.epochs,
        best=best_of(history),
        held_out=summary.held_out,
        by_class=None,
        parameters=config.parameters,
    )


def _scored(run: ComparedRun) -> str:
    if run.held_out is None:
        return "no score"
    return f"{run.held_out.split} accuracy {measured(run.held_out.accuracy, run.held_out.interval)}"


def _shown_names(folders: Sequence[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def _read_predictions(run: ComparedRun) -> tuple[str, Predictions | None, str]:
    """The split, the predictions, and where there are none, why; those of a run that goes on are of earlier weights."""
    if run.state != "done":
        return "", None, f"{run.name} {_WHY[run.state]}, and predictions are saved at a run's end"
    try:
        return *read_predictions(run.folder), ""
    except ModelFileError as error:
        return "", None, str(error)


def _by_class(each: _Scored) -> ByClass | None:
    if each.predictions is None:
        return None
    number, names = each.predictions.logits.shape[1], (each.config.content or {}).get("classes", [])
    # Files that were put together by hand may tell of other classes.
    names = names if len(names) == number else [str(label) for label in range(number)]
    return by_class(confusion_of(each.predictions), names)


def _chosen_pairs(scored: Sequence[_Scored]) -> list[tuple[_Scored, _Scored]]:
    if len(scored) <= ALL_PAIRS:
        return list(combinations(scored, 2))
    best = _best(scored)
    return [(best, other) for other in scored if other is not best]


def _best(scored: Sequence[_Scored]) -> _Scored:
    """The best run by validation, as the test images are to judge the choice; if it can be, one that has predictions."""
    able = [each for each in scored if each.predictions is not None] or scored
    return max(able, key=lambda each: (-math.inf, 0.0) if each.run.best is None else quality(each.run.best))


def _tested(pairs: Sequence[tuple[_Scored, _Scored]]) -> list[Pair]:
    reasons = [_why_no_test(a, b) for a, b in pairs]
    tests = [None if reason else mcnemar(_correct(a), _correct(b)) for (a, b), reason in zip(pairs, reasons, strict=True)]
    corrected = iter(holm([test.p_value for test in tests if test is not None]))
    found = []
    for (a, b), reason, test in zip(pairs, reasons, tests, strict=True):
        if test is None:
            found.append(Pair(a.name, b.name, None, None, f"no test of {a.name} against {b.name}: {reason}"))
        else:
            p_value = next(corrected)
            found.append(Pair(a.name, b.name, test, p_value, _sentence(a, b, test, p_value)))
    return found


def _why_no_test(a: _Scored, b: _Scored) -> str | None:
    for each in (a, b):
        if each.predictions is None:
            return each.why_none
    if a.split != b.split:
        return f"{a.name} was scored on {a.split} images and {b.name} on {b.split} images"
    was, now = (each.config.content or {} for each in (a, b))
    for each, content in ((a, was), (b, now)):
        if not content:
            return f"the config.json of {each.name} does not say what is in its data"
    if keys := [key for key in _identity(a.split, was, now) if was.get(key) != now.get(key)]:
        return f"their {a.split} images differ: {', '.join(_difference(key, was.get(key), now.get(key)) for key in keys)}"
    if a.predictions is not None and b.predictions is not None and not a.predictions.labels.equal(b.predictions.labels):
        return "the labels of their images differ"
    return None


def _identity(split: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What has to be equal in two runs for their images to be the same: the files, at any size, or else the pixels."""
    files, pixels = f"{split}_files", f"{split}_checksum"
    if files in was and files in now and (was[files] == now[files] or was.get(pixels) is now.get(pixels) is None):
        return split, files, "classes"
    return split, pixels, "classes", "image_shape"


def _difference(key: str, a: Any, b: Any) -> str:
    name = key.replace("_", " ")
    return name if isinstance(a, list) else f"{name} {a} and {b}"


def _predicted(each: _Scored) -> Tensor:
    assert each.predictions is not None
    return each.predictions.logits.argmax(dim=1)


def _correct(each: _Scored) -> Tensor:
    assert each.predictions is not None
    return _predicted(each) == each.predictions.labels


def _sentence(a: _Scored, b: _Scored, test: McNemar, p_value: float) -> str:
    images = f"{sum(test[:4]):,} images"
    if _predicted(a).equal(_predicted(b)):
        return f"{a.name} and {b.name} predict the same for all {images}"
    p = p_as_text(p_value)
    if p_value >= SIGNIFICANT:
        counts = f"{test.only_a:,} only {a.name} gets right and {test.only_b:,} only {b.name}"
        return f"{a.name} and {b.name}: no difference that {images} can show; {counts}, {p}"
    (better, more), (worse, fewer) = sorted(((a.name, test.only_a), (b.name, test.only_b)), key=lambda side: -side[1])
    return f"{better} is better than {worse}: of the {images} {more:,} only {better} gets right and {fewer:,} only {worse}, {p}"


def _notes(scored: Sequence[_Scored], pairs: Sequence[Pair], configs: Sequence[ConfigFile]) -> list[str]:
    notes, tests = [], [pair for pair in pairs if pair.test is not None]
    if len(scored) > ALL_PAIRS:
        notes.append(f"{_best(scored).name} is the best by validation, so it is tested against each of the others")
    if len(tests) > 1:
        notes.append(f"each p is corrected for {len(tests)} tests by Holm's method")
    apart = [set().union(*differing(pair)) for pair in combinations(configs, 2)]
    if tests and all(names == {"seed"} for names in apart):
        notes.append("the runs differ in the seed alone: their differences are chance, not the effect of a setting")
    elif tests and all(names - {"seed"} for names in apart):
        notes.append(
            "the tests compare these trained models; with one run for each setting, its effect cannot be told "
            "from that of the seed"
        )
    held_out = [
        (each.name, each.run.held_out.split, config)
        for each, config in zip(scored, configs, strict=True)
        if each.run.held_out is not None
    ]
    if without := [(name, config.no_test_split) for name, split, config in held_out if split == "valid"]:
        names, (said, *_) = zip(*without, strict=True)
        notes.append(said if len(without) == len(held_out) else f"{join_names(names)}: {said}")
    return notes
