"""Setting pictures aside in whole groups, so that no group is in two splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from tinyclsf.plugin import DataError


def whole_groups(labels: Sequence[int], groups: Sequence[str], size: int, seed: int) -> list[int]:
    """About `size` rows in whole groups, ascending, with nearly the same share of every class.

    Every class keeps a group. The choice depends only on the groups, their labels and the seed.
    Raises: DataError if each group has all pictures of a class.
    """
    share = size / len(labels)
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    names = sorted(rows)
    order = [names[at] for at in torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()]
    order.sort(key=lambda name: len(rows[name]).bit_length(), reverse=True)  # small ones last, to even out what is left
    there = Counter(labels)
    kept = there.copy()
    # Of each class, and under None of all: what a picture weighs, and how many were taken beyond the share of those seen.
    weight: dict[int | None, float] = {label: 1 / number for label, number in there.items()}
    weight[None] = len(there) / len(labels)
    surplus = dict.fromkeys(weight, 0.0)
    taken: list[int] = []
    smallest: list[int] = []
    for name in order:
        own = Counter(labels[row] for row in rows[name])
        amounts: dict[int | None, int] = {None: len(rows[name]), **{label: own[label] for label in own}}
        # By how much the sum of squared surpluses would be larger with the group than without.
        change = sum(
            weight[label] * number * (2 * surplus[label] + (1 - 2 * share) * number) for label, number in amounts.items()
        )
        spare = all(number < kept[label] for label, number in own.items())
        if spare:
            smallest = rows[name]
        take = spare and change < 0
        if take:
            taken += rows[name]
            kept -= own
        for label, number in amounts.items():
            surplus[label] += number * (take - share)
    if not smallest:
        raise DataError(
            "no group can be set aside, as each has all the pictures of a class; wanted a class with two groups at least, "
            "or no groups: -d group=none"
        )
    return sorted(taken or smallest)
