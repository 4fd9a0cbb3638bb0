"""The image classification sets of torchvision: the table, their pictures against torchvision's own, and broken files."""

from __future__ import annotations

import bz2
import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.commands import Cli
from tests.support.messages import message
from tinyclsf.errors import ConfigurationError
from tinyclsf.plugin import Images, Splits
from tinyclsf.progress.telling import listening
from tinyclsf_plugins.datasets.torchvision import torchvision
from tinyclsf_plugins.datasets.torchvision_sets import SETS, Source


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours, which no way of scaling confuses with another by chance."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(path: Path, width: int, height: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(width, height, seed).save(path, "JPEG")


def parts(splits: Splits) -> list[Images]:
    return [part for part in (splits.train, splits.valid, splits.test) if isinstance(part, Images)]


PARTS = [(name, part) for name, source in SETS.items() for part in source.splits if source.files != "none"]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_torchvision_knows_each_part_and_misses_only_its_files(tmp_path: Path, name: str, part: str) -> None:
    from torchvision import datasets  # type: ignore[import-untyped]

    source = SETS[name]
    how = {"download": False} if source.files == "downloaded" else {}
    # A name or a word that it does not know is TypeError or ValueError.
    with pytest.raises((RuntimeError, FileNotFoundError)):
        getattr(datasets, name)(tmp_path, **source.splits[part], **how)


def test_the_description_names_the_sets() -> None:
    assert f"Names: {', '.join(SETS)}." in " ".join((torchvision.__doc__ or "").split())


@pytest.mark.parametrize(("name", "tip"), [("SVHM", "did you mean 'SVHN'?"), ("svhn", "did you mean 'SVHN'?"), ("??", None)])
def test_an_unknown_name_is_answered_with_the_names(tmp_path: Path, name: str, tip: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        torchvision(name=name, data_dir=tmp_path)
    assert str(error.value) == f"torchvision has no image classification set '{name}'; choose one of {', '.join(SETS)}"
    assert error.value.tip == tip


@pytest.fixture
def dtd(tmp_path: Path) -> Path:
    """DTD with pictures of many shapes: 4 to train, 2 to validate, 1 to test."""
    shapes = {"dotted/a": (50, 40), "dotted/b": (40, 61), "woven/c": (20, 20), "woven/d": (33, 32)}
    shapes |= {"dotted/e": (64, 64), "woven/f": (32, 32), "woven/g": (300, 33)}
    lines = {"train": ["dotted/a", "dotted/b", "woven/c", "woven/d"], "val": ["dotted/e", "woven/f"], "test": ["woven/g"]}
    labels = tmp_path / "dtd" / "dtd" / "labels"
    labels.mkdir(parents=True)
    for part, names in lines.items():
        (labels / f"{part}1.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    for seed, (name, shape) in enumerate(shapes.items()):
        jpeg(tmp_path / "dtd" / "dtd" / "images" / f"{name}.jpg", *shape, seed=seed)
    (labels / "test1.txt").write_text("woven/g.jpg\ndotted/a.jpg\n")
    return tmp_path


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [32, 17, 48])
def test_pictures_are_scaled_and_cut_as_torchvisions_transforms_do(dtd: Path, size: int, channels: int) -> None:
    from torchvision.datasets import DTD  # type: ignore[import-untyped]
    from torchvision.transforms import v2  # type: ignore[import-untyped]

    steps = [v2.Grayscale()] if channels == 1 else []
    transform = v2.Compose([*steps, v2.Resize(size, antialias=True), v2.CenterCrop(size), v2.PILToTensor()])
    splits = torchvision(name="DTD", data_dir=dtd, size=size, channels=channels)
    assert splits.classes == ("dotted", "woven")
    assert splits.image_shape == (channels, size, size)
    for split, part in zip(("train", "val", "test"), parts(splits), strict=True):
        reference = DTD(dtd, split=split, transform=transform)
        assert torch.equal(part.x, torch.stack([image for image, _ in reference]))
        assert part.y.tolist() == [label for _, label in reference]
        assert part.x.dtype == torch.uint8


def test_its_own_validation_part_gives_way_to_a_split_that_is_asked_for(dtd: Path) -> None:
    assert [len(part) for part in parts(torchvision(name="DTD", data_dir=dtd))] == [4, 2, 2]
    assert [len(part) for part in parts(torchvision(name="DTD", data_dir=dtd, valid_size=3))] == [3, 3, 2]


def test_a_set_of_one_part_is_split_and_has_no_test(tmp_path: Path) -> None:
    for at in range(10):
        jpeg(tmp_path / "eurosat" / "2750" / ("Forest", "River")[at % 2] / f"{at}.jpg", 32, 32, seed=at)
    splits = torchvision(name="EuroSAT", data_dir=tmp_path)
    assert splits.test is None
    assert splits.classes == ("Forest", "River")
    assert [part.y.bincount().tolist() for part in parts(splits)] == [[4, 4], [1, 1]]


def test_classes_with_many_names_keep_them_all(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for wnid in ("n01440764", "n02979186"):
            jpeg(tmp_path / "imagenette2" / part / wnid / "a.jpeg", 40, 32)
    splits = torchvision(name="Imagenette", data_dir=tmp_path)
    assert splits.classes == ("tench, Tinca tinca", "cassette player")
    assert [part.y.tolist() for part in parts(splits)] == [[0, 1], [0, 1]]
    assert splits.test is None


def test_categories_are_classes_too(tmp_path: Path) -> None:
    for number, name in enumerate(("001.ak47", "002.flag"), 1):
        for at in range(1, 4):
            jpeg(tmp_path / "caltech256" / "256_ObjectCategories" / name / f"{number:03d}_{at:04d}.jpg", 32, 32)
    splits = torchvision(name="Caltech256", data_dir=tmp_path, valid_size=2)
    assert splits.classes == ("001.ak47", "002.flag")
    assert [part.y.tolist() for part in parts(splits)] == [[0, 0, 1, 1], [0, 1]]


def usps(folder: Path, test: bytes | None = None) -> Path:
    """USPS with grey pictures of 16x16, 6 to train and 2 to test, with labels 1, 2 and 7."""
    for file, labels in {"usps.bz2": [1, 2, 7, 1, 2, 7], "usps.t.bz2": [7, 1]}.items():
        lines = (f"{label} " + " ".join(f"{at + 1}:{(at + label) % 256 / 128 - 1}" for at in range(256)) for label in labels)
        (folder / file).write_bytes(bz2.compress("\n".join(lines).encode()))
    if test is not None:
        (folder / "usps.t.bz2").write_bytes(test)
    return folder


def test_a_set_without_names_has_numbers_and_grey_pictures_may_be_made_colour(tmp_path: Path) -> None:
    from torchvision.datasets import USPS

    splits = torchvision(name="USPS", data_dir=usps(tmp_path), size=16, valid_size=2, split="tail")
    assert splits.classes == tuple("0123456")
    grey = torch.from_numpy(USPS(tmp_path, train=False).data).unsqueeze(1)
    assert torch.equal(parts(splits)[2].x, grey.expand(2, 3, 16, 16))
    one = torchvision(name="USPS", data_dir=tmp_path, size=16, channels=1, valid_size=2, split="tail")
    assert torch.equal(parts(one)[2].x, grey)
    assert parts(one)[2].y.tolist() == [6, 0]


def test_reading_is_told(dtd: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with listening(lambda *word: told.append(word)):
        torchvision(name="DTD", data_dir=dtd)
        torchvision(name="FakeData", data_dir=dtd, size=2)
    assert told[:6] == [
        (f"reading DTD ({part})", at, n) for part, n in (("train", 4), ("valid", 2), ("test", 2)) for at in (0, n)
    ]
    assert told[6:] == [
        *(("reading FakeData (train)", at, 1000) for at in range(0, 1001, 100)),
        *(("reading FakeData (test)", at, 200) for at in range(0, 201, 100)),
    ]


@pytest.mark.stress
def test_a_model_trains_on_made_up_data(cli: Cli, tmp_path: Path) -> None:
    options = ("--data", "torchvision", "-d", "name=FakeData", "-d", "size=8", "-d", "channels=1")
    result = cli("fit", "mnist-logistic", *options, "--data-dir", str(tmp_path / "none"), "--epochs", "1", "--json")
    assert result.code == 0, result.err
    assert "800 train, 200 valid, 200 test; 10 classes; 1x8x8" in result.err
    assert not (tmp_path / "none").exists()


def test_a_broken_picture_is_named(dtd: Path) -> None:
    path = dtd / "dtd" / "dtd" / "images" / "woven" / "d.jpg"
    path.write_bytes(path.read_bytes()[:300])
    found = message(lambda: torchvision(name="DTD", data_dir=dtd))
    assert found.startswith("image 3 of DTD (train) cannot be read (")
    assert found.endswith("); delete the set and fetch it again")
    path.unlink()
    assert message(lambda: torchvision(name="DTD", data_dir=dtd)) == (
        f"image 3 of DTD (train) cannot be read ([Errno 2] No such file or directory: '{path}'); "
        "delete the set and fetch it again"
    )


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    assert message(lambda: torchvision(name="USPS", data_dir=usps(tmp_path, b"no bz2"))) == (
        f"USPS in {tmp_path} cannot be read (Invalid data stream); delete its files there to have them downloaded again"
    )


def test_a_set_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "SUN397").mkdir()
    (tmp_path / "SUN397" / "ClassName.txt").write_text("/a/abbey\n")
    expected = "SUN397 (train) has no images; delete the set and fetch it again"
    assert message(lambda: torchvision(name="SUN397", data_dir=tmp_path)) == expected


def fer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FER2013 in the two files of which the second has no labels."""
    from torchvision.datasets import FER2013

    (folder / "fer2013").mkdir()
    pixels = " ".join(["7"] * 48 * 48)
    lines = {"train": f"emotion,pixels\n0,{pixels}\n1,{pixels}\n0,{pixels}\n", "test": f"pixels\n{pixels}\n"}
    for part, text in lines.items():
        (folder / "fer2013" / f"{part}.csv").write_text(text)
    sums = {part: (f"{part}.csv", hashlib.md5(text.encode()).hexdigest()) for part, text in lines.items()}
    monkeypatch.setattr(FER2013, "_RESOURCES", {**FER2013._RESOURCES, **sums})


def test_a_set_that_is_fetched_by_hand_says_so(tmp_path: Path) -> None:
    found = message(lambda: torchvision(name="FER2013", data_dir=tmp_path))
    assert found.startswith(
        f"FER2013 in {tmp_path} cannot be read (train.csv not found in {tmp_path / 'fer2013'} or corrupted."
    )
    assert found.endswith("); torchvision does not download it, so put its files there by hand")
    assert found.count("\n") == 0


def test_a_picture_without_a_label_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fer(tmp_path, monkeypatch)
    expected = "image 0 of FER2013 (test) has no label; use a copy of the set that has them"
    assert message(lambda: torchvision(name="FER2013", data_dir=tmp_path, valid_size=1)) == expected


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat  # type: ignore[import-untyped]
    from torchvision.datasets import SVHN

    content = io.BytesIO()
    savemat(content, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[10], [3]])})
    (tmp_path / "all.mat").write_bytes(content.getvalue())
    entry = ["", "all.mat", hashlib.md5(content.getvalue()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", {"train": entry, "test": entry})
    assert torchvision(name="SVHN", data_dir=tmp_path, valid_size=1).classes == tuple("0123")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    monkeypatch.delattr("scipy.io")
    assert message(lambda: torchvision(name="SVHN", data_dir=tmp_path)) == (
        f"SVHN in {tmp_path} cannot be read (it needs scipy); pip install scipy"
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "size is 0; wanted at least 1"),
        (1_000_000, "1,000 images of 1000000x1000000 need 3,000,000 GB of memory; give a smaller size"),
    ],
)
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, size: int, expected: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        torchvision(name="FakeData", data_dir=tmp_path, size=size)
    assert str(error.value) == expected


def test_a_source_without_a_part_leaves_it_out() -> None:
    assert Source({}, test={"train": False}).splits == {"train": {}, "test": {"train": False}}
