"""Every data set that comes along: shapes as its docstring says, options that come back from text, a model that learns."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional as F

from tinyclsf import Classifier, Splits, get_data, loss_batch
from tinyclsf.registry.options import read_options
from tinyclsf.registry.plugins import find, load, plugins
from tinyclsf.registry.signatures import options_of
from tinyclsf.testing import check_dataset

ROWS, TEST_ROWS, CLASSES = 60, 20, 10
TYPES = {"uint8": torch.uint8, "float32": torch.float32}


def labels(rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(rows) % CLASSES


def write_idx(folder: Path) -> None:
    folder.mkdir(parents=True)
    for part, rows in (("train", ROWS), ("t10k", TEST_ROWS)):
        pixels = np.random.default_rng(rows).integers(0, 256, (rows, 28, 28)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x0803, rows, 28, 28) + pixels.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 0x0801, rows) + labels(rows).astype(np.uint8).tobytes()
        )


def write_cifar(folder: Path, files: dict[str, int], meta: str, keys: dict[str, int]) -> None:
    folder.mkdir()
    for seed, (file, rows) in enumerate(files.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (rows, 3072)).astype(np.uint8)
        batch = {"data": pixels, **{f"{key}labels": (np.arange(rows) % min(count, 20)).tolist() for key, count in keys.items()}}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=2))
    names = {f"{key}label_names": [str(number) for number in range(count)] for key, count in keys.items()}
    (folder / meta).write_bytes(pickle.dumps(names, protocol=2))


def write_pictures(folder: Path) -> None:
    for part, rows in (("train", ROWS), ("test", TEST_ROWS)):
        for row in range(rows):
            path = folder / part / f"class{row % CLASSES}" / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(row + rows * 100).integers(0, 256, (70, 90, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path)


def write_table(path: Path) -> None:
    write_pictures(path.parent)
    rows = [file.relative_to(path.parent) for file in path.parent.glob("*/*/*.png")]
    path.write_text("path,label,part\n" + "".join(f"{row},{row.parts[1]},{row.parts[0]}\n" for row in rows))


def write_pickle(path: Path) -> None:
    def part(rows: int, seed: int) -> tuple[Any, Any]:
        return np.random.default_rng(seed).random((rows, 784)).astype(np.float32), labels(rows)

    path.write_bytes(pickle.dumps((part(ROWS, 0), part(TEST_ROWS, 1), part(TEST_ROWS, 2)), protocol=2))


# For each the files that it reads, and what has to be said to find them.
SETS: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "cifar10": (
        lambda folder: write_cifar(
            folder / "cifar-10-batches-py",
            {**{f"data_batch_{number}": ROWS // 5 for number in range(1, 6)}, "test_batch": TEST_ROWS},
            "batches.meta",
            {"": CLASSES},
        ),
        {},
    ),
    "cifar100": (
        lambda folder: write_cifar(
            folder / "cifar-100-python", {"train": ROWS, "test": TEST_ROWS}, "meta", {"fine_": 100, "coarse_": 20}
        ),
        {},
    ),
    "digits": (lambda folder: None, {"train_size": str(ROWS)}),
    "fashion-mnist": (lambda folder: write_idx(folder / "FashionMNIST" / "raw"), {"valid_size": "10"}),
    "idx": (lambda folder: write_idx(folder / "idx"), {}),
    "image-folder": (lambda folder: write_pictures(folder / "photos"), {}),
    "image-table": (lambda folder: write_table(folder / "labels.csv"), {"table": "labels.csv"}),
    "kmnist": (lambda folder: write_idx(folder / "KMNIST" / "raw"), {"valid_size": "10"}),
    "mnist": (lambda folder: write_idx(folder / "MNIST" / "raw"), {"valid_size": "10"}),
    "mnist-pickle": (lambda folder: write_pickle(folder / "mnist.pkl"), {"path": "mnist.pkl"}),
    "torchvision": (lambda folder: write_idx(folder / "KMNIST" / "raw"), {"name": "KMNIST", "valid_size": "10"}),
}
FOLDERS = {"idx": "idx", "image-folder": "photos"}
# So few images have each class only with these.
CHECKED_WITH = {"digits": {"train_size": "600"}, "cifar100": {"labels": "coarse"}}
each_set = pytest.mark.parametrize("name", sorted(SETS))


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Splits]:
    """Write a set's files and read them with options given as text."""
    monkeypatch.chdir(tmp_path)

    def read(name: str, **texts: str) -> Splits:
        write, needed = SETS[name]
        write(tmp_path)
        factory = load(find("dataset", name))
        options = options_of("dataset", name, factory)
        values = read_options("dataset", name, options, {**needed, **texts})
        if "data_dir" in options:
            values["data_dir"] = tmp_path / FOLDERS.get(name, ".")
        splits: Splits = factory(**values)
        return splits

    return read


def test_the_digits_that_come_along_are_those_of_scikit_learn(root: Path) -> None:
    with np.load(root / "plugins" / "datasets" / "digits.npz") as file:
        assert np.array_equal(file["images"], load_digits().images)
        assert np.array_equal(file["labels"], load_digits().target)


def test_this_page_knows_every_data_set() -> None:
    assert set(SETS) == {plugin.name for plugin in plugins("dataset") if plugin.package == "tinyclsf"}


@each_set
def test_the_shapes_are_those_of_the_docstring(name: str, build: Callable[..., Splits]) -> None:
    factory = load(find("dataset", name))
    said = re.search(r"x \(n, (\w+), (\w+), (\w+)\),? (uint8|float32)", factory.__doc__ or "")
    assert said, factory.__doc__
    options = options_of("dataset", name, factory)
    splits = build(name)
    shape = []
    for place, word in enumerate(said.groups()[:3]):
        default = options[word].default if word in options else None
        shape.append(int(word) if word.isdigit() else default if default is not None else splits.image_shape[place])
    assert splits.image_shape == tuple(shape)
    for part in (splits.train, splits.valid, splits.test):
        x, y = part.tensors  # type: ignore[union-attr]
        assert (x.dtype, tuple(x.shape[1:])) == (TYPES[said[4]], splits.image_shape)
        assert (y.dtype, len(y)) == (torch.int64, len(x))
    lowest, highest = splits.preprocess(splits.train.x).aminmax()  # type: ignore[attr-defined]
    assert 0 <= lowest < 0.2
    assert 0.8 < highest <= 1


@each_set
def test_it_passes_the_checks_that_plugin_authors_use(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, given = SETS[name]
    write(tmp_path)
    given = {**given, **CHECKED_WITH.get(name, {})}
    if "data_dir" in options_of("dataset", name, load(find("dataset", name))):
        given = {**given, "data_dir": str(tmp_path / FOLDERS.get(name, "."))}
    assert not check_dataset(name, **given).failed


@each_set
def test_a_model_trains_a_step_whatever_the_split_and_the_scaling(name: str, build: Callable[..., Splits]) -> None:
    texts = {"normalize": "stats", "fraction": "0.5", "split": "tail"}
    splits = build(name, **texts)
    count = torch.bincount(splits.train.y)  # type: ignore[attr-defined]
    assert len(set(count[count > 0].tolist())) == 1, "as many of each class"
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(len(splits.classes)))
    model = Classifier(splits.preprocess, network, splits.classes, splits.image_shape)
    train_dl, valid_dl = get_data(splits.train, splits.valid, 16)
    xb, yb = next(iter(train_dl))
    with torch.no_grad():
        scaled = splits.preprocess(splits.train.x)  # type: ignore[attr-defined]
        model(xb)
    assert scaled.mean().item() == pytest.approx(0, abs=1e-3)
    assert scaled.std().item() == pytest.approx(1, abs=0.02)
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    before, _ = loss_batch(model, F.cross_entropy, xb, yb, opt)
    after, samples = loss_batch(model, F.cross_entropy, xb, yb)
    assert after < before
    assert samples == len(xb) == min(16, len(splits.train))  # type: ignore[arg-type]
    assert len(next(iter(valid_dl))[0]) > 0
