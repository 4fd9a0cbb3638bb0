"""Where a result is no better than always answering the most frequent class, at the edges of the rule."""

from __future__ import annotations

import pytest

from tinyclsf.analysis.guessing import guessing_note, is_guessing
from tinyclsf.metrics import Score, wilson_interval


def scored(correct: int, images: int) -> Score:
    return Score("test", images, 0.5, correct / images, wilson_interval(correct, images))


@pytest.mark.parametrize(
    ("correct", "images", "share", "guessing"),
    [
        (83, 153, 83 / 153, True),
        (95, 153, 83 / 153, True),  # 62.09 %, from 54.20 % on, and the share is 54.25 %
        (96, 153, 83 / 153, False),
        (10, 153, 83 / 153, True),
        (20, 20, 0.9, False),  # all are right, and the interval begins at 83.89 %
        (19, 20, 0.9, True),
        (40, 40, 1.0, False),
    ],
)
def test_the_interval_reaches_down_to_the_share(correct: int, images: int, share: float, guessing: bool) -> None:
    assert is_guessing(scored(correct, images), share) is guessing


def test_both_figures_and_the_class_are_named() -> None:
    [note] = guessing_note(scored(25, 40), [10, 24, 6], ["ant", "bee", "wasp"])
    assert note == "accuracy 62.50 % is not clearly above the 60.00 % of always answering bee, the most frequent class"
    assert guessing_note(scored(35, 40), [10, 24, 6], ["ant", "bee", "wasp"]) == []
