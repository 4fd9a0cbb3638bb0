"""`tinyclsf show DATA`: some images of a data set as a picture, and what there is in it as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import DATA_DIR, DIRECTORY, FILE, KEY_VALUE, common_options, complete_plugin, option
from tinyclsf.errors import ConfigurationError, shape_as_text
from tinyclsf.registry.plugins import blamed_on, find

if TYPE_CHECKING:
    from tinyclsf.analysis.dataset_statistics import DataDescription, Values

_MOST_LISTED = 20  # classes: of more only the rarest and the most frequent are named
_NAMED = 5
_SPLITS = ["train", "valid", "test"]


def _grid(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", value)
    if match is None:
        raise click.BadParameter(f"'{value}' is not ROWSxCOLUMNS, each 1 to 99, as 3x4.", ctx, param)
    return int(match[1]), int(match[2])


@click.command(short_help="Draw images of a data set with their classes.")
@click.argument("data", shell_complete=complete_plugin)
@option("--data-dir", help=DATA_DIR, **DIRECTORY)
@option("-d", "data_options", help="An option of the data set; 'tinyclsf info DATA' shows them.", **KEY_VALUE)
@option("--split", type=click.Choice(_SPLITS), default="train", metavar="NAME", help="train, valid or test. [train]")
@option("--grid", callback=_grid, default="3x4", metavar="ROWSxCOLUMNS", help="How many images. [3x4]")
@option("--first", is_flag=True, help="The first images, not random ones.")
@option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", help="Seed that draws random images. [0]")
@option("--out", default="samples.png", help="Ends in .png, .svg or .pdf. [samples.png]", **FILE)
@common_options
def show(
    data: str,
    data_dir: Path | None,
    data_options: dict[str, str],
    split: str,
    grid: tuple[int, int],
    first: bool,
    seed: int | None,
    out: Path,
) -> Output:
    """Draw images of data set DATA with their class names, and say how many there are.

    \b
    tinyclsf show digits
    tinyclsf show digits --split test --first --grid 2x8
    tinyclsf show image-folder --data-dir photos --out photos.png
    """
    if first and seed is not None:
        raise ConfigurationError("--first shows no random images; leave out --seed")
    plugin = find("dataset", data)
    from tinyclsf.analysis.dataset_statistics import describe_data, is_stream
    from tinyclsf.cli.console import Watch
    from tinyclsf.drawing.samples import show_samples
    from tinyclsf.drawing.style import check_path
    from tinyclsf.registry.components import build_splits, load_component
    from tinyclsf.runs.trained_run import choose_split

    check_path(out)
    component = load_component(plugin, data_options, data_dir=data_dir)
    with Watch("auto") as watch:
        splits = build_splits(component)
        if seed is None and not first and not is_stream(choose_split(splits, split)[1]):
            seed = 0
        with blamed_on(plugin, "failed to give an image"):
            found = describe_data(splits, split, images=grid[0] * grid[1], seed=seed)
    show_samples(found.x, found.y, splits.classes, grid, out=out, white=splits.white)
    lines = [
        f"data set {data}: images of {shape_as_text(splits.image_shape)} in {len(splits.classes):,} classes",
        *columns([(name, "a stream" if size is None else f"{size:,}") for name, size in found.sizes.items()], numbers_from=1),
        *_classes(found, splits.classes),
        *_shown(found, splits.classes, grid[1], seed),
        "their pixels",
        *columns([("as stored", _spread(found.stored)), ("preprocessed", _spread(found.preprocessed))]),
        f"picture  {out}",
    ]
    counts: Sequence[int | None] = found.counts or [None] * len(splits.classes)
    paths: Sequence[str | None] = found.paths or [None] * len(found.rows)
    shown = zip(found.rows, found.y.tolist(), paths, strict=True)
    content = document(
        "show",
        data=data,
        splits=found.sizes,
        image_shape=splits.image_shape,
        split=found.split,
        classes=[{"name": name, "images": count} for name, count in zip(splits.classes, counts, strict=True)],
        seed=seed,
        shown=[{"index": row, "class": splits.classes[label], "path": path} for row, label, path in shown],
        pixels=found.stored,
        preprocessed=found.preprocessed,
        out=out,
        warnings=watch.warnings,
    )
    return Output("\n".join(lines), content)


def _classes(found: DataDescription, classes: tuple[str, ...]) -> list[str]:
    if found.counts is None:
        return []
    rows = [(name, f"{count:,}") for name, count in zip(classes, found.counts, strict=True)]
    if len(rows) <= _MOST_LISTED:
        return [f"images of each class, {found.split}", *columns(rows, numbers_from=1)]
    by_count = sorted(zip(found.counts, classes, strict=True), key=lambda each: each[0])
    ends = by_count[:_NAMED], by_count[: -_NAMED - 1 : -1]
    fewest, most = (", ".join(f"{name} {count:,}" for count, name in end) for end in ends)
    low, high = f"{by_count[0][0]:,}", f"{by_count[-1][0]:,}"
    if low == high:
        return [f"images of each class, {found.split}", f"  {low}"]
    return [f"images of each class, {found.split}: {low} to {high}", f"  fewest: {fewest}", f"  most: {most}"]


def _shown(found: DataDescription, classes: tuple[str, ...], across: int, seed: int | None) -> list[str]:
    """Which images are in the picture: as they lie there, or where they are files one a line."""
    how = "the first" if seed is None else f"drawn by seed {seed}"
    heading = f"images shown, by their number in {found.split}, {how}"
    width = max(len(str(row)) for row in found.rows)
    numbers = [f"{row:{width}}" for row in found.rows]
    if found.paths is not None:
        names = [classes[label] for label in found.y.tolist()]
        return [heading, *columns(list(zip(numbers, names, found.paths, strict=True)))]
    return [heading, *("  " + "  ".join(numbers[at : at + across]) for at in range(0, len(numbers), across))]


def _spread(values: Values) -> str:
    return f"{values.low:.4g} to {values.high:.4g}, mean {values.mean:.4g}, deviation {values.deviation:.4g}"
