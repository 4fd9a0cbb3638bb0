"""The wheel as it is built, and a package of somebody else's that plugs in: the one that the README shows."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.support.forking import Forks

ROOT = Path(__file__).parent.parent


def pip(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--no-input", *args], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy, so that neither old build folders get in nor new ones are left."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in ("tinyclsf", "plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(copy))
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_both_trees_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tinyclsf").rglob("*.py")}
    wanted |= {f"tinyclsf_{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "plugins").rglob("*.py")}
    files = {"tinyclsf/analysis/report.html", "tinyclsf/scripting/loop.py.jinja", "tinyclsf_plugins/datasets/digits.npz"}
    files |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tinyclsf" / "scaffolding" / "templates").iterdir()}
    assert names == wanted | files | {"tinyclsf/py.typed", "tinyclsf_plugins/py.typed"}


def test_the_metadata_says_what_is_true(wheel: zipfile.ZipFile) -> None:
    (file,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr(wheel.read(file).decode())
    assert (metadata["Name"], metadata["License-Expression"], metadata["Requires-Python"]) == (
        "tinyclsf",
        "MIT AND CC-BY-4.0",
        ">=3.10",
    )
    assert set(metadata.get_all("Provides-Extra", [])) == {"test", "dev", "tensorboard", "timm", "onnx", "parquet"}
    needs = metadata.get_all("Requires-Dist", [])
    assert "torch>=2.10" in needs
    assert not [need for need in needs if re.search(r"[<~]|==(?! \")", need.split(";")[0])], "no upper bounds"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_every_entry_point_is_there_and_named_after_its_module(wheel: zipfile.ZipFile) -> None:
    (file,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    entries = configparser.ConfigParser(delimiters="=")
    entries.read_string(wheel.read(file).decode())
    assert set(entries.sections()) == {"console_scripts", "tinyclsf.callbacks", "tinyclsf.datasets", "tinyclsf.models"}
    assert all(target == f"tinyclsf_plugins.callbacks.{name}:{name}" for name, target in entries["tinyclsf.callbacks"].items())
    for group, folder in (("tinyclsf.datasets", "datasets"), ("tinyclsf.models", "models")):
        for name, target in entries[group].items():
            module, _, _ = target.partition(":")
            assert module == f"tinyclsf_plugins.{folder}.{name.replace('-', '_')}"
            assert f"{module.replace('.', '/')}.py" in wheel.namelist()


def blocks(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: info string and text."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.stress
def test_the_plugin_of_the_readme_installs_lists_and_runs(forks: Forks, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for info, text in blocks(ROOT / "README.md"):
        if "file=" in info:
            (source / info.split("file=")[1]).write_text(text)
    pip("install", "--no-deps", "--no-build-isolation", "--target", str(target), str(source))
    (command,) = (text for info, text in blocks(ROOT / "README.md") if info == "sh plugin")
    code, out, err = forks.run(tmp_path, *command.split()[1:], "--json", path=target)
    assert code == 0, err
    assert json.loads(out)["held_out"]["accuracy"] > 0.8


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda file: file.stem)
def test_a_benchmark_finds_what_it_imports_of_ours(file: Path) -> None:
    taken = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    for node in taken:
        if str(node.module).split(".")[0] in ("tinyclsf", "tinyclsf_plugins"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
