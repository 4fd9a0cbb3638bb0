"""Accuracy, weighted means and Wilson's interval, each against another implementation or by hand."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score  # type: ignore[import-untyped]

from tinyclsf.errors import DataError
from tinyclsf.metrics import Epoch, accuracy, best_of, has_accuracy, hits, mean_over, weighted_mean, wilson_interval

NO_BATCH = (
    "the loader gave no batch: the data set is empty, "
    "or it is an iterator that was already used up and cannot start afresh for the next epoch"
)


@pytest.mark.parametrize(("n", "classes"), [(1, 2), (7, 3), (500, 10)])
def test_accuracy_and_hits_are_those_of_sklearn(n: int, classes: int) -> None:
    torch.manual_seed(n)
    out, yb = torch.randn(n, classes), torch.randint(classes, (n,))
    right = accuracy_score(yb.numpy(), out.argmax(dim=1).numpy())
    assert accuracy(out, yb).item() == pytest.approx(right, abs=1e-6)
    assert accuracy(out, yb).dtype == torch.float32
    assert hits(out, yb).item() == accuracy_score(yb.numpy(), out.argmax(dim=1).numpy(), normalize=False)


@pytest.mark.parametrize(
    ("out", "yb", "answer"),
    [
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), True),
        (torch.zeros(3, 2), torch.zeros(3), False),
        (torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.int64), False),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), False),
        (torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), False),
    ],
)
def test_only_outputs_a_class_and_whole_labels_have_an_accuracy(out: torch.Tensor, yb: torch.Tensor, answer: bool) -> None:
    assert has_accuracy(out, yb) is answer


def test_weighted_mean_counts_samples_not_batches() -> None:
    assert weighted_mean([(1.0, 3), (4.0, 1)]) == 1.75
    wanted = pytest.approx((0.3 * 64 + 0.1 * 64 + 0.2 * 2) / 130, abs=1e-15)
    assert weighted_mean([(0.3, 64), (0.1, 64), (0.2, 2)]) == wanted


def test_a_mean_of_nothing_says_what_may_have_happened() -> None:
    with pytest.raises(DataError) as error:
        weighted_mean([])
    assert str(error.value) == NO_BATCH
    with pytest.raises(DataError) as error:
        mean_over(0.0, 0)
    assert (str(error.value), error.value.tip) == (NO_BATCH, None)


@pytest.mark.parametrize(
    ("successes", "count"), [(0, 1), (1, 1), (0, 7), (7, 7), (3, 10), (359, 360), (9_876, 10_000), (0, 10**6), (10**6, 10**6)]
)
def test_wilson_interval_is_that_of_scipy(successes: int, count: int) -> None:
    right = binomtest(successes, count).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = wilson_interval(successes, count)
    assert (low == 0, high == 1) == (successes == 0, successes == count)
    assert (low, high) == pytest.approx((right.low, right.high), abs=1e-12)
    assert 0 <= low < high <= 1


def test_none_or_all_have_a_bound_that_is_exact() -> None:
    for count in range(1, 500):
        assert wilson_interval(0, count)[0] == 0
        assert wilson_interval(count, count)[1] == 1


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss_then_comes_first() -> None:
    def best(*figures: tuple[float, float | None]) -> int:
        found = best_of([Epoch(number, 0.5, *each, 1.0) for number, each in enumerate(figures, start=1)])
        assert found is not None
        return found.epoch

    assert best((0.1, 0.8), (0.9, 0.9), (0.2, 0.7)) == 2
    assert best((0.3, 0.9), (0.2, 0.9), (0.2, 0.9)) == 2
    assert best((0.3, None), (0.2, None), (0.4, None)) == 2
    assert best((0.1, None), (0.9, 0.0)) == 2  # any accuracy is more than none
    assert best_of([]) is None


@pytest.mark.parametrize(("successes", "count"), [(-1, 5), (6, 5), (0, 0), (0, -1)])
def test_wilson_interval_refuses_what_is_no_share(successes: int, count: int) -> None:
    with pytest.raises(ValueError, match="share") as error:
        wilson_interval(successes, count)
    assert str(error.value) == f"{successes} successes of {count} is not a share"
