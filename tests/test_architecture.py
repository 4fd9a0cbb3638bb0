"""Who may import whom: the table of docs/architecture.md, held against all that the code names, for type checkers too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinyclsf import plugin

ROOT = Path(__file__).parent.parent

# A room is a folder, or a file at the top. It may name those in the rows above its own, and those to its left.
ROWS = (
    ("errors",),
    ("machine",),
    ("metrics", "modules", "finetuning", "progress"),
    ("drawing", "history"),
    ("augment", "data", "splitting", "preparation"),
    ("pictures", "batches", "recipes", "registry"),
    ("training", "loop"),
    ("trainer",),
    ("callbacks", "estimator", "runs"),
    ("plugin",),
    ("analysis",),
    ("deployment", "scaffolding", "scripting"),
    ("experiments",),
    ("testing",),
    ("cli",),
    ("__init__", "__main__"),
)
ORDER = [room for row in ROWS for room in row]
COMMANDS = {
    *("fit", "runs", "evaluate", "predict", "compare", "report", "show", "summary", "check", "export", "script"),
    *("list", "info", "new", "cache"),
}
# Only these files may import the library, at the top or inside a function.
DOORS = {
    "click": {f"cli/{name}.py" for name in (*COMMANDS, "app", "other_commands", "shared_options")}
    | {"testing/command_contract.py"},
    "IPython": {"progress/notebook.py"},
    "rich": {"progress/terminal.py"},
    "importlib.metadata": {"registry/plugins.py"},
    "jinja2": {"machine/templates.py"},
    "matplotlib": {"drawing/style.py"},
    "onnx": {"deployment/exported_files.py"},
    "onnxruntime": {"deployment/exported_files.py"},
    "pickle": set(),
    "pytest": {"testing/checking.py"},
    "pyarrow": {"datasets/table_files.py"},
    "timm": {"models/timm.py"},
    "huggingface_hub": {"models/timm.py"},
    "tensorboard": {"callbacks/tensorboard.py"},
    "torch.utils.tensorboard": {"callbacks/tensorboard.py"},
    "torchmetrics": set(),
}
# These are read before any command runs, so at the top they import nothing that takes long.
LIGHT = {
    "cli/output.py",
    *("__init__.py", "__main__.py", "errors.py", "metrics.py", "registry/options.py", "registry/plugins.py"),
    *("registry/choices.py", "runs/config_file.py", "experiments/request.py"),
    *("machine/launch.py", "machine/signals.py", "machine/storage.py", "pictures/cache.py"),
    *("runs/folder.py", "runs/listing.py", *DOORS["click"]),
}
HEAVY = {"torch", "numpy", "scipy", "sklearn", "torchvision", "rich", "safetensors", "matplotlib", "jinja2"}


def imports(path: Path, *, top_only: bool = False, for_types: bool = True) -> set[str]:
    """The modules that a file imports, with the names that it takes from them."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    left_out = set() if for_types else {node for block in blocks for node in ast.walk(block)}
    for node in tree.body if top_only else set(ast.walk(tree)) - left_out:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def named_in_strings(path: Path) -> set[str]:
    """The modules of ours that a file has in its strings; what a docstring says to a reader is no use of them."""
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in told]
    return {name for text in texts if isinstance(text, str) for name in re.findall(r"\btinyclsf(?:_plugins)?\.[a-z_.]+", text)}


def rooms_of(path: Path) -> set[str]:
    """The rooms that a file names."""
    names = imports(path) | named_in_strings(path)
    return {room for name in names if name.startswith("tinyclsf.") for room in [name.split(".")[1]] if room in ORDER}


def room_of(path: Path) -> str:
    """The room that a file is in: analysis/report.py -> analysis, trainer.py -> trainer."""
    return path.relative_to(ROOT / "tinyclsf").with_suffix("").parts[0]


FILES = sorted((ROOT / "tinyclsf").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


def test_the_table_has_every_room_and_no_other() -> None:
    assert {room_of(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_names_only_rooms_below_it(path: Path) -> None:
    own = room_of(path)
    assert rooms_of(path) <= set(ORDER[: ORDER.index(own) + 1])
    assert not {name for name in imports(path) | named_in_strings(path) if name.startswith("tinyclsf_plugins")}


def test_no_files_of_a_room_go_in_a_circle() -> None:
    ours = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    below = {name: {each for each in imports(path) if each in ours and each != name} for name, path in ours.items()}
    while free := [name for name, others in below.items() if not others & set(below)]:
        for name in free:
            del below[name]
    assert not below


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_a_plugin_imports_the_door_for_plugins(path: Path) -> None:
    assert rooms_of(path) <= {"plugin"}


def test_the_door_for_plugins_brings_only_what_they_need() -> None:
    def loaded(names: str) -> set[str]:
        code = f"import sys; from tinyclsf.plugin import {names}; print(*sys.modules, *dir(sys.modules['tinyclsf.plugin']))"
        return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())

    of_a_trained_run = {"TrainedRun", "load_run", "load_splits"}
    found = loaded(", ".join(set(plugin.__all__) - of_a_trained_run))
    assert "tinyclsf.trainer" in found
    assert not found & {"click", "rich", "safetensors", "sklearn", "torchvision"}
    assert not found & {"tinyclsf.cli", "tinyclsf.runs.checkpoints", "tinyclsf.runs.models"}
    of_a_command = loaded("ConfigurationError, RunSummary, best_of, find_run, list_runs, storing")
    assert not of_a_command & {"torch", "numpy", "tinyclsf.trainer"}
    assert set(plugin.__all__) < of_a_command  # as a notebook completes what is typed


@pytest.mark.parametrize("path", FILES + PLUGINS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_library_has_one_door(path: Path) -> None:
    file = path.relative_to(ROOT / ("tinyclsf" if path in FILES else "plugins")).as_posix()
    named = imports(path, for_types=False)
    for library, doors in DOORS.items():
        if file not in doors:
            assert not {name for name in named if name == library or name.startswith(f"{library}.")}


@pytest.mark.parametrize("file", sorted(LIGHT))
def test_what_starts_quickly_imports_nothing_heavy(file: str) -> None:
    assert not {name.split(".")[0] for name in imports(ROOT / "tinyclsf" / file, top_only=True)} & HEAVY
