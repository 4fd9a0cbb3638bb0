"""`tinyclsf list`: the names that can be used, read from package metadata; only --check imports the plugins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tinyclsf.cli.other_commands import origin
from tinyclsf.cli.output import Output, columns, document, wrapped
from tinyclsf.cli.shared_options import common_options, option
from tinyclsf.errors import PluginError
from tinyclsf.registry.plugins import KINDS, Plugin, plugins

if TYPE_CHECKING:
    from tinyclsf.testing import Verdicts


@click.command(name="list", short_help="List the data sets, models, callbacks and commands there are.")
@click.argument("kind", required=False, metavar="[KIND]", type=click.Choice([f"{kind}s" for kind in KINDS]))
@option("--check", is_flag=True, help="Import each one and say what is wrong with it.")
@common_options
def list_plugins(kind: str | None, check: bool) -> Output:
    """List the registered data sets, models and callbacks, and the commands of other packages.

    KIND is datasets, models, callbacks or commands.

    \b
    tinyclsf list
    tinyclsf list models --json
    tinyclsf list --check
    """
    found = {f"{each}s": plugins(each) for each in KINDS if kind in (None, f"{each}s")}
    verdicts = _examined([row for rows in found.values() for row in rows]) if check else {}
    lines, broken = [], 0
    for heading, rows in found.items():
        table = columns([(row.name, origin(row), *_state(verdicts.get(row))) for row in rows])
        lines += [heading] if rows or kind else []
        for row, line in zip(rows, table, strict=True):
            failed = verdicts[row].failed if check else []
            broken += bool(failed)
            lines += [line, *(each for verdict in failed for each in wrapped(str(verdict), "    ", indent=6))]
    content = {heading: [_content(row, verdicts.get(row)) for row in rows] for heading, rows in found.items()}
    if check:
        content["broken"] = broken  # type: ignore[assignment]
        lines.append(f"{broken} of {len(verdicts)} are broken" if broken else f"all {len(verdicts)} pass their checks")
    return Output("\n".join(lines), document("list", **content), exit_code=PluginError.exit_code if broken else 0)


def _examined(rows: list[Plugin]) -> Mapping[Plugin, Verdicts]:
    from tinyclsf.testing.examination import examine

    return dict(zip(rows, examine(rows), strict=True))


def _state(verdicts: Verdicts | None) -> list[str]:
    return [] if verdicts is None else ["broken" if verdicts.failed else "good"]


def _content(plugin: Plugin, verdicts: Verdicts | None) -> dict[str, Any]:
    told: dict[str, Any] = {key: getattr(plugin, key) for key in ("name", "package", "package_version")}
    return told if verdicts is None else {**told, "checks": [dataclasses.asdict(each) for each in verdicts]}
