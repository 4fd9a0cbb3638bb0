"""What the data sets of torchvision's layout say of themselves for a script: it reads what the plugin reads."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tinyclsf.plugin import Images, Preparation
from tinyclsf.registry.plugins import KINDS, plugins
from tinyclsf.scripting.sources import import_lines, sources_in

NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def draw(number: int, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    x = torch.randint(256, (number, channels, 1, 1), generator=generator, dtype=torch.uint8)
    return x, torch.randint(10, (number,), generator=generator)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("plugin", NAMES)
def test_a_script_reads_what_the_plugin_reads(
    plugin: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar = plugin.startswith("cifar")
    train, test = draw(50_000 if cifar else 60_000, 3 if cifar else 1), draw(10_000, 3 if cifar else 1)

    def stored(root: str, *, train: bool, download: bool, parts: Any = (test, train)) -> Any:
        assert (root, download) == (str(tmp_path), not there)  # a person's own files are never replaced
        x, y = parts[train]
        if cifar:
            return SimpleNamespace(data=np.ascontiguousarray(x.permute(0, 2, 3, 1)), targets=y.tolist())
        return SimpleNamespace(data=x.squeeze(1), targets=y)

    module = importlib.import_module(f"tinyclsf_plugins.datasets.{plugin}")
    parts = [Images(x.clone(), y.clone()) for x, y in (train, test)]
    made = (*parts, tuple("0123456789")) if cifar else parts
    monkeypatch.setattr(module, "cifar_parts" if cifar else "mnist_parts", lambda *args, **options: made)
    monkeypatch.setattr(f"torchvision.datasets.{NAMES[plugin]}", stored)
    factory = getattr(module, plugin)
    wanted = factory(data_dir=tmp_path, seed=3)

    say = pkgutil.resolve_name(factory.script)
    options = {"data_dir": tmp_path, **vars(Preparation(seed=3))}
    said = say({}, **options)
    if there:
        said.place.mkdir(parents=True)
        for name in ("t10k-labels-idx1-ubyte.gz", "test_batch", "test"):
            (said.place / name).touch()
    sources, _ = sources_in(said.code, "tinyclsf_plugins")
    names: dict[str, Any] = {}
    exec("\n".join([*import_lines(sources.imports), *sources.definitions.values()]), names)
    for part, dataset in zip(("train", "valid", "test"), names["load_data"](), strict=True):
        for found, tensor in zip(dataset.tensors, getattr(wanted, part).tensors, strict=True):
            assert torch.equal(found, tensor)
    assert said.how == f"{NAMES[plugin]} in {tmp_path}, read by torchvision"
    assert said.place.parent in (tmp_path, tmp_path / NAMES[plugin])
    assert say({}, **options, labels="coarse") is None


def test_what_writes_scripts_names_no_plugin(root: Path) -> None:
    names = {plugin.name for kind in KINDS for plugin in plugins(kind)}
    assert "digits" in names
    for path in (root / "tinyclsf" / "scripting").glob("*.py"):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not names & texts


def test_no_plugin_imports_what_it_says_for_scripts(root: Path) -> None:
    for path in (root / "plugins").rglob("*.py"):
        assert "_script import" not in path.read_text()
