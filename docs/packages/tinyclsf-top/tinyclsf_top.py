"""The command top."""

from pathlib import Path

import click

from tinyclsf.plugin import ConfigurationError, list_runs


@click.command()
@click.option("--runs", envvar="TINYCLSF_RUNS", default="runs", type=click.Path(path_type=Path), help="Where runs are.")
@click.option("-n", "--number", default=3, type=click.IntRange(1), help="How many runs to show.")
def top(runs, number):
    """Print the runs with the highest validation accuracy as a Markdown table."""
    found = [run for run in list_runs(runs) if run.best is not None and run.best.valid_accuracy is not None]
    if not found:
        raise ConfigurationError(f"no run in {runs} has a validation accuracy yet; train one, or give another --runs")
    found = sorted(found, key=lambda run: run.best.valid_accuracy, reverse=True)[:number]
    click.echo("| run | model | validation accuracy |\n| --- | --- | --- |")
    for run in found:
        click.echo(f"| {run.name} | {run.model} | {run.best.valid_accuracy:.4f} |")
    return {"runs": found}  # the document of --json
