"""`tinyclsf list`: the names that can be used, read from package metadata without importing a plugin."""

from __future__ import annotations

import click

from tinyclsf.cli.output import Output, columns, document
from tinyclsf.cli.shared_options import common_options
from tinyclsf.registry.plugins import KINDS, plugins


@click.command(name="list", short_help="List the data sets, models and callbacks there are.")
@click.argument("kind", required=False, metavar="[KIND]", type=click.Choice([f"{kind}s" for kind in KINDS]))
@common_options
def list_plugins(kind: str | None) -> Output:
    """List the registered data sets, models and callbacks; KIND is datasets, models or callbacks.

    \b
    tinyclsf list
    tinyclsf list models --json
    """
    found = {f"{each}s": plugins(each) for each in KINDS if kind in (None, f"{each}s")}
    lines = []
    for heading, rows in found.items():
        lines += [heading, *columns([(row.name, f"{row.package} {row.package_version}") for row in rows])]
    keys = "name", "package", "package_version"
    content = {heading: [{key: getattr(row, key) for key in keys} for row in rows] for heading, rows in found.items()}
    return Output("\n".join(lines), document("list", **content))
