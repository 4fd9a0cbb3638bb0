"""Means over the classes: their intervals by hand, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tinyclsf.analysis.by_class import by_class
from tinyclsf.metrics import wilson_interval

CELLS = [(0, 0, 45), (0, 1, 5), (1, 0, 4), (1, 1, 6)]  # true class, predicted class, images


def test_the_interval_of_balanced_accuracy_comes_from_those_of_the_classes() -> None:
    found = by_class(CELLS, ["a", "b", "c"])
    low_a, high_a = wilson_interval(45, 50)
    low_b, high_b = wilson_interval(6, 10)
    below = math.sqrt((0.9 - low_a) ** 2 + (0.6 - low_b) ** 2) / 2
    above = math.sqrt((high_a - 0.9) ** 2 + (high_b - 0.6) ** 2) / 2
    assert found.balanced_accuracy == pytest.approx(0.75)  # class c has no image
    assert found.balanced_accuracy_interval == pytest.approx((0.75 - below, 0.75 + above))
    alone = by_class(CELLS[:2], ["a", "b"])
    assert alone.balanced_accuracy_interval == pytest.approx(wilson_interval(45, 50))


def test_where_no_image_or_each_is_wrong_only_the_interval_that_resampling_cannot_tell_is_left_out() -> None:
    found = by_class([(0, 0, 20), (1, 1, 5)], ["a", "b"])
    assert (found.macro_f1, found.macro_f1_interval) == (1.0, None)
    wrong = by_class([(0, 1, 5)], ["a", "b"])
    assert (wrong.macro_f1, wrong.macro_f1_interval) == (0.0, None)
    low, high = found.balanced_accuracy_interval
    assert (low < 0.9, high) == (True, 1.0)


def test_intervals_hold_the_truth_about_95_times_of_100() -> None:
    recalls, sizes, generator = np.array([0.95, 0.7]), np.array([160, 40]), np.random.default_rng(0)
    shares = np.array([[0.95, 0.05], [0.3, 0.7]]) * sizes[:, None] / 200
    f1 = np.mean([2 * shares[k, k] / (shares[k].sum() + shares[:, k].sum()) for k in range(2)])
    held = np.zeros(2)
    for aa, ab, ba, bb in generator.multinomial(200, shares.ravel(), size=300).tolist():
        found = by_class([(0, 0, aa), (0, 1, ab), (1, 0, ba), (1, 1, bb)], ["a", "b"])
        assert found.macro_f1_interval is not None
        for number, (truth, (low, high)) in enumerate(
            [(recalls.mean(), found.balanced_accuracy_interval), (f1, found.macro_f1_interval)]
        ):
            held[number] += low <= truth <= high
    assert (abs(held / 300 - 0.95) < 0.03).all()


def test_the_same_predictions_give_the_same_interval_whatever_was_drawn_before() -> None:
    first = by_class(CELLS, ["a", "b"])
    np.random.default_rng(5).random(3)
    torch.rand(3)
    before = torch.get_rng_state()
    assert by_class(CELLS, ["a", "b"]) == first
    assert torch.equal(torch.get_rng_state(), before)
