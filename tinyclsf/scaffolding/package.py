"""A new package with one plugin: its metadata, its code, a test of its contract and a README."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine.storage import storing, write_text
from tinyclsf.machine.templates import load_template
from tinyclsf.registry.plugins import OWN_COMMANDS, Kind, plugins

_TEMPLATES = Path(__file__).with_name("templates")
_LONGEST = 50  # letters of a name


class Package(NamedTuple):
    """A package that was written: its folder, and the files in it."""

    folder: Path
    files: list[str]


def write_package(kind: Kind, name: str, folder: Path | None = None) -> Package:
    """Write a package with one plugin that works and passes its tests; without `folder` it is tinyclsf-NAME.

    Raises: ConfigurationError if the name cannot be used or the folder is there already; StorageError if it cannot be written.
    """
    texts = _texts(kind, _checked(kind, name))
    folder = Path(f"tinyclsf-{name}") if folder is None else folder
    with storing(folder):
        try:
            folder.mkdir()
        except FileExistsError:
            raise ConfigurationError(f"{folder} is there already; choose another name, or another place with --out") from None
    try:
        for file, text in texts.items():
            with storing(folder / file):
                (folder / file).parent.mkdir(exist_ok=True)
            write_text(folder / file, text)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Package(folder, list(texts))


def _checked(kind: Kind, name: str) -> str:
    reserved = keyword.iskeyword(name) or keyword.iskeyword(name.title())  # as None is
    if len(name) > _LONGEST or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or reserved:
        raise ConfigurationError(
            f"name {name[: _LONGEST + 1]!r} cannot be used; "
            f"wanted at most {_LONGEST} small letters, digits and '-' between them, the first a letter, as in my-flowers"
        )
    owners = ["tinyclsf"] if kind == "command" and name in OWN_COMMANDS else [each.package for each in plugins(kind, name)]
    if owners:
        raise ConfigurationError(f"there is a {kind} '{name}' already, of package {owners[0]}; choose another name")
    if importlib.util.find_spec(_module(name)) is not None:
        raise ConfigurationError(f"there is a module {_module(name)} already; choose another name")
    return name


def _texts(kind: Kind, name: str) -> dict[str, str]:
    """The files of the package, by their places in it."""
    snake = name.replace("-", "_")
    names = {"name": name, "snake": snake, "camel": snake.title().replace("_", ""), "module": _module(name), "kind": kind}
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{_module(name)}.py": f"{kind}.py",
        f"tests/test_{snake}.py": f"test_{kind}.py",
    }
    texts = {place: load_template(_TEMPLATES / f"{source}.jinja").render(names) + "\n" for place, source in places.items()}
    twice = [max(Counter(_bound(texts[place])).values()) > 1 for place in places if place.endswith(".py")]
    if any(twice):
        raise ConfigurationError(f"name '{name}' cannot be used, as the code of the package uses it too; choose another")
    return texts


def _bound(code: str) -> list[str]:
    """The names that the top of a module binds."""
    names = []
    for node in ast.parse(code).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
    return names


def _module(name: str) -> str:
    return f"tinyclsf_{name.replace('-', '_')}"
