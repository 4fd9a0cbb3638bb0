"""Figures and logits over a loader, against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.training import images
from tinyclsf import Trainer, get_data
from tinyclsf.errors import ConfigurationError, DataError
from tinyclsf.loop.evaluation import Predictions, evaluate, outputs, predict, score, with_tta

CPU = torch.device("cpu")


def regularised() -> nn.Module:
    """Layers that do one thing in training and another in evaluation."""
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10))


def test_each_sample_is_counted_once() -> None:
    model = regularised()
    trainer = Trainer(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    data = images(131, 1, 20)
    _, dl = get_data(data, data, 32)
    model.train()
    found = trainer.evaluate(dl)
    model.train()
    predictions = trainer.predict(dl)
    assert not model.training
    labels = data.tensors[1].numpy()
    with torch.no_grad():
        out = model(data.tensors[0])
    assert found.samples == 131
    assert found.accuracy == accuracy_score(labels, out.argmax(1).numpy())
    assert found.loss == pytest.approx(log_loss(labels, out.double().softmax(1).numpy(), labels=list(range(10))), rel=1e-6)
    assert torch.equal(predictions.labels, data.tensors[1])
    assert torch.allclose(predictions.logits, out, atol=1e-6)
    assert not predictions.logits.requires_grad


@pytest.mark.parametrize("sizes", [[1], [3, 1], [2, 2, 5, 1, 9], [1] * 40])
def test_predictions_are_those_of_all_batches_in_their_order(sizes: list[int]) -> None:
    x, y = images(sum(sizes), 1, 20).tensors
    model = regularised().eval()
    found = predict(model, list(zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)), CPU)
    with torch.no_grad():
        assert torch.allclose(found.logits, model(x), atol=1e-6)
    assert torch.equal(found.labels, y)
    assert found.labels.dtype == torch.int64


def test_targets_that_are_no_labels_have_no_accuracy() -> None:
    x = torch.rand(8, 3)
    batches = [(x[:5], x[:5, :1]), (x[5:], x[5:, :1])]
    found = evaluate(nn.Linear(3, 1), F.mse_loss, batches, CPU)
    assert (found.accuracy, found.samples) == (None, 8)
    mixed = evaluate(nn.Linear(3, 3), lambda out, yb: out.mean(), [(x, torch.zeros(8).long()), (x, x)], CPU)
    assert mixed.accuracy is None


def test_the_sign_of_a_single_output_may_be_the_class_so_it_has_no_accuracy() -> None:
    def loss(out: Tensor, yb: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out.squeeze(1), yb.float())

    x, y = torch.rand(8, 3), torch.arange(8) % 2
    found = evaluate(nn.Linear(3, 1), loss, [(x, y)], CPU)
    assert (found.accuracy, found.samples) == (None, 8)
    with pytest.raises(DataError, match=r"^label 1 of evaluated batch 1 is 1; wanted 0 to 0 for 1 classes$"):
        evaluate(nn.Linear(3, 1), F.cross_entropy, [(x, y)], CPU)


def test_no_gradient_is_kept() -> None:
    def loss(out: Tensor, yb: Tensor) -> Tensor:
        assert not out.requires_grad
        return out.sum() * 0 + 2

    x, y = images(4, 1, 20).tensors
    found = evaluate(regularised().eval(), loss, [(x, y)], CPU)
    assert (found.loss, found.samples) == (2.0, 4)
    assert all(not out.requires_grad for out, _ in outputs(regularised(), [(x, y)], CPU))


def test_a_loader_that_gives_nothing_is_an_error() -> None:
    model = regularised()
    trainer = Trainer(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    for method in (trainer.evaluate, trainer.predict):
        with pytest.raises(DataError, match=r"^the loader gave no batch: "):
            method([])


@pytest.mark.parametrize("label", [2, -100])
def test_a_split_with_a_label_that_is_no_class_cannot_be_scored(label: int) -> None:
    predictions = Predictions(torch.zeros(3, 2), torch.tensor([label] * 3))
    with pytest.raises(DataError) as error:
        score("test", predictions, F.cross_entropy)
    assert str(error.value) == f"label 0 of the test split is {label}; wanted 0 to 1 for 2 classes"


def test_flipping_gives_the_mean_probabilities_of_an_image_and_its_mirror_image() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    x, y = torch.randn(7, 1, 4, 6), torch.arange(7) % 5
    mirrored = torch.stack([x[..., 5 - column] for column in range(6)], dim=-1)
    shares = (model(x).softmax(1) + model(mirrored).softmax(1)) / 2
    found = predict(with_tta(model, "flip"), [(x[:4], y[:4]), (x[4:], y[4:])], CPU)
    torch.testing.assert_close(found.logits.softmax(1), shares.detach())
    assert score("test", found, F.cross_entropy).loss == pytest.approx(F.nll_loss(shares.log(), y).item())
    assert with_tta(model, "none") is model
    with pytest.raises(ConfigurationError) as error:
        with_tta(model, "flop")  # type: ignore[arg-type]
    assert str(error.value) == "tta is 'flop'; wanted none or flip"


def test_predictions_show_shapes_the_first_five_and_their_sums() -> None:
    found = Predictions(torch.tensor([[0.0, 0.0], [20.0, 0.0], *[[0.0, 0.0]] * 5]), torch.tensor([0, 1, 1, 0, 1, 0, 0]))
    assert repr(found).splitlines() == [
        "logits (7, 2), labels (7,)",
        "probabilities of the first 5:",
        *("[[0.5000 0.5000]", " [1.0000 0.0000]", *[" [0.5000 0.5000]"] * 2, " [0.5000 0.5000]]"),
        "their sums: 1.0000, 1.0000, 1.0000, 1.0000, 1.0000",
        "labels of the first 5: [0, 1, 1, 0, 1]",
    ]
    assert repr(Predictions(torch.zeros(1), torch.zeros(1))) == "logits (1,), labels (1,)\nlabels of the first 5: [0.0]"
    assert len(repr(Predictions(torch.zeros(9, 1000), torch.zeros(9))).splitlines()) == 9
