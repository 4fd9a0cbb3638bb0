"""`loss_batch`, `fit` and `get_data` against the tutorial's own loop and PyTorch's own loader."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tests.support.messages import message
from tests.support.streams import Stream
from tests.support.training import begin, images
from tinyclsf import Epoch, Trainer, fit, get_data, loss_batch
from tinyclsf.errors import DataError
from tinyclsf.recipes import mse
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN
from tinyclsf_plugins.models.mnist_logistic import Mnist_Logistic


def parameters(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("make", [Mnist_Logistic, Mnist_CNN])
def test_fit_ends_bit_for_bit_where_the_tutorial_ends(
    make: Callable[[], nn.Module], tutorial_fit: Callable[..., list[float]], capsys: pytest.CaptureFixture[str]
) -> None:
    train_ds, valid_ds = images(650, 0), images(130, 1)  # neither is a multiple of its batch size
    model, opt = begin(make)
    theirs = tutorial_fit(
        3, model, F.cross_entropy, opt, DataLoader(train_ds, 64, shuffle=True), DataLoader(valid_ds, batch_size=128)
    )
    printed = capsys.readouterr().out
    wanted = parameters(model)

    model, opt = begin(make)
    history = fit(3, model, F.cross_entropy, opt, *get_data(train_ds, valid_ds, 64))
    assert all(torch.equal(a, b) for a, b in zip(parameters(model), wanted, strict=True))
    assert [row.valid_loss for row in history] == pytest.approx(theirs, rel=1e-12)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0", "1", "2"]
    assert [line.split()[0] for line in printed.splitlines()] == ["0", "1", "2"]


@pytest.mark.parametrize(("n", "bs"), [(640, 64), (650, np.int64(64)), (63, 64)])
def test_get_data_gives_the_batches_of_a_plain_loader(n: int, bs: int) -> None:
    train_ds, valid_ds = images(n, 0), images(130, 1)
    ours, plain = get_data(train_ds, valid_ds, bs), (DataLoader(train_ds, 64, shuffle=True), DataLoader(valid_ds, 128))
    for dl in (*ours, *plain):
        assert isinstance(dl, DataLoader)
    seen = []
    for train_dl, valid_dl in (ours, plain):
        torch.manual_seed(3)
        # Two epochs, and a draw in between: the global generator has to be left as the plain loader leaves it.
        seen.append([*train_dl, [torch.rand(4)], *train_dl, *valid_dl])
    assert len(seen[0]) == len(seen[1])
    for a, b in zip(*seen, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_loss_batch_only_trains_with_an_optimizer() -> None:
    model, opt = begin(Mnist_Logistic)
    xb, yb = images(5, 0).tensors
    before = copy.deepcopy(model.state_dict())
    loss, n = loss_batch(model, F.cross_entropy, xb, yb)
    assert (type(loss), n) == (float, 5)
    assert loss == F.cross_entropy(model(xb), yb).item()
    assert torch.equal(model.state_dict()["lin.weight"], before["lin.weight"])
    assert loss_batch(model, F.cross_entropy, xb, yb, opt) == (loss, 5)
    assert not torch.equal(model.state_dict()["lin.weight"], before["lin.weight"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_history_counts_a_ragged_last_batch_by_its_samples() -> None:
    train_ds, valid_ds = images(70, 0), images(131, 1)
    model, opt = begin(Mnist_Logistic)
    rows: list[Epoch] = []
    history = fit(2, model, F.cross_entropy, opt, *get_data(train_ds, valid_ds, 64), on_epoch=rows.append)
    assert rows == history
    assert [row.epoch for row in history] == [1, 2]
    with torch.no_grad():
        out = model(valid_ds.tensors[0])
    labels = valid_ds.tensors[1].numpy()
    assert history[-1].valid_accuracy == accuracy_score(labels, out.argmax(1).numpy())
    wanted = log_loss(labels, out.double().softmax(1).numpy(), labels=list(range(10)))
    assert history[-1].valid_loss == pytest.approx(wanted, rel=1e-6)
    assert all(row.seconds > 0 for row in history)


def test_train_loss_is_measured_as_the_model_trains() -> None:
    xb, yb = images(70, 0).tensors
    batches = [(xb[:64], yb[:64]), (xb[64:], yb[64:])]
    model, opt = begin(Mnist_Logistic)
    by_hand = 0.0
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        by_hand += loss.item() * len(x)
        loss.backward()  # type: ignore[no-untyped-call]
        opt.step()
        opt.zero_grad()
    model, opt = begin(Mnist_Logistic)
    (row,) = fit(1, model, F.cross_entropy, opt, batches, batches, on_epoch=lambda row: None)
    assert row.train_loss == pytest.approx(by_hand / 70, rel=1e-12)


def by_trainer(model: nn.Module, loss_func: Any, opt: torch.optim.Optimizer, train_dl: Any, valid_dl: Any) -> None:
    Trainer(model, loss_func, opt, device="cpu").fit(2, train_dl, valid_dl)


def by_fit(model: nn.Module, loss_func: Any, opt: torch.optim.Optimizer, train_dl: Any, valid_dl: Any) -> None:
    fit(2, model, loss_func, opt, train_dl, valid_dl, on_epoch=lambda row: None)


@pytest.mark.parametrize("train", [by_fit, by_trainer])
@pytest.mark.parametrize(("loss_func", "label"), [(F.cross_entropy, 10), (F.cross_entropy, -1), (mse, 10), (mse, -100)])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_label_that_is_no_class_is_named(train: Any, loss_func: Any, label: int, split: str) -> None:
    whole = [(xb, yb.clone()) for xb, yb in get_data(images(70, 0), images(70, 0), 32)[0]]
    broken = [(xb, yb.clone()) for xb, yb in whole]
    broken[1][1][3] = label
    model, opt = begin(Mnist_Logistic)
    loaders = (broken, whole) if split == "training" else (whole, broken)
    where = f"{split} batch 2 of epoch 1" if train is by_fit or split == "training" else "evaluated batch 2"
    assert message(lambda: train(model, loss_func, opt, *loaders)) == (
        f"label 3 of {where} is {label}; wanted 0 to 9 for 10 classes"
    )


@pytest.mark.parametrize("train", [by_fit, by_trainer])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_batch_of_labels_that_pytorch_leaves_out_is_no_reason_to_lower_the_learning_rate(train: Any, split: str) -> None:
    whole = [(xb, yb) for xb, yb in get_data(images(70, 0), images(70, 0), 32)[0]]
    broken = [*whole[:2], (whole[2][0], torch.full((6,), -100))]
    model, opt = begin(Mnist_Logistic)
    loaders = (broken, whole) if split == "training" else (whole, broken)
    where = f"{split} batch 3 of epoch 1" if train is by_fit or split == "training" else "evaluated batch 3"
    assert message(lambda: train(model, F.cross_entropy, opt, *loaders)) == (
        f"label 0 of {where} is -100; wanted 0 to 9 for 10 classes"
    )


def test_errors_that_no_label_is_the_reason_of_are_left_as_they_are() -> None:
    def fails(out: Tensor, yb: Tensor) -> Tensor:
        raise IndexError("its own")

    model, _ = begin(Mnist_Logistic)
    with pytest.raises(IndexError, match=r"^its own$"):
        loss_batch(model, fails, torch.ones(2, 784), torch.zeros(2).long())
    assert math.isnan(loss_batch(model, F.cross_entropy, torch.full((2, 784), math.nan), torch.zeros(2).long())[0])
    with pytest.raises(IndexError, match=r"^its own$"):
        loss_batch(nn.Linear(4, 1), fails, torch.ones(2, 4), torch.ones(2, 1))
    two_outputs = loss_batch(nn.LSTM(4, 1), lambda out, yb: out[0].mean() * math.nan, torch.ones(2, 4), torch.ones(2).long())
    assert math.isnan(two_outputs[0])


def test_fit_trains_in_train_mode_and_validates_in_eval_mode() -> None:
    modes = []

    class Watcher(Mnist_Logistic):
        def forward(self, xb: Tensor) -> Tensor:
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(xb)

    model, opt = begin(Watcher)
    fit(2, model, F.cross_entropy, opt, *get_data(images(64, 0), images(64, 1), 64), on_epoch=lambda row: None)
    assert modes == [(True, True), (False, False)] * 2


def test_targets_that_are_no_labels_have_no_accuracy() -> None:
    x = torch.rand(8, 4)
    model = nn.Linear(4, 1)
    batches = [(x, x.sum(1, keepdim=True))]
    (row,) = fit(1, model, F.mse_loss, torch.optim.SGD(model.parameters(), lr=0.01), batches, batches, on_epoch=print)
    assert row.valid_accuracy is None
    assert math.isfinite(row.valid_loss)


def test_an_iterable_dataset_trains_in_its_own_order(tutorial_fit: Callable[..., list[float]]) -> None:
    train_ds, valid_ds = images(70, 0), images(131, 1)
    model, opt = begin(Mnist_Logistic)
    tutorial_fit(2, model, F.cross_entropy, opt, DataLoader(train_ds, 64), DataLoader(valid_ds, 128))
    wanted = parameters(model)
    model, opt = begin(Mnist_Logistic)
    train_dl, valid_dl = get_data(Stream(train_ds), Stream(valid_ds), 64)
    fit(2, model, F.cross_entropy, opt, train_dl, valid_dl, on_epoch=lambda row: None)
    assert all(torch.equal(a, b) for a, b in zip(parameters(model), wanted, strict=True))


def test_a_used_up_iterator_is_named_and_not_counted_as_an_epoch() -> None:
    model, opt = begin(Mnist_Logistic)
    xb, yb = images(8, 0).tensors
    with pytest.raises(DataError) as error:
        fit(2, model, F.cross_entropy, opt, iter([(xb, yb)]), [(xb, yb)], on_epoch=lambda row: None)
    assert str(error.value) == (
        "the loader gave no batch: the data set is empty, "
        "or it is an iterator that was already used up and cannot start afresh for the next epoch"
    )
