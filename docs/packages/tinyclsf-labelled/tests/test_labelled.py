"""The data set labelled: what tinyclsf asks of any data set, one test for each check, and what this one promises."""

import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from tinyclsf_labelled import labelled

from tinyclsf.plugin import DataError
from tinyclsf.testing import check_dataset, parametrize_with_checks

FOLDER = Path(__file__).with_name("fruit")
TABLE = FOLDER / "fruit.csv"
LARGEST = {"lime": (170, 255, 80), "orange": (255, 170, 60)}


def draw_fruit(number=200):
    """Limes and oranges on grey, and their table."""
    FOLDER.mkdir(exist_ok=True)
    chance, lines = random.Random(0), ["file,label"]
    for row in range(number):
        label = sorted(LARGEST)[row % 2]
        image = Image.new("RGB", (48, 40), (chance.randrange(60, 200),) * 3)
        left, top, side = chance.randrange(4, 20), chance.randrange(2, 14), chance.randrange(16, 24)
        colour = tuple(largest - chance.randrange(80) for largest in LARGEST[label])
        ImageDraw.Draw(image).ellipse((left, top, left + side, top + side), fill=colour)
        image.save(FOLDER / f"{row}.png")
        lines.append(f"{row}.png,{label}")
    TABLE.write_text("\n".join(lines) + "\n")


draw_fruit()


@parametrize_with_checks(check_dataset, "labelled", table=TABLE, size=32)
def test_contract(check):
    check()


def test_a_picture_keeps_its_path():
    splits = labelled(table=TABLE, size=8)
    path, y = splits.valid.paths[0], int(splits.valid.y[0])
    assert f"{Path(path).name},{splits.classes[y]}\n" in TABLE.read_text()


def test_a_table_without_labels_is_refused(tmp_path):
    (tmp_path / "names.csv").write_text("file\n0.png\n")
    with pytest.raises(DataError, match="wanted the columns file and label"):
        labelled(table=tmp_path / "names.csv")
