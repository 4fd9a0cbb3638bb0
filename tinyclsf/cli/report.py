"""`tinyclsf report RUN`: one HTML page of a run, and in the terminal what stands out in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyclsf.cli.output import Output, columns, document, scored, wrapped
from tinyclsf.cli.shared_options import FILE, common_options, option, run_argument, runs_option
from tinyclsf.runs.listing import find_run

if TYPE_CHECKING:
    from tinyclsf.analysis.report import PageReport


@click.command(short_help="Write a page of a run: curves, figures, mistakes.")
@run_argument
@option("--out", help="Where the page goes. [RUN/report.html]", **FILE)
@option("--worst", type=click.IntRange(1, 100), default=12, metavar="N", help="Mistakes to show as pictures. [12]")
@runs_option()
@common_options
def report(run: str, out: Path | None, worst: int, runs: Path) -> Output:
    """Write one HTML page of RUN: curves, classes, confusions, worst mistakes, and what stands out.

    The page is one file that loads nothing from elsewhere. It tells of the images that the run was scored on.

    \b
    tinyclsf report overnight
    tinyclsf report overnight --out overnight.html
    """
    folder = find_run(runs, run)
    from tinyclsf.analysis.by_class import ByClass
    from tinyclsf.analysis.report import write_report
    from tinyclsf.cli.console import Watch

    with Watch("auto") as watch:
        page = write_report(folder, out, worst=worst)
        for note in page.notes:
            watch.warn(note)
    scores = None
    if page.scored is not None:
        told = ("images", "loss", "accuracy", "interval", *ByClass._fields, "calibration_error")
        figures = {name: getattr(page.scored.assessment, name) for name in told}
        scores = {"split": page.scored.split, **figures, "mistakes": len(page.scored.assessment.mistakes)}
    content = document(
        "report",
        run=page.run.path,
        state=page.run.state,
        scored=scores,
        remarks=page.remarks,
        page=page.path,
        warnings=watch.warnings,
    )
    return Output(_text(page), content)


def _text(page: PageReport) -> str:
    lines = []
    if page.scored is not None:
        lines += [f"{page.scored.split}  {scored(page.scored.assessment)}", ""]
    else:
        epochs = f"{page.run.epochs_done} of {page.run.epochs or '-'} epochs"
        held_out = page.run.held_out
        score = "it has no score on held-out images" if held_out is None else f"{held_out.split} {scored(held_out)}"
        lines += [f"{page.run.state}, {epochs}; {score}", ""]
    for remark in page.remarks:
        lines += wrapped(f"{remark.what}: {remark.evidence}", indent=0)
        lines += [f"  {remark.suggestion}", ""]
    if not page.remarks and page.run.epochs_done:
        lines += ["nothing stands out in its curves and figures, which does not show that all is well", ""]
    return "\n".join([*lines, *columns([("page", str(page.path))], indent="")])
