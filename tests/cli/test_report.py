"""`tinyclsf report`: what it prints, and its document."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.commands import Cli
from tests.support.runs import write_run
from tinyclsf.analysis.by_class import by_class
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.metrics import Epoch, wilson_interval


def make_run(folder: Path, state: Any = "done") -> Path:
    """A run that is right 32 times of 40, and was stopped before it had learned all that it could."""
    rows = [Epoch(epoch, loss, loss, 0.8, 1.0) for epoch, loss in enumerate((0.9, 0.8, 0.7, 0.6, 0.5), start=1)]
    labels = torch.arange(40) % 2
    predicted = torch.where(torch.arange(40) < 32, labels, 1 - labels)
    predictions = Predictions(math.log(4) * torch.eye(2)[predicted], labels)  # 80 % sure
    config = {"settings": {"epochs": {"value": 5, "source": "default"}}}
    return write_run(folder, config, rows, classes=["cat", "dog"], predictions=predictions, state=state)


EVIDENCE = "from epoch 1 to 5 validation loss fell from 0.9 to 0.5, and validation accuracy went from 80.00 % to 80.00 %"
IMPROVING = "the curves suggest that the model was still improving when training ended"
FEW = "there are few held-out images; train with another seed to see how much the figures vary by chance"


def test_figures_remarks_and_the_page_are_told(cli: Cli) -> None:
    folder = make_run(Path("runs", "first"))
    result = cli("report", "first", "--out", "page.html")
    assert result.code == 0
    low, high = wilson_interval(32, 40)
    first, _, *lines = result.out.splitlines()
    assert first == f"test  accuracy 80.00 % (95 % interval {low * 100:.2f} % to {high * 100:.2f} %, 40 images)"
    assert " ".join(lines[:2]) == f"{IMPROVING}: {EVIDENCE}"
    assert lines[2:4] == ["  tinyclsf fit --resume runs/first --epochs 10", ""]
    assert lines[-1] == "page  page.html"
    assert max(map(len, lines)) <= 100
    assert Path("page.html").exists()

    result = cli("report", "first", "--json")
    found = result.document
    assert result.err == "".join(f"warning: {warning}\n" for warning in found["warnings"])
    assert {key: found[key] for key in ("command", "run", "state", "page")} == {
        "command": "report",
        "run": str(folder),
        "state": "done",
        "page": "runs/first/report.html",
    }
    scored = found["scored"]
    assert (scored["split"], scored["images"], scored["accuracy"], scored["mistakes"]) == ("test", 40, 0.8, 8)
    assert scored["interval"] == [low, high]
    assert (scored["balanced_accuracy"], scored["macro_f1"]) == pytest.approx((0.8, 0.8))
    found_by_class = by_class([(0, 0, 16), (0, 1, 4), (1, 0, 4), (1, 1, 16)], ["cat", "dog"])
    assert scored["balanced_accuracy_interval"] == list(found_by_class.balanced_accuracy_interval)
    assert scored["macro_f1_interval"] == list(found_by_class.macro_f1_interval or ())
    assert scored["classes"][1] == {
        "name": "dog",
        "images": 20,
        "predicted": 20,
        "correct": 16,
        "precision": 0.8,
        "recall": 0.8,
        "interval": list(wilson_interval(16, 20)),
        "f1": 0.8,
    }
    loss = -math.log(0.8) + 0.2 * math.log(4)
    assert [scored["calibration_error"], scored["loss"]] == pytest.approx([0, loss], abs=1e-6)
    assert [remark["what"] for remark in found["remarks"]] == [IMPROVING, FEW]
    assert found["remarks"][0] == {
        "what": IMPROVING,
        "evidence": EVIDENCE,
        "suggestion": "tinyclsf fit --resume runs/first --epochs 10",
    }


def test_a_run_that_was_stopped_has_no_figures(cli: Cli) -> None:
    make_run(Path("runs", "first"), "stopped")
    note = "The run is not done and its saved predictions are of earlier weights, so it has no figures."
    result = cli("report", "first")
    assert result.err == f"warning: {note}\n"
    state, _, remark = result.out.split("\n")[:3]
    assert state == "stopped, 5 of 5 epochs; it has no score on held-out images"
    assert remark.startswith(IMPROVING)
    found = cli("report", "first", "--json").document
    assert (found["state"], found["scored"], found["warnings"]) == ("stopped", None, [note])


def test_where_there_is_no_epoch_nothing_is_said_of_curves(cli: Cli) -> None:
    folder = make_run(Path("runs", "first"), "failed")
    (folder / "metrics.jsonl").unlink()
    out = cli("report", "first").out
    assert out == "failed, 0 of 5 epochs; it has no score on held-out images\n\npage  runs/first/report.html\n"


def test_so_many_mistakes_are_shown_as_are_asked_for(cli: Cli) -> None:
    fit = ("fit", "mnist-logistic", "-d", "train_size=640", "--epochs", "1", "--run", "first", "--progress", "none")
    assert cli(*fit).code == 0
    assert cli("report", "first", "--worst", "3").code == 0
    assert Path("runs/first/report.html").read_text().count("<img ") == 3


def test_where_nothing_stands_out_that_is_said(cli: Cli) -> None:
    metrics = make_run(Path("runs", "first"), "failed") / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines()[0] + "\n")
    lines = cli("report", "first").out.splitlines()
    assert lines[0] == "failed, 1 of 5 epochs; it has no score on held-out images"
    assert lines[2] == "nothing stands out in its curves and figures, which does not show that all is well"
