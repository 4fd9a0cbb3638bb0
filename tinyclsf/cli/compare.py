"""`tinyclsf compare RUN RUN...`: where runs differ, how good each is, whether that is more than chance, and their curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyclsf.cli.output import WIDTH, Output, cells, columns, document, shortened, wrapped
from tinyclsf.cli.shared_options import FILE, common_options, complete_run, option, runs_option
from tinyclsf.metrics import percent
from tinyclsf.registry.options import as_text
from tinyclsf.runs.listing import find_run

if TYPE_CHECKING:
    from tinyclsf.analysis.by_class import ClassFigures
    from tinyclsf.analysis.comparison import ComparedRun, Comparison

_SIDE_BY_SIDE = 4  # runs that have a column each; more of them have a row each
_LONGEST = 40  # letters of a run's name where it has a row
_LONGEST_VALUE = 24
_MOST_CLASSES = 20  # that have a line each
_BY_CLASS = "precision/recall/F1, %"

Table = list[list[str]]


@click.command(short_help="Compare runs, and say whether a difference could be chance.")
@click.argument("names", nargs=-1, metavar="RUN RUN...", shell_complete=complete_run)
@option("--out", default="comparison.png", help="Where the curves go: .png, .svg or .pdf. [comparison.png]", **FILE)
@runs_option()
@common_options
def compare(names: tuple[str, ...], out: Path, runs: Path) -> Output:
    """Compare runs: settings that differ, figures, and whether one is better by more than chance.

    McNemar's exact test counts the images that only one of two runs gets right.
    Losses and accuracy by epoch are drawn into one picture.

    \b
    tinyclsf compare overnight short
    tinyclsf compare overnight short --out curves.svg
    tinyclsf compare overnight short --json
    """
    folders = [find_run(runs, name) for name in names]
    # Not at the top: torch takes seconds to import, which --help need not wait for.
    from tinyclsf.analysis.comparison import compare as compare_runs
    from tinyclsf.drawing.figures import draw_curves, save_figure

    found = compare_runs(folders)
    curves = {run.name: run.history for run in found.runs if run.history}
    picture = save_figure(draw_curves(curves), out) if curves else None
    runs_found = [{**run._asdict(), "seconds": math.fsum(row.seconds for row in run.history)} for run in found.runs]
    return Output(_text(found, picture), document("compare", **{**found._asdict(), "runs": runs_found}, curves=picture))


def _text(found: Comparison, picture: Path | None) -> str:
    settings = [[name, *(_setting(run, name) for run in found.runs)] for name in found.differing]
    figures = [list(row) for row in zip(_labels(found), *map(_figures, found.runs), strict=True)]
    blocks = [] if settings else [["the settings are the same"]]
    classes = _classes(found)
    shown = len(found.runs) <= _SIDE_BY_SIDE and 0 < len(classes) <= _MOST_CLASSES
    by_class = [[_BY_CLASS, *[""] * len(found.runs)], *classes] if shown else []
    blocks += _tables(["", *(run.name for run in found.runs)], settings, figures, by_class)
    blocks += [["--json has precision, recall and F1 of each class"]] if classes and not shown else []
    blocks += [[line for sentence in (*(pair.sentence for pair in found.pairs), *found.notes) for line in wrapped(sentence)]]
    blocks += [[f"curves  {picture}" if picture else "there is no epoch yet to draw"]]
    return "\n\n".join("\n".join(block) for block in blocks)


def _setting(run: ComparedRun, name: str) -> str:
    value = run.settings.get(name, "-")
    return f"{value:g}" if isinstance(value, float) else as_text(value)


def _labels(found: Comparison) -> list[str]:
    splits = {run.held_out.split for run in found.runs if run.held_out}
    scored = "test" if splits == {"test"} else "held-out"  # "valid" would name two rows alike
    return [
        *("epochs", "seconds", "parameters", "best epoch", "train loss", "valid loss", "valid accuracy"),
        *(f"{scored} images", f"{scored} loss", f"{scored} accuracy", "95 % interval"),
        *("balanced accuracy", "balanced interval", "macro F1", "macro F1 interval"),
    ]


def _figures(run: ComparedRun) -> list[str]:
    best, held_out = run.best, run.held_out
    figures = [f"{len(run.history)}/{run.epochs or '-'}", f"{sum(row.seconds for row in run.history):,.1f}"]
    figures.append("-" if run.parameters is None else f"{run.parameters:,}")
    if best is None:
        figures += ["-"] * 4
    else:
        figures += [str(best.epoch), f"{best.train_loss:.4f}", f"{best.valid_loss:.4f}", percent(best.valid_accuracy)]
    if held_out is None:
        figures += ["-"] * 4
    else:
        figures += [f"{held_out.images:,}", f"{held_out.loss:.4f}", percent(held_out.accuracy), _range(held_out.interval)]
    found = run.by_class
    if found is None:
        return [*figures, *["-"] * 4]
    figures += [percent(found.balanced_accuracy), _range(found.balanced_accuracy_interval)]
    return [*figures, percent(found.macro_f1), _range(found.macro_f1_interval)]


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0] * 100:.2f} to {interval[1] * 100:.2f} %"


def _classes(found: Comparison) -> Table:
    """Precision, recall and F1 of each class."""
    by_run = [{each.name: each for each in run.by_class.classes} if run.by_class else {} for run in found.runs]
    names = dict.fromkeys(name for classes in by_run for name in classes)
    return [[shortened(name, _LONGEST_VALUE), *(_class(classes.get(name)) for classes in by_run)] for name in names]


def _class(found: ClassFigures | None) -> str:
    shares = (None, None, None) if found is None else (found.precision, found.recall, found.f1)
    return "/".join("-" if share is None else f"{share * 100:.1f}" for share in shares)


def _tables(header: list[str], settings: Table, figures: Table, by_class: Table) -> list[list[str]]:
    """The lines of tables with a column for each run, or, of many runs, a row for each, in as many pieces as the page asks."""
    table = [header, *settings, *figures, *by_class]
    if len(header) - 1 <= _SIDE_BY_SIDE:
        room = (WIDTH - max(cells(row[0]) for row in table)) // (len(header) - 1) - 2
        cut = [[label, *(_cut(each, room) for each in row)] for label, *row in table]
        lines = columns(cut, indent="", numbers_from=1)
        above = 1 + len(settings) if settings else 0
        below = 1 + len(settings) + len(figures)
        return [piece for piece in (lines[:above], lines[above:below], lines[below:]) if piece]
    table[0][0] = "run"
    by_run = zip(*table, strict=True)
    rows = [[_cut(name, _LONGEST), *(_cut(each, _LONGEST_VALUE) for each in row)] for name, *row in by_run]
    return [columns(piece, indent="", numbers_from=1) for piece in _pieces(rows)]


def _pieces(rows: Table) -> Iterator[Table]:
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    start = 1
    while start < len(widths):
        end, used = start, widths[0]
        while end < len(widths) and (end == start or used + 2 + widths[end] <= WIDTH):
            used += 2 + widths[end]
            end += 1
        yield [[row[0], *row[start:end]] for row in rows]
        start = end


def _cut(text: str, room: int) -> str:
    """A text that fits, without its middle: the end tells times and paths apart."""
    if cells(text) <= room:
        return text
    room = max(room, 3)
    tail = (room - 3) * 2 // 3
    start, end = text, text
    while cells(start) > room - 3 - tail:
        start = start[:-1]
    while cells(end) > tail:
        end = end[1:]
    return f"{start}...{end}"
