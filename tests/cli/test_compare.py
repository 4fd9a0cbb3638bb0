"""`tinyclsf compare`: whole texts and documents for folders made by hand, and a table that fits the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.support.runs import write_run
from tinyclsf.analysis.by_class import by_class
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.machine.json_text import as_json
from tinyclsf.metrics import NO_TEST_SPLIT, Epoch, Score, wilson_interval

LABELS = [0, 1] * 50
NOTE = "the tests compare these trained models; with one run for each setting, its effect cannot be told from that of the seed"


def make_run(
    name: str, wrong: int | None, *, root: str = "runs", split: str = "test", options: Any = (), **settings: Any
) -> Path:
    """A run that gets so many of the first images wrong, or that was stopped before its first epoch."""
    data = {"name": "set", "options": dict(options), "content": {"train": 9, "checksum": "0a", "classes": ["cat", "dog"]}}
    found = {key: {"value": value, "source": "--x"} for key, value in {"epochs": 2, **settings}.items()}
    folder, config = Path(root, name), {"model": {"name": "net", "options": {}}, "data": data, "settings": found}
    if wrong is None:
        return write_run(folder, config, state="stopped")
    rows = Epoch(1, 1.5, 1.25, 0.5, 2.0), Epoch(2, 1.0, 0.75, 1 - wrong / 100, 1000.0)
    predicted = torch.tensor([1 - label if number < wrong else label for number, label in enumerate(LABELS)])
    predictions = Predictions(F.one_hot(predicted, 2).float(), torch.tensor(LABELS))
    score = Score(split, 100, 0.125, 1 - wrong / 100, wilson_interval(100 - wrong, 100))
    return write_run(folder, config, rows, predictions=predictions, state="done", held_out=score)


def test_two_runs_side_by_side(cli: Any) -> None:
    make_run("plain", 20, lr=0.1, augment="none", patience=None)
    make_run("with-augmentation", 5, lr=0.01, augment="flip,crop")
    result = cli("compare", "plain", "with-augmentation")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "                                   plain  with-augmentation\n"
        "lr                                   0.1               0.01\n"
        "augment                             none          flip,crop\n"
        "patience                            none                  -\n"
        "\n"
        "epochs                               2/2                2/2\n"
        "seconds                          1,002.0            1,002.0\n"
        "parameters                             -                  -\n"
        "best epoch                             2                  2\n"
        "train loss                        1.0000             1.0000\n"
        "valid loss                        0.7500             0.7500\n"
        "valid accuracy                   80.00 %            95.00 %\n"
        "test images                          100                100\n"
        "test loss                         0.1250             0.1250\n"
        "test accuracy                    80.00 %            95.00 %\n"
        "95 % interval           71.12 to 86.66 %   88.82 to 97.85 %\n"
        "balanced accuracy                80.00 %            95.00 %\n"
        "balanced interval       70.78 to 86.19 %   88.04 to 97.44 %\n"
        "macro F1                         80.00 %            95.00 %\n"
        "macro F1 interval       71.00 to 86.99 %   89.96 to 98.99 %\n"
        "\n"
        "precision/recall/F1, %\n"
        "cat                       80.0/80.0/80.0     95.9/94.0/94.9\n"
        "dog                       80.0/80.0/80.0     94.1/96.0/95.0\n"
        "\n"
        "with-augmentation is better than plain: of the 100 images 15 only with-augmentation gets right and 0\n"
        "  only plain, p < 0.001\n"
        f"{NOTE.replace(' from that', chr(10) + '  from that')}\n"
        "\n"
        "curves  comparison.png\n"
    )
    assert Path("comparison.png").read_bytes().startswith(b"\x89PNG")


def test_runs_that_have_nothing_to_compare_yet(cli: Any) -> None:
    make_run("a", None)
    make_run("b", None)
    result = cli("compare", "a", "b")
    assert (result.code, result.err) == (0, "")
    settings, figures, tests, curves = result.out.split("\n\n")
    assert settings == "the settings are the same"
    assert figures.splitlines()[1:3] == ["epochs             0/2  0/2", "seconds            0.0  0.0"]
    assert {line.split()[-1] for line in figures.splitlines()[3:]} == {"-"}
    assert tests == "no test of a against b: a was stopped, and predictions are saved at a run's end"
    assert curves == "there is no epoch yet to draw\n"
    assert not Path("comparison.png").exists()
    assert cli("compare", "a", "b", "--json").document["curves"] is None


def test_runs_that_were_scored_on_different_parts(cli: Any) -> None:
    make_run("a", 20)
    make_run("b", 5, split="valid")
    out = cli("compare", "a", "b").out
    assert ["held-out", "accuracy", "80.00", "%", "95.00", "%"] in [line.split() for line in out.splitlines()]
    assert "no test of a against b: a was scored on test images and b on valid images\n" in out
    assert f"b: {NO_TEST_SPLIT}" in " ".join(out.split())


@pytest.mark.parametrize("number", [4, 9])
def test_the_tables_fit_the_page_and_no_run_loses_its_name(cli: Any, number: int) -> None:
    names = [f"a-model-of-a-long-name-on-data-2026112{each}-01004{each}" for each in range(number)]
    for each, name in enumerate(names):
        options = {f"option_{letter}": "/a/very/long/path/to/data" + letter * each for letter in "abcdefgh"}
        make_run(name, each, options=options, lr=0.001 * (each + 1), schedule="one-cycle" if each else "none")
    result = cli("compare", *names)
    assert (result.code, result.err) == (0, "")
    tables = result.out.split("\nno test" if "\nno test" in result.out else f"\n{names[0]} and")[0]
    tables = tables.removesuffix("\n--json has precision, recall and F1 of each class\n")
    assert max(map(len, tables.splitlines())) <= 100
    found = {word for line in tables.splitlines() for word in line.split() if word.startswith("a-")}
    assert len(found) == number
    assert {word[-7:] for word in found} == {name[-7:] for name in names}
    rows = [line.split() for line in tables.splitlines() if line]
    if number <= 4:
        assert ["lr", *(f"{0.001 * (each + 1):g}" for each in range(number))] in rows
    else:
        headers = [row for row in rows if row[0] == "run"]
        assert headers[-1][-3:] == ["macro", "F1", "interval"]
        assert len(rows) == len(headers) * (number + 1)


def test_the_document_has_everything(cli: Any) -> None:
    make_run("a", 20, lr=0.1, seed=0)
    make_run("b", 5, lr=0.1, seed=1)
    result = cli("compare", "a", "b", "--out", "curves.svg", "--json")
    assert (result.code, result.err) == (0, "")
    assert Path("curves.svg").read_text().startswith("<?xml")
    found = result.document
    a, b = found.pop("runs")
    pair = {"a": "a", "b": "b", "p_value": 2 / 2**15}
    pair |= {"test": {"both": 80, "only_a": 0, "only_b": 15, "neither": 5, "p_value": 2 / 2**15}}
    pair |= {"sentence": "b is better than a: of the 100 images 15 only b gets right and 0 only a, p < 0.001"}
    seed = "the runs differ in the seed alone: their differences are chance, not the effect of a setting"
    assert found == {
        "version": 1,
        "command": "compare",
        "differing": ["seed"],
        "pairs": [pair],
        "notes": [seed],
        "curves": "curves.svg",
    }
    history = [
        {"epoch": 1, "train_loss": 1.5, "valid_loss": 1.25, "valid_accuracy": 0.5, "seconds": 2.0},
        {"epoch": 2, "train_loss": 1.0, "valid_loss": 0.75, "valid_accuracy": 0.95, "seconds": 1000.0},
    ]
    held_out = {"split": "test", "images": 100, "loss": 0.125, "accuracy": 0.95, "interval": list(wilson_interval(95, 100))}
    figures = by_class([(0, 0, 47), (0, 1, 3), (1, 0, 2), (1, 1, 48)], ["cat", "dog"])
    assert b.pop("by_class") == as_json(figures)
    assert b == {
        "name": "b",
        "folder": "runs/b",
        "state": "done",
        "settings": {"seed": 1},
        "history": history,
        "epochs": 2,
        "best": history[1],
        "held_out": held_out,
        "parameters": None,
        "seconds": 1002.0,
    }
    assert a["settings"] == {"seed": 0}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, "compare needs at least two runs; 'tinyclsf runs' shows all"),
        (["a"], 2, "compare needs at least two runs; got only runs/a; 'tinyclsf runs' shows all"),
        (["a", "b", "runs/a"], 2, "run runs/a is given twice; give each run once"),
        (["a", "c"], 2, "there is no run 'c' in runs; 'tinyclsf runs' shows all"),
        (["a", "b", "--out", "gone/x.png"], 7, "cannot write gone/x.png: No such file or directory; "),
        (["a", "b", "--out", "x.txt"], 2, "a figure cannot be written to x.txt; wanted a name that ends in "),
    ],
)
def test_what_cannot_be_compared(cli: Any, args: list[str], code: int, message: str) -> None:
    make_run("a", 1)
    make_run("b", 2)
    result = cli("compare", *args)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(f"error: {message}")
    assert not list(Path().glob("*.*"))


def test_no_two_rows_have_one_name(cli: Any) -> None:
    make_run("a", 20, split="valid")
    make_run("b", 5, split="valid")
    labels = [line.split("  ")[0] for line in cli("compare", "a", "b").out.splitlines() if "  " in line.strip()]
    assert len(labels) == len(set(labels))
    assert {"valid accuracy", "held-out accuracy"} <= set(labels)


def test_where_no_run_has_a_test_split_that_is_said_once(cli: Any) -> None:
    make_run("a", 20, split="valid")
    make_run("b", 5, split="valid")
    make_run("c", None)
    assert cli("compare", "a", "b", "c", "--json").document["notes"][-1] == NO_TEST_SPLIT
