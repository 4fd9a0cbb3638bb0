"""`tinyclsf runs [RUN]`: the runs that are there, how far each came and how good it was; or every setting of one."""

from __future__ import annotations

from pathlib import Path

import click

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import common_options, complete_run, runs_option
from tinyclsf.metrics import percent
from tinyclsf.runs.config_file import read_run_config
from tinyclsf.runs.listing import RunSummary, describe_run, find_run, list_runs

_HEADER = ("run", "state", "model", "data", "epochs", "best valid accuracy", "test", "started")


@click.command(name="runs", short_help="List the runs, and how good they were; or show all of one.")
@click.argument("run", required=False, shell_complete=complete_run)
@runs_option()
@common_options
def runs(run: str | None, runs: Path) -> Output:
    """List the runs, the oldest first: how far each came, its best epoch, and its accuracy on the test images.

    With RUN show that one, and every setting it was trained with, and where each came from.

    \b
    tinyclsf runs
    tinyclsf runs overnight
    tinyclsf runs --runs elsewhere --json
    """
    found = list_runs(runs) if run is None else [describe_run(find_run(runs, run))]
    if found:
        lines = columns([_HEADER, *map(_row, found)], indent="")
        lines += [f"{run.name}: {run.error}" for run in found if run.error]
    else:
        lines = [f"there are no runs in {runs}; 'tinyclsf fit mnist-cnn' makes one"]
    settings = [] if run is None else read_run_config(found[0].path).rows()
    if settings:
        lines += ["", *columns(settings, indent="")]
    return Output("\n".join(lines), document("runs", runs=found, **({"settings": settings} if run else {})))


def _row(run: RunSummary) -> tuple[str, ...]:
    best, held_out = run.best, run.held_out
    return (
        run.name,
        run.state,
        run.model or "-",
        run.data or "-",
        "-" if run.epochs_done is None else f"{run.epochs_done}/{run.epochs or '-'}",
        "-" if best is None else f"{percent(best.valid_accuracy)} in epoch {best.epoch}",
        percent(held_out.accuracy if held_out is not None and held_out.split == "test" else None),
        run.created[:16].replace("T", " ") if run.created else "-",
    )
