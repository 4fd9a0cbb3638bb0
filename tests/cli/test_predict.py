"""`tinyclsf predict`: whole tables, CSV and documents, files on the disk, faults and odd names."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.commands import Cli
from tests.support.runs import write_model
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.registry.plugins import find, load
from tinyclsf.runs.models import save_model

CLASSES = ["cat", "dog", "guinea pig", "hamster"]
DARK, LIGHT = [0.5, 0.25, 0.1875, 0.0625], [0.0625, 0.1875, 0.25, 0.5]


@pytest.fixture
def run(cli: Cli) -> Path:
    """A run whose model gives a black picture the shares DARK and a white one LIGHT; the folder of it and photos."""
    return make_run("first", CLASSES, DARK, LIGHT)


def make_run(name: str, classes: list[str], dark: list[float], light: list[float]) -> Path:
    network = load(find("model", "linear"))((1, 2, 2), len(classes))
    at_black, at_white = (torch.tensor([math.log(share) for share in shares]) for shares in (dark, light))
    network.linear.bias.data = at_black
    network.linear.weight.data = ((at_white - at_black) / 4)[:, None].repeat(1, 4)
    config = {"settings": {"batch_size": {"value": 2, "source": "recipe"}}}
    return write_model(Path("runs", name), Classifier(Preprocess(), network, classes, (1, 2, 2)), "linear", config)


def picture(name: str, grey: int) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), grey).save(name)
    return name


def photos() -> None:
    picture("photos/a.png", 0)
    picture("photos/sub/b.png", 255)
    Path("photos/c.png").write_text("no picture")


TABLE = """\
file              class    probability  2nd                  3rd
photos/a.png      cat          50.00 %  dog         25.00 %  guinea pig  18.75 %
photos/c.png      error: not a picture, or broken from its first bytes on
photos/sub/b.png  hamster      50.00 %  guinea pig  25.00 %  dog         18.75 %
"""
UNREAD = "warning: 1 of 3 pictures could not be read: photos/c.png (not a picture, or broken from its first bytes on)\n"


def test_a_table_with_a_line_a_file(cli: Cli, run: Path) -> None:
    photos()
    result = cli("predict", "first", "photos")
    assert (result.code, result.out) == (3, TABLE)
    first, done, last = result.err.splitlines(keepends=True)
    assert (first, done[:28], last) == ("predicting pictures: 3 ...\n", "predicting pictures: 3 done ", UNREAD)


def test_one_file_has_a_line_a_class(cli: Cli, run: Path) -> None:
    result = cli("predict", str(run), picture("a.png", 0), "--top", "9")
    assert (result.code, result.err) == (0, "")
    assert result.out == "a.png\n  cat         50.00 %\n  dog         25.00 %\n  guinea pig  18.75 %\n  hamster      6.25 %\n"


def test_csv_is_read_back(cli: Cli, run: Path) -> None:
    photos()
    result = cli("predict", "first", "photos", "--format", "csv", "--top", "2")
    header, *rows = csv.reader(io.StringIO(result.out, newline=""))
    assert header == ["file", "class", "probability", "class_2", "probability_2", "error"]
    assert [(row[0], row[1], row[3], row[5]) for row in rows] == [
        ("photos/a.png", "cat", "dog", ""),
        ("photos/c.png", "", "", "not a picture, or broken from its first bytes on"),
        ("photos/sub/b.png", "hamster", "guinea pig", ""),
    ]
    assert [float(rows[at][column]) for at in (0, 2) for column in (2, 4)] == pytest.approx([0.5, 0.25, 0.5, 0.25], rel=1e-6)
    assert (rows[1][2], rows[1][4], result.code) == ("", "", 3)


def test_the_document(cli: Cli, run: Path) -> None:
    photos()
    result = cli("predict", "first", "photos", "--json", "--top", "2")
    document = result.document
    assert (result.code, document.pop("unreadable"), document.pop("out")) == (3, 1, None)
    shares = [entry.pop("probability") for entry in document["pictures"]]
    shares += [each.pop("probability") for entry in document["pictures"] for each in entry["next"]]
    assert shares == [pytest.approx(0.5), None, pytest.approx(0.5), pytest.approx(0.25), pytest.approx(0.25)]
    broken = "not a picture, or broken from its first bytes on"
    assert document == {
        "version": 1,
        "command": "predict",
        "run": "runs/first",
        "tta": "none",
        "classes": CLASSES,
        "pictures": [
            {"file": "photos/a.png", "class": "cat", "next": [{"class": "dog"}], "error": None},
            {"file": "photos/c.png", "class": None, "next": [], "error": broken},
            {"file": "photos/sub/b.png", "class": "hamster", "next": [{"class": "guinea pig"}], "error": None},
        ],
    }


def test_a_picture_and_its_mirror_image_are_predicted_as_one_and_each_table_says_so(cli: Cli) -> None:
    network = load(find("model", "linear"))((1, 2, 2), 2)
    network.linear.bias.data.zero_()
    network.linear.weight.data = torch.tensor([[0.0, 0, 0, 0], [math.log(3), 0, math.log(3), 0]])  # white on the left: 9 to 1
    write_model(Path("runs", "first"), Classifier(Preprocess(), network, ["cat", "dog"], (1, 2, 2)), "linear", {})
    Image.fromarray(np.array([[255, 0], [255, 0]], np.uint8)).save("a.png")
    Path("b.png").write_text("no picture")
    flip = ("predict", "first", "a.png", "--tta", "flip")
    assert cli("predict", "first", "a.png").out == "a.png\n  dog  90.00 %\n  cat  10.00 %\n"
    assert cli(*flip).out == "with --tta flip\na.png\n  dog  70.00 %\n  cat  30.00 %\n"
    lines = cli(*flip, "b.png").out.splitlines()
    assert (lines[0], lines[1].split()[0], lines[2].split()[:4]) == ("with --tta flip", "file", ["a.png", "dog", "70.00", "%"])
    header, *rows = csv.reader(io.StringIO(cli(*flip, "b.png", "--format", "csv", "--top", "1").out, newline=""))
    assert header == ["file", "class", "probability", "error", "tta"]
    assert [(row[0], row[1], row[4]) for row in rows] == [("a.png", "dog", "flip"), ("b.png", "", "flip")]
    document = cli(*flip, "--json").document
    assert (document["tta"], document["pictures"][0]["probability"]) == ("flip", pytest.approx(0.7))
    assert cli(*flip, "--out", "found.csv").out == "1 picture in found.csv\n"
    assert Path("found.csv").read_text().splitlines()[0].split(",")[-1] == "tta"
    wrong = cli("predict", "first", "a.png", "--tta", "flop")
    assert (wrong.code, wrong.err) == (2, "error: invalid value for '--tta': 'flop' is not one of 'none', 'flip'\n")


def test_a_file_has_what_stdout_would_have(cli: Cli, run: Path) -> None:
    photos()
    shown = cli("predict", "first", "photos", "--format", "csv").out
    result = cli("predict", "first", "photos", "--out", "found.csv")
    assert (result.code, result.out) == (3, "3 pictures in found.csv\n")
    assert Path("found.csv").read_bytes().decode() == shown.removesuffix("\n") + "\n"
    assert cli("predict", "first", "photos", "--format", "csv", "--out", "found.json").out == shown  # nothing but CSV
    both = cli("predict", "first", "photos", "--format", "table", "--out", "found.JSON")
    assert (both.code, both.out) == (3, TABLE + "3 pictures in found.JSON\n")
    document = cli("predict", "first", "photos", "--out", "found.JSON", "--json").document
    assert document == json.loads(Path("found.JSON").read_text())
    assert document["out"] == "found.JSON"


def test_what_cannot_be_written_is_found_before_anything_is_read(cli: Cli) -> None:
    refused = cli("predict", "no-run", "a.png", "--out", "missing/found.csv")
    message = "cannot write missing/found.csv: No such file or directory; give a name in a folder that can be written to"
    assert (refused.code, refused.out, refused.err) == (7, "", f"error: {message}\n")
    Path("found.csv").mkdir()
    assert cli("predict", "no-run", "a.png", "--out", "found.csv").err == (
        "error: cannot write found.csv: it is a folder; give the name of a file\n"
    )
    unnamed = cli("predict", "no-run", "a.png", "--out", "found.txt")
    assert (unnamed.code, unnamed.err) == (
        2,
        "error: cannot tell from the name found.txt what to write; give --out a name that ends in .csv or .json\n",
    )


def test_one_bad_file_in_a_hundred(cli: Cli, run: Path) -> None:
    for at in range(100):
        picture(f"photos/{at:02}.png", at // 2)
    Path("photos/42.png").write_bytes(b"")
    result = cli("predict", "first", "photos", "--json")
    pictures = result.document["pictures"]
    assert (result.code, len(pictures), sum(entry["class"] == "cat" for entry in pictures)) == (3, 100, 99)
    assert [entry["file"] for entry in pictures if entry["error"]] == ["photos/42.png"]
    assert result.err.endswith("warning: 1 of 100 pictures could not be read: photos/42.png (empty file)\n")


def test_nothing_but_bad_files(cli: Cli, run: Path) -> None:
    Path("empty").mkdir()
    result = cli("predict", "first", "gone.png", "empty")
    assert result.code == 3
    assert result.out == (
        "file      class  probability  2nd    3rd\n"
        "gone.png  error: no such file or directory\n"
        "empty     error: no picture in this folder\n"
    )
    assert result.err.endswith(
        "warning: 2 of 2 pictures could not be read: gone.png (no such file or directory) and "
        "empty (no picture in this folder)\n"
    )
    single = cli("predict", "first", "gone.png", "--format", "csv")
    assert (single.code, single.out.splitlines()[1]) == (3, "gone.png,,,,,,,no such file or directory")


def test_odd_names_are_shown_escaped_and_kept_in_a_csv_file(cli: Cli, run: Path) -> None:
    odd = ["-x.png", "-", "a\nb.png", 'c,"d".png', os.fsdecode(b"\xff.png"), "e\rf.png", "\x1b[31m\u202e.png"]
    for name in odd[:1] + odd[2:]:
        picture(name, 0)
    table = cli("predict", "first", "--", *odd)
    names = [line.split("  ")[0] for line in table.out.splitlines()[1:]]
    shown = ["a\\nb.png", 'c,"d".png', "\\udcff.png", "e\\rf.png", "\\x1b[31m\\u202e.png"]
    assert (table.code, names) == (3, ["-x.png", "-", *shown])
    rows = list(csv.reader(io.StringIO(cli("predict", "first", "--format", "csv", "--", *odd).out, newline="")))
    assert [row[0] for row in rows[1:]] == ["'-x.png", "'-", *shown]  # text to a spreadsheet, and harmless to a terminal
    document = cli("predict", "first", "--json", "--out", "found.csv", "--", *odd).document
    assert [entry["file"] for entry in document["pictures"]] == odd
    rows = list(csv.reader(io.StringIO(os.fsdecode(Path("found.csv").read_bytes()), newline="")))
    assert [row[0] for row in rows[1:]] == ["'-x.png", "'-", *odd[2:]]


def test_a_line_of_the_table_has_a_hundred_characters_at_most(cli: Cli) -> None:
    names = [f"class number {at}" for at in range(12)]
    make_run("wide", names, [1 / 12] * 12, [1 / 12] * 12)
    files = [picture(f"a-long-folder/{'deep' * 12}/{'x' * 90}{at}.png", at) for at in range(3)]
    result = cli("predict", "wide", *files, "--top", "12")
    folder, header, *rows, note = result.out.splitlines()
    assert folder == f"in a-long-folder/{'deep' * 12}"
    assert header.split() == ["file", "class", "probability", "2nd"]
    assert [row.split()[0][:4] + row.split()[0][-6:] for row in rows] == [f"...xx{at}.png" for at in range(3)]
    assert {len(line) for line in rows} == {100}
    assert note == "(there is room for 2 of 12 classes; --format csv has all)"


def test_a_model_with_no_finite_weights_is_refused(cli: Cli) -> None:
    folder = make_run("broken", ["a", "b"], [0.5, 0.5], [0.5, 0.5])
    network = load(find("model", "linear"))((1, 2, 2), 2)
    network.linear.bias.data[1] = np.nan
    save_model(Classifier(Preprocess(), network, ["a", "b"], (1, 2, 2)), folder, plugin={"name": "linear", "options": {}})
    result = cli("predict", "broken", "a.png")
    assert (result.code, result.out) == (4, "")
    assert result.err == (
        "error: runs/broken/model.safetensors has values in network.linear.bias that are not finite numbers, "
        "so the model is of no use; train it again\n"
    )


def test_arguments_that_cannot_be(cli: Cli, run: Path) -> None:
    assert cli("predict", "first").err == "error: missing argument 'FILE|FOLDER...'\n"
    assert cli("predict", "frist", "a.png").err == (
        "error: there is no run 'frist' in runs; 'tinyclsf runs' shows all\ntip: did you mean 'first'?\n"
    )
    assert cli("predict", "first", "a.png", "--top", "0").code == 2
    assert cli("predict", "first", "a.png", "--device", "gpu").code == 2


@pytest.mark.skipif(not os.path.exists("/proc/kmsg"), reason="a file that waits for the kernel's messages is on Linux alone")
def test_what_would_be_waited_for_is_no_picture(cli: Cli, run: Path) -> None:
    os.mkfifo("pipe.png")
    rows = cli("predict", "first", "pipe.png", "/dev/zero", "/proc/kmsg", "--json").document["pictures"]
    assert [row["error"] for row in rows] == ["a pipe or device and not a file"] * 2 + ["empty file"]


def test_wide_letters_take_two_columns(cli: Cli) -> None:
    make_run("wide", ["东京塔", "🐱 cafe\u0301"], [0.75, 0.25], [0.25, 0.75])
    assert cli("predict", "wide", picture("a.png", 0)).out == "a.png\n  东京塔   75.00 %\n  🐱 cafe\u0301  25.00 %\n"
    files = [picture("b.png", 0), picture("塔.png", 255)]
    assert cli("predict", "wide", *files, "--top", "1").out.splitlines() == [
        "file    class    probability",
        "b.png   东京塔       75.00 %",
        "塔.png  🐱 cafe\u0301      75.00 %",
    ]
