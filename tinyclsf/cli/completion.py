"""What the shell completes: names of plugins and of runs."""

from __future__ import annotations

from pathlib import Path

import click

from tinyclsf.registry.plugins import KINDS, plugins
from tinyclsf.runs.listing import list_runs


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of every kind of plugin, or of the kind that the parameter is named after."""
    kinds = [kind for kind in KINDS if param.name in ("name", kind, f"{kind}s", "data" if kind == "dataset" else kind)]
    return sorted({plugin.name for kind in kinds for plugin in plugins(kind) if plugin.name.startswith(incomplete)})


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the runs that are there."""
    root = Path(ctx.params.get("runs") or "runs")
    return [run.name for run in list_runs(root) if run.name.startswith(incomplete)]
