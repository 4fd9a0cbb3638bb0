"""Who may import whom: the table of docs/architecture.md, held against the imports in the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = ("tinyclsf", "tinyclsf_plugins")

LEAVES = {"errors", "modules", "metrics", "distributed", "launch"}
CORE = {
    *("training", "data", "loading", "preparation", "augment", "recipes", "registry", "options", "pictures", "progress"),
    *("devices", "failures", "optimization", "randomness", "storage", "sums"),
}
SAVING = {"checkpoint", "model_files"}
TRAINED = {"model_files", "run_list", "runs", "trained"}
DRAWING = {"drawing.figures", "drawing.samples", "drawing.style"}
MAY = {
    "errors": set(),
    "modules": {"errors"},
    "metrics": {"errors"},
    "launch": set(),
    "distributed": {"errors", "launch"},
    "signals": {"errors"},
    "duration": set(),
    "randomness": set(),
    "augment": LEAVES,
    "data": LEAVES,
    "devices": LEAVES,
    "failures": LEAVES,
    "sharing": LEAVES | {"randomness"},
    "workers": LEAVES | {"randomness", "sharing"},
    "loading": LEAVES | {"randomness", "sharing", "workers"},
    "optimization": LEAVES,
    "options": LEAVES,
    "pictures": LEAVES,
    "progress": LEAVES,
    "recipes": LEAVES | {"augment"},
    "registry": LEAVES,
    "storage": LEAVES,
    "sums": LEAVES,
    "decoding": LEAVES | {"pictures", "progress"},
    "preparation": LEAVES | {"data"},
    "training": LEAVES | {"loading"},
    "evaluation": LEAVES | {"training"},
    "checkpoint": LEAVES | {"storage"},
    "model_files": LEAVES | {"options", "registry", "storage"},
    "callbacks": LEAVES | SAVING,
    "state": LEAVES | {"callbacks"},
    "logs": LEAVES | {"callbacks", "storage"},
    "plugin": LEAVES | {"callbacks", "data", "preparation", "recipes"},
    "trainer": LEAVES | CORE | {"callbacks", "evaluation", "state"},
    "estimator": LEAVES | CORE | {"callbacks", "trainer"},
    "runs": {"errors", "evaluation", "storage"},
    "run_list": {"errors", "metrics", "runs"},
    "parts": LEAVES | {"data", "options", "registry"},
    "trained": LEAVES | CORE | {"evaluation", "model_files", "parts", "run_list"},
    "picture_folders": LEAVES | {"pictures"},
    "drawing.style": {"errors", "storage"},
    "drawing.samples": {"errors", "drawing.style"},
    "drawing.figures": {"metrics", "drawing.samples", "drawing.style"},
    "analysis.assessment": LEAVES | {"evaluation", "storage", "training"},
    "analysis.significance": set(),
    "analysis.comparison": LEAVES | {"analysis.significance", "evaluation", "run_list", "runs"},
    "analysis.reading": LEAVES,
    "analysis.model_checks": LEAVES | {"training"},
    "analysis.data_checks": LEAVES | {"data", "analysis.model_checks"},
    "analysis.checks": LEAVES | {"data", "randomness", "training", "analysis.data_checks", "analysis.model_checks"},
    "analysis.summary": LEAVES,
    "analysis.survey": LEAVES | {"data", "trained"},
    "analysis.report": LEAVES | CORE | TRAINED | DRAWING | {"analysis.assessment", "analysis.checks", "analysis.reading"},
    "scripting.sources": LEAVES,
    "scripting.data": LEAVES | {"augment", "preparation", "scripting.sources"},
    "scripting.loop": LEAVES | {"augment", "recipes", "scripting.data", "scripting.sources"},
    "scripting.model": LEAVES | CORE | {"parts", "trained", "scripting.data", "scripting.sources"},
    "scripting.script": LEAVES | CORE | TRAINED | {f"scripting.{name}" for name in ("data", "loop", "model", "sources")},
    "deployment.prediction": LEAVES | {"decoding", "devices", "evaluation", "picture_folders", "progress"},
    "deployment.formats": LEAVES | {"model_files", "storage"},
    "deployment.export": LEAVES | {"deployment.formats", "model_files", "registry", "storage", "trained"},
}
COMMANDS = {
    *("fit", "runs", "evaluate", "predict", "compare", "report", "show", "summary", "check", "export", "script"),
    *("list", "info"),
}
# Only these files may import the library, at the top or inside a function.
DOORS = {
    "click": {f"cli/{name}.py" for name in (*COMMANDS, "app", "completion", "config", "options")},
    "filelock": {"runs.py"},
    "rich": {"cli/console.py"},
    "importlib.metadata": {"registry.py"},
    "jinja2": {"analysis/report.py"},
    "matplotlib": {"drawing/style.py"},
    "onnx": {"deployment/formats.py"},
    "onnxruntime": {"deployment/formats.py"},
    "pickle": set(),
    "tensorboard": {"logs.py"},
    "torch.utils.tensorboard": {"logs.py"},
    "torchmetrics": set(),
}
# These are read before any command runs, so at the top they import nothing that takes long.
LIGHT = {
    "cli/output.py",
    *("__init__.py", "__main__.py", "errors.py", "launch.py", "metrics.py", "options.py", "registry.py", "run_list.py"),
    *("runs.py", "signals.py", "storage.py", *DOORS["click"]),
}
HEAVY = {"torch", "numpy", "scipy", "sklearn", "torchvision", "rich", "safetensors", "filelock", "matplotlib", "jinja2"}


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in tree.body if top_only else ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(str(node.module))
    return found


def own_modules(names: set[str]) -> set[str]:
    """Our own imports as the table names them: tinyclsf.data -> data."""
    return {name.removeprefix("tinyclsf.") for name in names if name.startswith("tinyclsf.")}


def name_of(path: Path) -> str:
    """A file as the table names it: analysis/report.py -> analysis.report."""
    return ".".join(path.relative_to(ROOT / "tinyclsf").with_suffix("").parts)


CORE_FILES = sorted(path for path in (ROOT / "tinyclsf").rglob("[!_]*.py") if path.parent.name != "cli")
FILES = sorted((ROOT / "tinyclsf").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


def test_the_table_names_every_file() -> None:
    assert {name_of(path) for path in CORE_FILES} == set(MAY)


@pytest.mark.parametrize("path", CORE_FILES, ids=name_of)
def test_a_file_imports_only_what_the_table_allows(path: Path) -> None:
    found = imports(path)
    assert own_modules(found) <= MAY[name_of(path)]
    assert not {name for name in found if name.startswith("tinyclsf_plugins")}


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_a_plugin_imports_the_door_for_plugins(path: Path) -> None:
    assert own_modules(imports(path)) <= {
        "plugin",
        "data",
        "loading",
        "preparation",
        "modules",
        "augment",
        "pictures",
        "picture_folders",
        "decoding",
        "progress",
    }


@pytest.mark.parametrize("path", FILES + PLUGINS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_each_library_has_one_door(path: Path) -> None:
    file = path.relative_to(ROOT / ("tinyclsf" if path in FILES else "plugins")).as_posix()
    for library, doors in DOORS.items():
        if path in PLUGINS or file not in doors:
            assert not {name for name in imports(path) if name == library or name.startswith(f"{library}.")}


@pytest.mark.parametrize("file", sorted(LIGHT))
def test_what_starts_quickly_imports_nothing_heavy(file: str) -> None:
    assert not {name.split(".")[0] for name in imports(ROOT / "tinyclsf" / file, top_only=True)} & HEAVY
