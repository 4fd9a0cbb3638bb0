"""Runs side by side: what differs, what is tested against what, and whole sentences for folders made by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest  # type: ignore[import-untyped]
from torch.nn import functional as F

from tests.support.notebooks import ODD, charts, rows_of_table, said
from tests.support.runs import write_run
from tinyclsf.analysis.comparison import compare
from tinyclsf.analysis.differences import differing
from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.history import History
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.metrics import NO_TEST_SPLIT, Epoch, Score
from tinyclsf.runs.config_file import ConfigFile, read_run_config
from tinyclsf.runs.ending import write_state
from tinyclsf.runs.folder import write_config

CONTENT = {"train": 9, "valid": 3, "test": 20, "classes": ["a", "b"], "image_shape": [1, 2, 2], "test_checksum": "0a"}
LABELS = [0, 1] * 10
ONE_A_SETTING = (
    "the tests compare these trained models; with one run for each setting, its effect cannot be told from that of the seed"
)


def config_of(**settings: Any) -> dict[str, Any]:
    content = settings.pop("content", CONTENT)
    return {
        "version": 1,
        "tinyclsf": "0.1.0",
        "python": "3.11.7",
        "torch": "2.15.0",
        "created": f"2026-01-01T00:00:{len(settings):02}+00:00",
        "model": {"name": "net", "package": "gone", "package_version": "1", "options": {"width": 8}},
        "data": {"name": "set", "package": "tinyclsf", "package_version": "0.1.0", "options": {}, "content": content},
        "callbacks": [],
        "settings": {name: {"value": value, "source": "--x"} for name, value in settings.items()},
    }


def make_run(
    folder: Path, predicted: Sequence[int] | None, *, split: str = "test", labels: Sequence[int] = LABELS, **settings: Any
) -> Path:
    """A run that is done and predicts these classes, or that was stopped."""
    config, rows = config_of(**settings), [Epoch(1, 0.5, 0.25, settings.get("lr", 0.5), 2.0)]
    if predicted is None:
        return write_run(folder, config, rows, state="stopped")
    predictions = Predictions(F.one_hot(torch.tensor(predicted), 2).float(), torch.tensor(labels))
    score = Score(split, len(labels), 0.5, 0.5, (0.25, 0.75))
    return write_run(folder, config, rows, predictions=predictions, state="done", held_out=score)


def flipped(*wrong: int) -> list[int]:
    return [1 - label if number in wrong else label for number, label in enumerate(LABELS)]


def read(folder: Path, config: dict[str, Any]) -> ConfigFile:
    write_config(folder, config)
    return read_run_config(folder)


def test_only_what_differs_is_told(tmp_path: Path) -> None:
    first = {**config_of(epochs=2, lr=0.1, weight_decay=0, seed=0, run="runs/a", momentum=0.9), "threads": 1}
    second = config_of(epochs=2, lr=0.2, weight_decay=0.0, seed=0, run="runs/b", clip_norm=None)
    second["model"] |= {"options": {"depth": 3}, "package_version": "2"}
    second["callbacks"] = [{"name": "csv", "options": {"file": "x"}}]
    second |= {"torch": "2.16.0", "threads": 2}
    a, b = differing([read(tmp_path, first), read(tmp_path, second)])
    assert list(a.items()) == [
        ("-m width", 8),
        ("lr", 0.1),
        ("momentum", 0.9),
        ("threads", 1),
        ("version of gone", "1"),
        ("version of torch", "2.15.0"),
    ]
    assert b == {
        "-m depth": 3,
        "lr": 0.2,
        "clip-norm": None,
        "callback csv": True,
        "-c csv.file": "x",
        "version of gone": "2",
        "version of torch": "2.16.0",
        "threads": 2,
    }
    assert differing([read(tmp_path, first)] * 2) == [{}, {}]
    plain = {"model": "net", "data": None, "settings": {"lr": 0.2}, "callbacks": ["csv"]}
    found = differing([read(tmp_path, {}), read(tmp_path, plain)])
    assert found == [{"model": None}, {"model": "net", "lr": 0.2, "callback csv": True}]


def test_the_better_of_two_is_named(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", flipped(*range(9)), lr=0.1), make_run(tmp_path / "b", flipped(8, 10), lr=0.2)
    found = compare([a, b])
    [pair] = found.pairs
    assert pair.test is not None
    assert pair.test[:4] == (10, 1, 8, 1)
    assert pair.p_value == pair.test.p_value == pytest.approx(binomtest(1, 9).pvalue)
    assert pair.sentence == "b is better than a: of the 20 images 8 only b gets right and 1 only a, p = 0.039"
    assert compare([b, a]).pairs[0].sentence == pair.sentence
    assert found.notes == (ONE_A_SETTING,)
    assert found.differing == ("lr",)
    one, two = found.runs
    assert (one.name, one.folder, one.state, one.settings, two.settings) == ("a", a, "done", {"lr": 0.1}, {"lr": 0.2})
    assert one.best == Epoch(1, 0.5, 0.25, 0.1, 2.0)
    assert one.held_out == Score("test", 20, 0.5, 0.5, (0.25, 0.75))


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (flipped(1), flipped(1), "a and b predict the same for all 20 images"),
        ([1] * 20, [0] * 20, "a and b: no difference that 20 images can show; 10 only a gets right and 10 only b, p = 1"),
        (flipped(1, 2), flipped(3), "a and b: no difference that 20 images can show; 1 only a gets right and 2 only b, p = 1"),
        (flipped(*range(8)), LABELS, "b is better than a: of the 20 images 8 only b gets right and 0 only a, p = 0.0078"),
        (LABELS, flipped(*range(20)), "a is better than b: of the 20 images 20 only a gets right and 0 only b, p < 0.001"),
        (
            flipped(*range(5)),
            LABELS,
            "a and b: no difference that 20 images can show; 0 only a gets right and 5 only b, p = 0.062",
        ),
    ],
    ids=["same", "as-many", "few", "better", "tiny", "one-sided"],
)
def test_what_a_test_says(tmp_path: Path, a: list[int], b: list[int], sentence: str) -> None:
    found = compare([make_run(tmp_path / "a", a, seed=0), make_run(tmp_path / "b", b, seed=1)])
    assert found.pairs[0].sentence == sentence
    assert found.notes == ("the runs differ in the seed alone: their differences are chance, not the effect of a setting",)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"predicted": None}, "b was stopped, and predictions are saved at a run's end"),
        ({"split": "valid"}, "a was scored on test images and b on valid images"),
        (
            {"content": {**CONTENT, "train": 8, "test": 19, "classes": ["a", "c"], "test_checksum": "0b"}},
            "their test images differ: test 20 and 19, test checksum 0a and 0b, classes",
        ),
        ({"content": {**CONTENT, "image_shape": [1, 4, 4]}}, "their test images differ: image shape"),
        ({"content": None}, "the config.json of b does not say what is in its data"),
        ({"labels": LABELS[::-1]}, "the labels of their images differ"),
    ],
    ids=["stopped", "split", "data", "shape", "unknown", "labels"],
)
def test_without_the_same_images_there_is_no_test(tmp_path: Path, other: dict[str, Any], reason: str) -> None:
    runs = [make_run(tmp_path / "a", LABELS), make_run(tmp_path / "b", **{"predicted": flipped(1), **other})]
    found = compare(runs)
    assert found.pairs == (("a", "b", None, None, f"no test of a against b: {reason}"),)
    assert found.notes == (() if found.runs[1].held_out in (None, found.runs[0].held_out) else (f"b: {NO_TEST_SPLIT}",))
    assert [run.best is not None for run in found.runs] == [True, True]


SMALL = {**CONTENT, "test_files": "f0"}
LARGE = {**SMALL, "image_shape": [1, 4, 4], "test_checksum": "0b"}


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (SMALL, LARGE, None),
        ({**SMALL, "test_checksum": None}, {**LARGE, "test_checksum": None}, None),
        (SMALL, {**SMALL, "test_files": "f1"}, None),  # renamed, and the same pixels
        (CONTENT, SMALL, None),  # of an earlier version
        (CONTENT, LARGE, "test checksum 0a and 0b, image shape"),
        (SMALL, {**LARGE, "test_files": "f1"}, "test checksum 0a and 0b, image shape"),
        ({**SMALL, "test_checksum": None}, {**SMALL, "test_checksum": None, "test_files": "f1"}, "test files f0 and f1"),
        (SMALL, {**LARGE, "classes": ["a", "c"]}, "classes"),
    ],
)
def test_images_are_known_by_their_files_or_their_pixels(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], reason: str | None
) -> None:
    folders = make_run(tmp_path / "a", LABELS, content=one), make_run(tmp_path / "b", flipped(1), content=other)
    [pair] = compare(list(map(str, folders))).pairs
    if reason is None:
        assert pair.test is not None
    else:
        assert pair.sentence == f"no test of a against b: their test images differ: {reason}"


def test_other_images_to_train_on_do_not_keep_runs_from_a_test(tmp_path: Path) -> None:
    more = {**CONTENT, "train": 900, "train_checksum": "ff", "valid": 30}
    runs = [make_run(tmp_path / "a", LABELS), make_run(tmp_path / "b", flipped(1), content=more)]
    assert compare(runs).pairs[0].test is not None


def test_runs_without_test_images_are_held_to_those_that_validated(tmp_path: Path) -> None:
    contents = [{**CONTENT, "test_checksum": None, "valid_checksum": checksum} for checksum in ("0a", "0b")]
    runs = [make_run(tmp_path / name, LABELS, split="valid", content=each) for name, each in zip("ab", contents, strict=True)]
    found = compare(runs)
    assert found.pairs[0].sentence == "no test of a against b: their valid images differ: valid checksum 0a and 0b"


def test_just_above_the_level_is_no_difference(tmp_path: Path) -> None:
    labels = [0, 1] * 16
    wrong = [[1 - label if (number < 10) == first else label for number, label in enumerate(labels)] for first in (True, False)]
    runs = [make_run(tmp_path / name, each, labels=labels) for name, each in zip("ab", wrong, strict=True)]
    [pair] = compare(runs).pairs
    assert pair.p_value == pytest.approx(0.0501, abs=1e-4)
    assert pair.sentence.startswith("a and b: no difference that 32 images can show; 22 only a gets right and 10 only b, p")


def test_predictions_of_earlier_weights_are_not_tested(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", LABELS), make_run(tmp_path / "b", LABELS)]
    write_state(runs[1], "failed", error="the loss is nan")
    assert compare(runs).pairs[0].sentence == ("no test of a against b: b failed, and predictions are saved at a run's end")
    write_state(runs[1], "done")
    (runs[1] / "predictions.npz").write_bytes(b"")
    assert compare(runs).pairs[0].sentence.startswith(f"no test of a against b: {runs[1] / 'predictions.npz'} is broken (")


def test_three_runs_are_tested_in_pairs_and_corrected(tmp_path: Path) -> None:
    wrong = {"a": range(9), "b": range(8, 10), "c": range(7, 12)}
    runs = [make_run(tmp_path / name, flipped(*each), lr=0.1, seed=each.stop) for name, each in wrong.items()]
    found = compare(runs)
    assert [(pair.a, pair.b) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [binomtest(1, 9).pvalue, binomtest(3, 10).pvalue, binomtest(0, 3).pvalue]
    assert [pair.p_value for pair in found.pairs] == pytest.approx([3 * raw[0], 2 * raw[2], 2 * raw[2]])
    assert found.pairs[0].sentence == (
        "a and b: no difference that 20 images can show; 1 only a gets right and 8 only b, p = 0.12"
    )
    assert found.notes[0] == "each p is corrected for 3 tests by Holm's method"


def test_of_many_runs_the_best_by_validation_is_tested_against_the_others(tmp_path: Path) -> None:
    accuracies = {"a": 0.1, "b": 0.7, "c": 0.2, "d": 0.3, "best-but-stopped": 0.9}
    runs = [make_run(tmp_path / name, None if "stopped" in name else LABELS, lr=lr) for name, lr in accuracies.items()]
    assert len(compare(runs[:4]).pairs) == 6  # as many are tested each against each
    found = compare(runs)
    assert [(pair.a, pair.b) for pair in found.pairs] == [("b", "a"), ("b", "c"), ("b", "d"), ("b", "best-but-stopped")]
    assert found.notes == (
        "b is the best by validation, so it is tested against each of the others",
        "each p is corrected for 3 tests by Holm's method",
        ONE_A_SETTING,
    )


def test_of_runs_some_of_which_differ_in_the_seed_alone_nothing_is_said_in_general(tmp_path: Path) -> None:
    settings: list[dict[str, Any]] = [{"lr": 0.1, "seed": 0}, {"lr": 0.1, "seed": 1}, {"lr": 0.2, "seed": 0}]
    found = compare([make_run(tmp_path / name, LABELS, **each) for name, each in zip("abc", settings, strict=True)])
    assert found.notes == ("each p is corrected for 3 tests by Holm's method",)


def test_parameters_are_those_that_the_run_wrote_down(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", LABELS), make_run(tmp_path / "b", LABELS)]
    config = config_of()
    write_config(runs[0], {**config, "model": {**config["model"], "parameters": 7850}})
    assert [run.parameters for run in compare(runs).runs] == [7850, None]


def test_runs_of_one_name_go_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_run(tmp_path / "here" / "a", LABELS))
    make_run(tmp_path / "there" / "a", LABELS)
    make_run(tmp_path / "there" / "b", LABELS)
    found = compare([Path(), Path("../../there/a"), Path("../../there/b")])
    assert [run.name for run in found.runs] == [".", "../../there/a", "b"]


def test_what_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = make_run(Path("a"), LABELS), make_run(Path("b"), LABELS)
    Path("link").symlink_to("a")
    for given, message in [
        ([], "compare needs at least two runs; 'tinyclsf runs' shows all"),
        ([a], "compare needs at least two runs; got only a; 'tinyclsf runs' shows all"),
        ([a, b, Path("link")], "run link is given twice; give each run once"),
    ]:
        with pytest.raises(ConfigurationError) as error:
            compare(given)
        assert str(error.value) == message
    (b / "config.json").write_text("[]")
    with pytest.raises(ModelFileError, match=r"b/config\.json is a list; wanted an object"):
        compare([a, b])


def test_a_comparison_says_scores_and_tests(tmp_path: Path) -> None:
    found = compare([make_run(tmp_path / "a", LABELS, lr=0.5), make_run(tmp_path / ODD.replace("/", ""), None, lr=0.25)])
    odd = "<b>&\"' $x_ \\x1b\\u202e"
    assert repr(found).splitlines() == [
        "a: test accuracy 50.00 % (95 % interval 25.00 % to 75.00 %)",
        f"{odd}: no score",
        f"no test of a against {odd}: {odd} was stopped, and predictions are saved at a run's end",
    ]
    seen = "<b>&\"' $x_ \ufffd\ufffd"
    assert rows_of_table(found) == [
        ["run", "state", "epochs", "best validation accuracy", "held-out images"],
        ["a", "done", "1", "50.00 %", "test accuracy 50.00 % (95 % interval 25.00 % to 75.00 %)"],
        [seen, "stopped", "1", "25.00 %", "no score"],
    ]
    assert rows_of_table(found, 1) == [["run", "lr"], ["a", "0.5"], [seen, "0.25"]]
    assert charts(found) == 1
    assert f"no test of a against {seen}" in said(found)
    pair = found.pairs[0]._replace(sentence=f"{'a' * 300}, p = 0.7")  # whose figure is its end
    assert pair.sentence in said(found._replace(pairs=(pair,)))


def test_many_long_runs_are_shown_small(tmp_path: Path) -> None:
    found = compare([make_run(tmp_path / name, None, lr=0.5) for name in "ab"])
    noise = np.random.default_rng(0).random((500, 3)).tolist()
    history = History(Epoch(epoch, train, valid, share, 1.0) for epoch, (train, valid, share) in enumerate(noise, 1))
    settings = {f"-m option{number}": number for number in range(20)}
    many = [found.runs[0]._replace(name=f"{number} {ODD}", history=history, settings=settings) for number in range(30)]
    found = found._replace(runs=tuple(many), differing=tuple(settings))
    start = time.process_time()
    words = said(found)
    assert time.process_time() - start < 2
    assert "12 more settings differ" in words
    assert "and 10 more" in words
    assert repr(found).splitlines()[4] == "and 26 runs more"
