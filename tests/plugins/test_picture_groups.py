"""Setting aside whole groups: how near to the share that was asked for, and what stays to train on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

from tests.support.messages import message
from tinyclsf_plugins.datasets.picture_groups import whole_groups


def drawn(classes: int, groups: int, most: int, *, mixed: bool, seed: int) -> tuple[list[int], list[str]]:
    """The labels and groups of pictures in groups of 1 to `most`, each of one class or of all."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, most + 1, groups)
    number = np.repeat(np.arange(groups), sizes)
    labels = random.integers(0, classes, len(number)) if mixed else number % classes
    return labels.tolist(), [f"group {each}" for each in number]


def farthest(labels: list[int], rows: list[int], share: float) -> float:
    """How far the share of a class that is in the rows is from what was wanted, at most."""
    there, taken = Counter(labels), Counter(labels[row] for row in rows)
    return max(abs(taken[label] / there[label] - share) for label in there)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("classes", "groups", "most"), [(2, 100, 5), (2, 12, 40), (5, 50, 20), (3, 30, 60)])
def test_groups_stay_whole_and_shares_are_about_as_even_as_those_of_scikit_learn(
    classes: int, groups: int, most: int, mixed: bool
) -> None:
    ours, theirs = [], []
    for seed in range(8):
        labels, names = drawn(classes, groups, most, mixed=mixed, seed=seed)
        rows = whole_groups(labels, names, round(0.2 * len(labels)), seed)
        rest = set(range(len(labels))).difference(rows)
        assert not {names[row] for row in rows} & {names[row] for row in rest}
        assert {labels[row] for row in rest} == set(labels)
        assert rows == sorted(rows)
        assert abs(len(rows) / len(labels) - 0.2) < most / len(labels)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, names)
        ours.append(farthest(labels, rows, 0.2))
        theirs.append(farthest(labels, next(iter(folds))[1].tolist(), 0.2))
    assert np.mean(ours) < np.mean(theirs) + 0.02


def test_the_seed_decides_and_the_order_of_the_rows_does_not() -> None:
    labels, names = drawn(2, 60, 6, mixed=True, seed=0)
    found = {seed: {names[row] for row in whole_groups(labels, names, 40, seed)} for seed in range(5)}
    assert len({frozenset(each) for each in found.values()}) == 5
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = [labels[at] for at in order], [names[at] for at in order]
    assert {shuffled[1][row] for row in whole_groups(*shuffled, 40, 3)} == found[3]


def test_classes_of_two_pictures_add_up_to_the_share() -> None:
    labels = [number // 2 for number in range(400)]
    assert len(whole_groups(labels, [str(row) for row in range(400)], 80, 0)) == 80


def test_every_class_keeps_a_group_and_one_group_is_taken_at_least() -> None:
    labels, groups = [0, 0, 0, 0, 1, 1, 1, 1], ["a", "a", "a", "b", "c", "c", "c", "c"]
    for seed in range(4):
        assert whole_groups(labels, groups, 4, seed) in ([0, 1, 2], [3])
        assert whole_groups(labels, groups, 1, seed) == [3]
        assert not {0, 1} <= set(whole_groups([0, 0, *[1] * 98], [str(row) for row in range(100)], 90, seed))
    assert message(lambda: whole_groups([0, 0, 1], ["a", "a", "b"], 1, 0)) == (
        "no group can be set aside, as each has all the pictures of a class; wanted a class with two groups at least, "
        "or no groups: -d group=none"
    )
