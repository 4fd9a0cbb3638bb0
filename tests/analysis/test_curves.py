"""Several runs in one picture, however they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import tinyclsf
from tests.support.messages import message
from tests.support.runs import write_run
from tinyclsf.errors import ConfigurationError
from tinyclsf.history import History
from tinyclsf.metrics import Epoch
from tinyclsf.modules import Classifier
from tinyclsf.runs.config_file import ConfigFile
from tinyclsf.runs.trained_run import TrainedRun

LOOSE: Any = tinyclsf
ROWS = [Epoch(1, 0.5, 0.25, 0.5, 1.0)]


def names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINYCLSF_RUNS", raising=False)
    for folder, loss in (("runs/a", 1.0), ("runs/b", 2.0), ("other/a", 3.0)):
        write_run(tmp_path / folder, {}, [ROWS[0]._replace(train_loss=loss)])
    return tmp_path


def test_runs_are_found_by_name_and_folder_and_lines_have_names_of_their_own(runs: Path) -> None:
    opened = TrainedRun(runs / "runs/b", ConfigFile(), History(ROWS), Classifier.__new__(Classifier))
    figure = LOOSE.plot(["a", "other/a", runs / "runs/b", opened, ROWS])
    assert names(figure) == ["a", "a (2)", "b", "b (4)", "run 5"]
    assert [float(line.get_ydata()[0]) for line in figure.axes[0].lines] == [1.0, 3.0, 2.0, 0.5, 0.5]


def test_a_dictionary_names_the_lines(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(tinyclsf.plot({"<first>": History(ROWS), "$second": "a"})) == ["<first>", "$second"]
    monkeypatch.setenv("TINYCLSF_RUNS", "other")
    assert tinyclsf.plot({"": "a"}).axes[0].lines[0].get_ydata()[0] == 3.0  # type: ignore[index]


@pytest.mark.parametrize("given", [lambda: "a", lambda: History(ROWS), lambda: ROWS, lambda: Path("runs/a")])
def test_one_run_is_one_line(runs: Path, given: Callable[[], Any]) -> None:
    own = Figure()
    assert tinyclsf.plot(given(), own.subplots(1, 3)) is own
    assert [len(ax.lines) for ax in own.axes] == [1, 1, 1]


def test_what_is_no_run_is_said(runs: Path) -> None:
    wanted = "wanted a run, its history, its folder or its name"
    assert message(lambda: LOOSE.plot(3), ConfigurationError) == f"a run is of type int; {wanted}"
    nul = "a run is 'a\\x00b'; wanted a path, which has no NUL character"
    assert message(lambda: LOOSE.plot("a\0b"), ConfigurationError) == nul
    assert message(lambda: LOOSE.plot([[3]]), ConfigurationError) == f"a run is of type list; {wanted}"
    assert message(lambda: LOOSE.plot("c"), ConfigurationError) == "there is no run 'c' in runs; 'tinyclsf runs' shows all"


@pytest.mark.parametrize("nothing", [[], {}, [[], []]])
def test_nothing_to_draw_is_said(nothing: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        tinyclsf.plot(nothing)
    assert str(error.value) == "there is no epoch to draw; give at least one run with a finished epoch"
