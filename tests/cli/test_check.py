"""`tinyclsf check`, and what `tinyclsf fit` looks at before it trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyclsf.analysis.checks import Finding

SMALL = ("-d", "train_size=320")

PLUGIN = """
from torch import nn
from torch.nn import functional as F

class Noisy(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.lin, self.spare = nn.Linear(784, num_classes), nn.Linear(2, 2)

    def forward(self, x):
        return F.dropout(self.lin(x.flatten(1)), 0.5)

def broken(image_shape, num_classes):
    raise RuntimeError("no such layer")
"""


def test_what_was_looked_at_and_found_is_told(cli: Any) -> None:
    result = cli("check", "lenet", "-m", "softmax=true", *SMALL, "--images", "100")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:3] == [
        "  model       lenet, 5,142 parameters, 0 of them frozen",
        "  data        digits, 10 classes of 1x28x28 images",
        "  sample      100 training images",
    ]
    assert lines[3].startswith("  first loss  2.3")
    assert lines[3].endswith("; guessing has 2.303, which is ln(classes)")
    assert lines[4].startswith("  inputs      mean 0.1")
    assert lines[4].endswith("; 0 and 1 are best")
    assert lines[-4:] == [
        "",
        "1. softmax: the outputs sum to one already, and the loss takes their softmax once more, which",
        "   flattens the gradient.",
        "   Advice: a model should give logits: leave its softmax out.",
    ]
    assert max(map(len, lines)) <= 100


def test_nothing_found_is_no_claim_that_all_is_well(cli: Any) -> None:
    result = cli("check", "mlp", *SMALL)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1] == (
        "the checks found nothing to report; they look at a sample, and cannot prove that all is well"
    )
    assert "the gradients of a batch" in " ".join(result.out.split())


def test_the_document_holds_the_findings_and_what_they_rest_on(cli: Any) -> None:
    found = cli("check", "mnist-cnn", *SMALL, "--loss", "mse", "--seed", "1", "--json").document
    assert found["version"] == 1
    assert found["command"] == "check"
    assert found["model"]["name"] == "mnist-cnn"
    assert found["data"]["options"]["train_size"] == 320
    assert (found["loss"], found["seed"], found["images"], found["parameters"], found["frozen"]) == ("mse", 1, 256, 3930, 0)
    assert found["guessing"] == pytest.approx(math.log(10))
    assert found["first_loss"] == pytest.approx(math.log(10), abs=0.1)
    assert [each["check"] for each in found["findings"]] == ["clipped-outputs"]
    assert set(found["findings"][0]) == {"check", "evidence", "advice"}
    assert "the same picture in two splits, of 1,040 pictures" in found["looked_at"]
    assert (found["skipped"], found["warnings"]) == ([], [])


def test_errors_are_those_of_fit(cli: Any, install: Any) -> None:
    install("odd", PLUGIN, module="odd", models={"broken": "odd:broken"})
    result = cli("check", "broken", *SMALL)
    assert (result.code, result.out) == (5, "")
    assert result.err == (
        "error: model 'broken' of package odd (odd:broken) failed for 10 classes of images (1, 28, 28): "
        "RuntimeError: no such layer\n"
        f"tip: look at {Path('odd/odd.py').absolute()}, line 14; --debug shows the traceback\n"
    )
    assert cli("check", "lenett").err == (
        "error: there is no model 'lenett'; 'tinyclsf list models' shows all\ntip: did you mean 'lenet'?\n"
    )
    assert cli("check", "lenet", "--loss", "mze").code == 2


def test_fit_warns_of_what_it_finds_and_ends_as_without_looking(
    cli: Any, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("odd", PLUGIN, module="odd", models={"noisy": "odd:Noisy"})
    fit = ("fit", "noisy", *SMALL, "--epochs", "1", "--progress", "none", "--json")
    first = cli(*fit, "--run", "with")
    assert first.code == 0
    warned = first.document["warnings"]
    assert [sentence.split(" give ")[0] for sentence in warned] == [
        "in evaluation mode two passes over the same 64 images",
        "2 of 4 parameter tensors cannot learn from a batch of 64 images: "
        "the loss does not depend on network.spare.weight and network.spare.bias; "
        "use them in forward without detach() or no_grad(), mend a ReLU that is always at 0, "
        "or freeze or remove what is not to be trained",
    ]
    assert first.err == "".join(f"warning: {sentence}\n" for sentence in warned)
    none: list[Finding] = []
    monkeypatch.setattr("tinyclsf.experiments.building.quick_check", lambda *parts: none)
    second = cli(*fit, "--run", "without")
    assert second.document["warnings"] == []
    # Dropout drew in training and in scoring: one number more or less, and all is different.
    one, other = (np.load(f"runs/{run}/predictions.npz")["logits"] for run in ("with", "without"))
    assert one.tobytes() == other.tobytes()


def test_fit_says_nothing_of_the_models_that_come_along(cli: Any) -> None:
    for model in ("mnist-cnn", "mlp", "torch-clsf"):
        document = cli("fit", model, *SMALL, "--epochs", "1", "--batch-size", "64", "--progress", "none", "--json").document
        assert document["warnings"] == [], model


def test_what_was_looked_at_stands_under_the_other_values(cli: Any) -> None:
    lines = cli("check", "mlp", *SMALL).out.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("  looked at   "))
    assert lines[start + 1].startswith(" " * 14)
    assert lines[start + 1][14] != " "
