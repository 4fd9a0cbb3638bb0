"""`tinyclsf show`: the whole text and document for data sets of known numbers, and the picture that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CODE = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def ramp(*, classes: int = 2) -> Splits:
    def part(n):
        y = torch.arange(n) % classes
        y[: n // 2] = 0
        return Images(torch.arange(n, dtype=torch.float32).reshape(n, 1, 1, 1).expand(n, 1, 4, 6) / 8, y)
    names = tuple(f"class{at}" for at in range(classes))
    return Splits(part(1000), part(10), None, names, (1, 4, 6), Preprocess(0.5, 0.25), white=125.0)
"""


@pytest.fixture
def ramp(install: Any) -> None:
    install("ramps", CODE, module="ramp_module", datasets={"ramp": "ramp_module:ramp"})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour, count in (("cat", (255, 0, 0), 5), ("dog", (0, 0, 255), 10)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for at in range(count):
            Image.new("RGB", (40 + at, 30), colour).save(tmp_path / "photos" / name / f"{at}.png")
    return tmp_path / "photos"


@pytest.mark.usefixtures("ramp")
def test_the_text_says_what_there_is_and_what_is_shown(cli: Any) -> None:
    result = cli("show", "ramp", "--split", "valid", "--grid", "2x3", "--first")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "data set ramp: images of 1x4x6 in 2 classes\n"
        "  train  1,000\n"
        "  valid     10\n"
        "images of each class, valid\n"
        "  class0  7\n"
        "  class1  3\n"
        "images shown, by their number in valid, the first\n"
        "  0  1  2\n"
        "  3  4  5\n"
        "their pixels\n"
        "  as stored     0 to 0.625, mean 0.3125, deviation 0.2135\n"
        "  preprocessed  -2 to 0.5, mean -0.75, deviation 0.8539\n"
        "picture  samples.png\n"
    )
    with Image.open("samples.png") as picture:
        assert picture.size == (3 * 240 + 30, 2 * (140 + 24 + 9 + 30) + 15)  # cells, their titles and the space between
        assert picture.convert("L").getpixel((2 * 240 + 30 + 105, 321)) == 1  # 0.625 of 125 that white is


@pytest.mark.usefixtures("ramp")
def test_the_document_has_all_of_it(cli: Any) -> None:
    result = cli("show", "ramp", "--grid", "1x2", "--out", "picture.svg", "--json")
    assert (result.code, result.err) == (0, "")
    shown = result.document["shown"]
    assert [each["class"] for each in shown] == [
        "class0" if each["index"] < 500 or each["index"] % 2 == 0 else "class1" for each in shown
    ]
    stored = np.array([each["index"] / 8 for each in shown])
    pixels = {"low": stored.min(), "high": stored.max(), "mean": stored.mean(), "deviation": stored.std()}
    assert result.document.pop("pixels") == pytest.approx(pixels)
    document = result.document
    assert document.pop("preprocessed")["mean"] == pytest.approx((stored.mean() - 0.5) / 0.25)
    assert document.pop("pixels") == pytest.approx(pixels)
    assert document == {
        "version": 1,
        "command": "show",
        "data": "ramp",
        "splits": {"train": 1000, "valid": 10},
        "image_shape": [1, 4, 6],
        "split": "train",
        "classes": [{"name": "class0", "images": 750}, {"name": "class1", "images": 250}],
        "seed": 0,
        "shown": [{"index": each["index"], "class": each["class"], "path": None} for each in shown],
        "out": "picture.svg",
        "warnings": [],
    }
    assert [each["index"] for each in shown] == [
        each["index"] for each in cli("show", "ramp", "--grid", "1x2", "--seed", "0", "--json").document["shown"]
    ]
    assert Path("picture.svg").read_text().count(">class") == 2


@pytest.mark.usefixtures("ramp")
def test_of_many_classes_the_rarest_and_the_most_frequent_are_named(cli: Any) -> None:
    lines = cli("show", "ramp", "-d", "classes=30").out.splitlines()
    at = lines.index("images of each class, train: 16 to 517")
    assert lines[at + 1 : at + 3] == [
        "  fewest: class10 16, class11 16, class12 16, class13 16, class14 16",
        "  most: class0 517, class29 17, class28 17, class27 17, class26 17",
    ]


def test_files_are_named(cli: Any, photos: Path) -> None:
    options = ["show", "image-folder", "--data-dir", "photos", "-d", "size=16"]
    shown = cli(*options, "--json").document["shown"]
    lines = cli(*options).out.splitlines()
    at = lines.index("images shown, by their number in train, drawn by seed 0") + 1
    assert lines[at : at + 12] == [f"  {each['index']:2}  {each['class']}  {each['path']}" for each in shown]
    assert sorted(each["index"] for each in shown) == list(range(12))


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["digit"], 2, "there is no dataset 'digit'; 'tinyclsf list datasets' shows all\ntip: did you mean 'digits'?"),
        (["digits", "--grid", "0x4"], 2, "invalid value for '--grid': '0x4' is not ROWSxCOLUMNS, each 1 to 99, as 3x4"),
        (["digits", "--grid", "3"], 2, "invalid value for '--grid': '3' is not ROWSxCOLUMNS, each 1 to 99, as 3x4"),
        (["digits", "--first", "--seed", "1"], 2, "--first shows no random images; leave out --seed"),
        (["digits", "--out", "a.gif"], 2, "a figure cannot be written to a.gif; wanted a name that ends in .png, .svg or .pdf"),
        (
            ["digits", "--out", "no/a.png"],
            7,
            "cannot write no/a.png: No such file or directory; give a name in a folder that can be written to",
        ),
        (["ramp", "--split", "test"], 2, "the data has no test split; choose --split valid"),
    ],
)
@pytest.mark.usefixtures("ramp")
def test_what_cannot_be_is_an_error_and_writes_nothing(cli: Any, args: list[str], code: int, message: str) -> None:
    before = set(Path().iterdir())
    result = cli("show", *args)
    assert (result.code, result.out, result.err) == (code, "", f"error: {message}\n")
    assert set(Path().iterdir()) == before
