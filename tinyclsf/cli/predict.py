"""`tinyclsf predict RUN FILE...`: what a run's model sees in pictures, as a table, as CSV and as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tinyclsf.cli.output import WIDTH, Output, cells, columns, document, to_left, to_right, tta_title
from tinyclsf.cli.shared_options import FILE, common_options, option, run_argument, runs_option, tta_option
from tinyclsf.errors import ConfigurationError, join_names, printable
from tinyclsf.machine.csv_text import csv_bytes, csv_text
from tinyclsf.machine.json_text import json_text
from tinyclsf.machine.storage import check_target, write_whole
from tinyclsf.metrics import percent
from tinyclsf.runs.listing import find_run

if TYPE_CHECKING:
    from tinyclsf.deployment.prediction import FilePrediction
    from tinyclsf.loop.evaluation import Tta

_LEAST = 24  # columns of a line for the name of a file


class _Row(NamedTuple):
    """A file with its most probable classes, the first one first, or why it has none."""

    file: str
    best: tuple[tuple[str, float], ...]
    error: str | None


@click.command(short_help="Name the classes of picture files.")
@run_argument
@click.argument("files", metavar="FILE|FOLDER...", nargs=-1, required=True)
@option("--top", type=click.IntRange(1), default=3, metavar="N", help="How many classes to show. [3]")
@option("--format", "form", type=click.Choice(["table", "csv"]), help="How to print them. [table; nothing with --out]")
@option("--out", help="Write them to a file, .csv or .json.", **FILE)
@tta_option
@option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps. [auto]")
@runs_option()
@common_options
def predict(
    run: str, files: tuple[str, ...], top: int, form: str | None, out: Path | None, tta: Tta, device: str, runs: Path
) -> Output:
    """Predict the classes of picture files, or of all pictures in a folder.

    Pictures may have any size and format; each is scaled as in training. One that
    cannot be read is named with the reason, and the exit code is 3.

    \b
    tinyclsf predict overnight photos/cat/0.jpg
    tinyclsf predict overnight photos --top 1 --format csv
    tinyclsf predict overnight photos --out predicted.csv
    """
    if out is not None:  # before long work
        if out.suffix.lower() not in (".csv", ".json"):
            message = f"cannot tell from the name {out} what to write; give --out a name that ends in .csv or .json"
            raise ConfigurationError(message)
        check_target(out)
    folder = find_run(runs, run)

    from tinyclsf.cli.console import Watch, warn_if_training
    from tinyclsf.deployment.prediction import predict_files
    from tinyclsf.runs.trained_run import load_run

    one = len(files) == 1 and not os.path.isdir(files[0])
    with Watch("none" if one else "auto") as watch:
        trained = load_run(folder)
        warn_if_training(watch, folder)
        classes = trained.model.classes
        batch_size = 2 * trained.setting("batch_size", 64)
        predictions = predict_files(trained.model, files, device=device, batch_size=batch_size, tta=tta)
        rows = [_row(each, classes, top) for each in predictions]
        unread = [row for row in rows if row.error is not None]
        if unread:
            named = join_names([f"{printable(row.file)} ({row.error})" for row in unread])
            watch.warn(f"{len(unread):,} of {_count(len(rows))} could not be read: {named}")
    top = min(top, len(classes))
    pictures = [_as_json(row) for row in rows]
    content = document("predict", run=folder, tta=tta, classes=classes, pictures=pictures, unreadable=len(unread), out=out)
    lines = []
    if form == "csv":
        lines += [csv_text(_cells([_shown(row) for row in rows], top, tta)).removesuffix("\n")]
    elif form == "table" or out is None:
        lines += tta_title(tta) + _table([_shown(row) for row in rows], top)
    if out is not None:
        as_json = out.suffix.lower() == ".json"
        written = (json_text(content) + "\n").encode() if as_json else csv_bytes(_cells(rows, top, tta))
        write_whole(out, lambda file: file.write(written))
        lines += [f"{_count(len(rows))} in {out}"] if form != "csv" else []
    return Output("\n".join(lines), content, exit_code=3 if unread else 0, exact=form == "csv")


def _row(found: FilePrediction, classes: Sequence[str], top: int) -> _Row:
    if found.probabilities is None:
        return _Row(found.path, (), found.error)
    values, order = found.probabilities.sort(descending=True, stable=True)  # of equal ones the first, as argmax
    best = zip(order[:top].tolist(), values[:top].tolist(), strict=True)
    return _Row(found.path, tuple((classes[at], value) for at, value in best), None)


def _as_json(row: _Row) -> dict[str, Any]:
    (name, probability), *following = row.best or ((None, None),)
    return {
        "file": row.file,
        "class": name,
        "probability": probability,
        "next": [{"class": name, "probability": probability} for name, probability in following],
        "error": row.error,
    }


def _shown(row: _Row) -> _Row:
    """A row for a terminal, whose names cannot steer it."""
    return row._replace(file=printable(row.file), best=tuple((printable(name), share) for name, share in row.best))


def _cells(rows: Sequence[_Row], top: int, tta: str) -> list[list[object]]:
    names = [("class", "probability"), *((f"class_{place}", f"probability_{place}") for place in range(2, top + 1))]
    named, augmented = ([], []) if tta == "none" else (["tta"], [tta])
    table: list[list[object]] = [["file", *(name for pair in names for name in pair), "error", *named]]
    for row in rows:
        pairs = row.best or [("", "")] * top
        table.append([row.file, *(value for pair in pairs for value in pair), row.error, *augmented])
    return table


def _table(rows: Sequence[_Row], top: int) -> list[str]:
    if len(rows) == 1 and rows[0].best:
        best = [(name, percent(probability)) for name, probability in rows[0].best]
        return [rows[0].file, *columns(best, numbers_from=1)]
    header = ["class", "probability"]
    for place in range(2, top + 1):
        header += [{2: "2nd", 3: "3rd"}.get(place, f"{place}th"), ""]
    texts = {at: [text for name, share in row.best for text in (name, percent(share))] for at, row in enumerate(rows)}
    widths = [max(map(cells, column)) for column in zip(header, *filter(None, texts.values()), strict=True)]
    least = min(_LEAST, max(cells(row.file) for row in rows))
    while len(widths) > 2 and least + sum(widths) + 2 * len(widths) > WIDTH:
        del widths[-2:]
    reasons = {at: f"error: {row.error}" for at, row in enumerate(rows) if row.error is not None}
    taken = max([sum(widths) + 2 * (len(widths) - 1), *map(len, reasons.values())])
    room = max(least, WIDTH - 2 - taken)
    folder, files = _without_folder([row.file for row in rows], room)
    room = min(room, max(map(cells, files)))
    lines = [f"in {folder}"] if folder else []
    lines.append(f"{'file':<{room}}  {_aligned(header, widths)}")
    for at, file in enumerate(files):
        lines.append(f"{to_left(_end_of(file, room), room)}  {reasons.get(at) or _aligned(texts[at], widths)}")
    if len(widths) < 2 * top:
        lines.append(f"(there is room for {len(widths) // 2} of {top} classes; --format csv has all)")
    return [line.rstrip() for line in lines]


def _without_folder(files: list[str], room: int) -> tuple[str, list[str]]:
    folder = os.path.commonprefix(files).rpartition("/")[0]  # noqa: RUF071  # cut at the last slash
    if not folder or max(map(cells, files)) <= room:
        return "", files
    return folder, [file[len(folder) + 1 :] for file in files]


def _end_of(file: str, room: int) -> str:
    if cells(file) <= room:
        return file
    end = file[3 - room :]
    while cells(end) > room - 3:
        end = end[1:]
    return f"...{end}"


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(texts, widths, strict=False)
    return "  ".join((to_right if place % 2 else to_left)(text, width) for place, (text, width) in enumerate(pairs))


def _count(number: int) -> str:
    return "1 picture" if number == 1 else f"{number:,} pictures"
