"""`TorchClassifier` against scikit-learn's own checks, metrics and tools, and against steps written by hand in PyTorch."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.datasets import load_digits, load_iris  # type: ignore[import-untyped]
from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]
from sklearn.model_selection import GridSearchCV, cross_val_score  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.utils.estimator_checks import check_estimator  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.errors import ConfigurationError, DataWarning
from tinyclsf.estimator import TorchClassifier
from tinyclsf.modules import Preprocess
from tinyclsf.progress.display import Progress, epoch_line

# Checks that scikit-learn itself skips in some environments; with both at hand they pass.
SKIPPED = {
    "check_array_api_input": "scikit-learn runs it only where SCIPY_ARRAY_API was set before SciPy is imported",
    "check_classifier_data_not_an_array": "its second half hands over pandas objects, and pandas is no dependency",
}


def classifier(model: nn.Module | None = None, **settings: Any) -> TorchClassifier:
    return TorchClassifier(model, **{"device": "cpu", "random_state": 0, **settings})


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[Any], NDArray[Any]]:
    """1,797 pictures, (n, 8, 8) in 0..16, and their digits."""
    found = load_digits()
    return found.images, found.target


@pytest.fixture
def mnist_like() -> tuple[NDArray[Any], NDArray[Any]]:
    """Ten digits in each of ten brightnesses, (n, 1, 28, 28) float32."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(10), 10)
    return (rng.random((100, 1, 28, 28)) * 0.1 + y.reshape(-1, 1, 1, 1) / 10).astype(np.float32), y


def scaling(found: TorchClassifier) -> tuple[NDArray[Any], NDArray[Any]]:
    """The mean and deviation that a fitted classifier scales by."""
    preprocess = found.model_.preprocess
    assert isinstance(preprocess, Preprocess)
    return preprocess.mean.flatten().numpy(), preprocess.std.flatten().numpy()


class Seen(nn.Module):
    """A linear model that keeps what it was given to train on, in a list of the class, so that copies share it."""

    rows: ClassVar[list[Tensor]] = []

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.rows.append(x.detach().clone())
        out: Tensor = self.linear(x.flatten(1))
        return out

    @classmethod
    def drain(cls) -> Tensor:
        rows = torch.cat(cls.rows)
        cls.rows.clear()
        return rows


@pytest.mark.stress
def test_scikit_learn_finds_nothing_to_object_to() -> None:
    results = check_estimator(TorchClassifier(device="cpu"), on_fail=None, on_skip=None)
    assert len(results) > 50
    assert {each["check_name"]: each["exception"] for each in results if each["status"] not in ("passed", "skipped")} == {}
    assert {each["check_name"] for each in results if each["status"] == "skipped"} <= SKIPPED.keys()


@pytest.mark.parametrize("shape", [(-1, 64), pytest.param((-1, 8, 8), marks=pytest.mark.stress), (-1, 1, 8, 8)])
def test_the_small_network_learns_features_and_images(
    digits: tuple[NDArray[Any], NDArray[Any]], shape: tuple[int, ...]
) -> None:
    x, y = digits[0].reshape(shape), digits[1]
    found = classifier(epochs=8).fit(x[:1300], y[:1300])
    shares, labels = found.predict_proba(x[1300:]), found.predict(x[1300:])
    assert found.score(x[1300:], y[1300:]) == accuracy_score(y[1300:], labels) > 0.9
    assert shares.shape == (497, 10)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    assert np.array_equal(found.classes_[shares.argmax(axis=1)], labels)
    assert (found.n_features_in_, found.n_iter_, len(found.history_)) == (64, 8, 8)


@pytest.mark.parametrize("size", [(1, 1, 2), (3, 5, 4), (2, 9, 1)])
def test_the_small_network_takes_images_of_any_size(size: tuple[int, int, int]) -> None:
    x = np.random.default_rng(0).random((12, *size))
    assert classifier(epochs=1).fit(x, np.arange(12) % 3).predict_proba(x).shape == (12, 3)


def test_channels_that_come_last_are_told_of() -> None:
    x, y = np.zeros((8, 32, 24, 3), np.uint8), np.arange(8) % 2
    with pytest.warns(DataWarning) as told:
        classifier(epochs=1).fit(x, y)
    assert [str(each.message) for each in told] == [
        "X of shape (8, 32, 24, 3) is read as 32 channels of 24x3 pixels; for channels last give X.transpose(0, 3, 1, 2)"
    ]
    assert classifier(epochs=1).fit(x.transpose(0, 3, 1, 2), y).model_.image_shape == (3, 32, 24)


def test_numbers_are_standardised_by_the_training_rows_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([1000.0, -3.0, 7.0], [50.0, 0.01, 0.0], (60, 3)).astype(np.float32)
    found = classifier(epochs=1).fit(x, np.arange(60) % 2)
    kept = np.delete(x.astype(np.float64), found.valid_rows_, axis=0)
    mean, std = scaling(found)
    np.testing.assert_allclose(mean, kept.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, [*kept.std(axis=0)[:2], 1], rtol=1e-5)
    images = rng.normal(5, 2, (30, 2, 4, 4)).astype(np.float32)
    found = classifier(epochs=1, val_ratio=0).fit(images, np.arange(30) % 2)
    np.testing.assert_allclose(scaling(found)[1], images.std(axis=(0, 2, 3)), rtol=1e-5)


def test_a_given_model_reads_uint8_images_as_0_to_1_and_all_else_as_it_is() -> None:
    stored = np.random.default_rng(0).integers(256, size=(8, 2, 2), dtype=np.uint8)
    y = np.arange(8) % 2
    for x, wanted in (
        (stored, stored[:, None] / 255),
        (stored.astype(np.float64), stored[:, None]),
        (stored.reshape(8, 4), stored.reshape(8, 4)),
    ):
        classifier(Seen(4, 2), epochs=1, val_ratio=0).fit(x, y)
        seen = Seen.drain().double().numpy()
        assert seen.shape == wanted.shape
        np.testing.assert_allclose(np.sort(seen.ravel()), np.sort(wanted.ravel()), rtol=1e-6)
    mean, std = scaling(classifier(epochs=1).fit(stored, y))
    assert (mean.item(), std.item()) == (0, 255)


def test_the_flow_of_the_note(mnist_like: tuple[NDArray[Any], NDArray[Any]], capsys: pytest.CaptureFixture[str]) -> None:
    x, y = mnist_like
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(196, 10))
    before = copy.deepcopy(model.state_dict())
    clsf = classifier(model, batch_size=32, val_ratio=0.2)
    rows = clsf.train(x, y, epochs=2)
    rows += clsf.train(x, y, epochs=3)
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5]
    assert rows == clsf.history_
    assert rows[4].train_loss < rows[2].train_loss < rows[0].train_loss
    assert np.bincount(y[clsf.valid_rows_]).tolist() == [2] * 10
    accuracy, loss = clsf.evaluate(x, y)
    shares = clsf.predict_proba(x)
    assert accuracy == accuracy_score(y, shares.argmax(axis=1))
    assert loss == pytest.approx(log_loss(y, shares), rel=1e-5)
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"logits ({len(x)}, 10), labels ({len(x)},)", "probabilities of the first 5:"]
    told = [[float(each) for each in line.strip("[ ]").split()] for line in said[2:7]]
    np.testing.assert_allclose(told, shares[:5], atol=6e-5)
    assert said[7:] == [
        "their sums: 1.0000, 1.0000, 1.0000, 1.0000, 1.0000",
        f"labels of the first 5: {y[:5].tolist()}",
        f"accuracy {100 * accuracy:.2f} %, loss {loss:.4f}",
    ]
    assert clsf.evaluate(x, y, verbose=False) == (accuracy, loss)
    assert capsys.readouterr() == ("", "")
    # Two calls end where one would, whatever was predicted between them; and the given model is as it was.
    at_once = classifier(model)
    at_once.train(x, y, epochs=5)
    np.testing.assert_array_equal(at_once.predict_proba(x), shares)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_fit_begins_anew_and_train_goes_on_from_it(digits: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, y = digits[0][:300], digits[1][:300]
    found = classifier(epochs=2)
    first = found.fit(x, y).predict_proba(x)
    (row,) = found.train(x, y, 1)
    assert (row.epoch, found.n_iter_) == (3, 3)
    np.testing.assert_array_equal(found.predict_proba(x), classifier(epochs=3).fit(x, y).predict_proba(x))
    np.testing.assert_array_equal(found.fit(x, y).predict_proba(x), first)
    assert [row.epoch for row in found.history_] == [1, 2]


def test_train_batch_is_a_step_written_by_hand() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    other = copy.deepcopy(model).train()
    opt = torch.optim.Adam(other.parameters(), lr=0.01)
    clsf = classifier(model.eval(), optimizer="adam", lr=0.01)
    for _ in range(3):
        x, y = torch.randn(7, 5), torch.tensor([0, 0, 1, 1, 0, 1, 0])  # label 2 of the model is not in the batch
        wanted = F.cross_entropy(other(x), y)
        opt.zero_grad()
        wanted.backward()  # type: ignore[no-untyped-call]
        opt.step()
        assert clsf.train_batch(x.numpy(), y.numpy()) == wanted.item()
    trained = list(clsf.model_.network.parameters())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(trained, other.parameters(), strict=True))
    assert clsf.classes_.tolist() == [0, 1, 2]
    for again in (clsf.train_batch, clsf.evaluate, lambda x, y: clsf.train(x, y, epochs=1)):
        with pytest.raises(ValueError, match=r"^label 2 of y is 3, which is none of the 3 classes that were learnt first$"):
            again(x.numpy(), y.numpy() + 2)


def test_train_batch_leaves_a_frozen_part_as_it_is() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8)).requires_grad_(False), nn.Linear(8, 3))
    clsf = classifier(model, lr=0.01)
    clsf.train_batch(np.random.default_rng(0).normal(size=(7, 5)), np.arange(7) % 3)
    found = clsf.model_.network.state_dict()
    assert {key: int((found[f"1.{key}"] != value).sum()) for key, value in model.state_dict().items()} == {
        **dict.fromkeys(model[0].state_dict(prefix="0."), 0),
        "1.weight": 24,
        "1.bias": 3,
    }


def test_validation_rows_are_a_share_of_every_class_that_is_never_trained_on() -> None:
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2, 3], [50, 30, 19, 1]))
    x = np.stack([np.arange(100), *rng.normal(size=(2, 100))], axis=1)
    found = classifier(Seen(3, 4), epochs=2, lr=1e-3, optimizer="sgd").fit(x, y)
    assert np.bincount(y[found.valid_rows_], minlength=4).tolist() == [10, 6, 4, 0]
    assert [len(rows) for rows in Seen.rows] == [32, 32, 16] * 2
    seen = Seen.drain()[:, 0].numpy().astype(int)
    assert sorted(seen) == sorted([*np.delete(np.arange(100), found.valid_rows_)] * 2)
    valid = found.valid_rows_
    shares = found.predict_proba(x[valid])
    assert found.history_[-1].valid_loss == pytest.approx(log_loss(y[valid], shares, labels=[0, 1, 2, 3]), rel=1e-5)
    assert found.history_[-1].valid_accuracy == accuracy_score(y[valid], shares.argmax(axis=1))


@pytest.mark.parametrize(("rows", "val_ratio"), [(40, 0), (2, 0.2)])
def test_where_no_row_is_kept_the_valid_figures_are_those_of_training(rows: int, val_ratio: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 3)), np.arange(rows) % 2
    found = classifier(epochs=3, val_ratio=val_ratio).fit(x, y)
    assert found.valid_rows_.tolist() == []
    assert found.history_[-1].valid_loss == pytest.approx(log_loss(y, found.predict_proba(x)), rel=1e-5)
    assert found.history_[-1].valid_accuracy == found.score(x, y)


def test_a_row_is_always_left_to_train_on() -> None:
    found = classifier(epochs=1, val_ratio=0.99).fit(np.eye(3), [0, 1, 2])
    assert len(found.valid_rows_) == 2


def test_scikit_learn_tools_take_it(digits: tuple[NDArray[Any], NDArray[Any]]) -> None:
    iris = load_iris(return_X_y=True)
    piped = make_pipeline(StandardScaler(), classifier(epochs=10, lr=0.01)).fit(*iris)
    assert piped.score(*iris) > 0.9
    assert cross_val_score(classifier(epochs=3), *digits, cv=2).min() > 0.8
    settings = {"lr": [1e-6, 0.01], "optimizer": ["adam"], "batch_size": np.array([32])}
    search = GridSearchCV(classifier(epochs=30, progress=Progress("none")), settings, cv=2).fit(*iris)
    assert search.best_params_ == {"lr": 0.01, "optimizer": "adam", "batch_size": 32}
    assert search.best_score_ > 0.9


def test_clone_and_pickle_keep_a_given_model(digits: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, y = digits[0][:300], digits[1][:300]
    torch.manual_seed(0)
    found = classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), epochs=2).fit(x, y)
    wanted = found.predict_proba(x)
    np.testing.assert_array_equal(clone(found).fit(x, y).predict_proba(x), wanted)
    loaded = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(loaded.predict_proba(x), wanted)
    found.train(x, y, 1)
    loaded.train(x, y, 1)
    np.testing.assert_array_equal(loaded.predict_proba(x), found.predict_proba(x))


def test_random_state_decides_all_and_the_callers_random_numbers_go_on(digits: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, y = digits[0][:300], digits[1][:300]
    torch.manual_seed(5)
    wanted = torch.rand(3)
    for model in (None, nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))):
        shares = []
        for random_state, seed in ((1, 5), (1, 6), (2, 5), (np.random.RandomState(1), 7)):
            torch.manual_seed(seed)
            found = classifier(model, random_state=random_state, epochs=2).fit(x, y)
            found.train(x, y, 1)
            found.train_batch(x[:5], y[:5])
            found.evaluate(x, y, verbose=False)
            shares.append(found.predict_proba(x))
            if seed == 5:
                assert torch.equal(torch.rand(3), wanted)
        assert np.array_equal(shares[0], shares[1])
        assert not np.array_equal(shares[0], shares[2])
        assert np.array_equal(shares[0], shares[3])


def test_random_state_decides_the_split_and_the_first_weights() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    rows = [classifier(epochs=1, random_state=seed).fit(x, y).valid_rows_.tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]
    whole = [classifier(epochs=1, random_state=seed, val_ratio=0).fit(x, y).predict_proba(x) for seed in (1, 2)]
    assert not np.allclose(whole[0], whole[1], atol=1e-3)


def test_arrays_that_nobody_may_write_into_are_read_without_a_warning() -> None:
    x = np.eye(4, dtype=np.float32)
    x.flags.writeable = False
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # otherwise PyTorch warns once in a process
    try:
        classifier(epochs=1).fit(x, [0, 1, 0, 1])
    finally:
        torch.set_warn_always(always)


@pytest.mark.parametrize("dtype", [object, str])
def test_labels_may_be_words(dtype: type) -> None:
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "virginica", "versicolor"], dtype=dtype)[y]
    found = classifier(nn.Linear(4, 3), epochs=30, lr=0.05, optimizer="adam").fit(x, names)
    assert found.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert found.score(x, names) == accuracy_score(names, found.predict(x)) > 0.9
    assert found.evaluate(x, names, verbose=False)[1] == pytest.approx(log_loss(names, found.predict_proba(x)), rel=1e-5)


def test_progress_is_shown_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = np.eye(10), np.arange(10) % 2
    found = classifier(epochs=1, progress=True).fit(x, y)
    rows, (out, err) = found.history_, capsys.readouterr()
    assert (out, err) == ("", f"{epoch_line(rows[0], 1)}\n")
    found.set_params(progress=None).fit(x, y)
    assert capsys.readouterr() == ("", "")  # nobody looks on


def test_what_differs_from_training_is_a_value_error() -> None:
    images, y = np.zeros((6, 4, 6), dtype=np.uint8), np.arange(6) % 2
    found = classifier(epochs=1).fit(images, y)
    trained_on = "wanted shape (1, 4, 6) and type uint8, as it was in training"
    for x, message in (
        (images.reshape(6, 6, 4), f"X has images of shape (1, 6, 4) and type uint8; {trained_on}"),
        (images / 255, f"X has images of shape (1, 4, 6) and type float32; {trained_on}"),
        (images.reshape(6, 24), f"X has images of shape (24, 1, 1) and type float32; {trained_on}"),
        (images[:, :2], "X has 12 features, but TorchClassifier is expecting 24 features as input."),
        (images[..., None, None], "X has 5 dimensions; wanted (n, features), (n, h, w) or (n, c, h, w)"),
    ):
        for method in (found.predict, lambda x: found.evaluate(x, y), lambda x: found.train(x, y, 1)):
            with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                method(x)
    with pytest.raises(NotFittedError):
        classifier().evaluate(images, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_ratio": 1}, "val_ratio == 1, must be < 1."),
        ({"val_ratio": -0.1}, "val_ratio == -0.1, must be >= 0."),
        ({"batch_size": 0}, "batch_size == 0, must be >= 1."),
        ({"epochs": 0}, "epochs == 0, must be >= 1."),
    ],
)
def test_a_setting_out_of_range_is_scikit_learns_value_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        classifier(**settings).fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("cnn", "model is of type str; wanted an nn.Module, or None for a small network"),
        (
            nn.Linear(4, 2),
            "the model gives 2 outputs and y has 3 labels; wanted an output for each, or whole numbers from 0 to 1 as labels",
        ),
        (nn.Unflatten(1, (2, 2)), "the model gives outputs of shape (1, 2, 2) for one row; wanted logits (1, classes)"),
    ],
)
def test_a_model_that_does_not_fit_is_a_configuration_error(model: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        classifier(model).fit(np.eye(4), [0, 1, 2, 0])
    assert str(error.value) == message


def test_a_device_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"^'gpu' is not a device; "):
        classifier(device="gpu").fit(np.eye(4), [0, 1, 0, 1])


def test_a_failed_first_fit_leaves_nothing_to_go_on_from() -> None:
    found = classifier(optimizer="adma")
    with pytest.raises(ConfigurationError, match=r"^there is no optimizer 'adma'; "):
        found.fit(np.eye(4), [0, 1, 0, 1])
    assert [row.epoch for row in found.set_params(optimizer="adam").train(np.eye(4), [0, 1, 0, 1], 1)] == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_leaves_the_callers_random_numbers_alone(digits: tuple[NDArray[Any], NDArray[Any]]) -> None:
    x, y = digits
    torch.manual_seed(5)
    wanted = torch.rand(3, device="cuda")
    torch.manual_seed(5)
    shares = [classifier(device="cuda", epochs=5).fit(x, y).predict_proba(x) for _ in range(2)]
    assert torch.equal(torch.rand(3, device="cuda"), wanted)
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-2)
    assert accuracy_score(y, shares[0].argmax(axis=1)) > 0.9


def test_a_share_that_is_no_number_is_said() -> None:
    with pytest.raises(ValueError, match=r"^val_ratio == nan, must be >= 0 and < 1\.$"):
        TorchClassifier(val_ratio=float("nan")).fit(np.zeros((4, 2)), [0, 1, 0, 1])
