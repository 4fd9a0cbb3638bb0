"""`tinyclsf new KIND NAME`: a package with one plugin, to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from tinyclsf.cli.output import Output, document
from tinyclsf.cli.shared_options import DIRECTORY, common_options, option
from tinyclsf.registry.plugins import KINDS


@click.command(short_help="Begin a plugin package of your own.")
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
@click.argument("name")
@option("--out", help="The folder to make. [tinyclsf-NAME]", **DIRECTORY)
@common_options
def new(kind: str, name: str, out: Path | None) -> Output:
    """Write a package with one plugin of KIND, called NAME, that works and passes its tests.

    KIND is dataset, model, callback or command. Change its code into your own; its tests tell what is not right yet.

    \b
    tinyclsf new dataset my-flowers
    tinyclsf new model my-net --out my-net
    """
    from tinyclsf.scaffolding.package import write_package

    package = write_package(kind, name, out)  # type: ignore[arg-type]
    code = next(file for file in package.files if file.endswith(".py"))
    lines = [
        f"package  {package.folder}: {', '.join(package.files)}",
        f"next     cd {package.folder}",
        "         python -m pip install -e '.[test]' && python -m pytest",
        f"         tinyclsf info {name}",
        f"code     {package.folder / code}",
    ]
    return Output("\n".join(lines), document("new", kind=kind, name=name, folder=package.folder, files=package.files))
