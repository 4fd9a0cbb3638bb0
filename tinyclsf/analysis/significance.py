"""Whether one model is better than another by more than chance: McNemar's exact test, Holm's correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

SIGNIFICANT = 0.05


class McNemar(NamedTuple):
    """How many images both models get right, one alone, or neither; and how likely chance alone parts them so far."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float


def mcnemar(a_correct: Tensor, b_correct: Tensor) -> McNemar:
    """The exact two-sided test of two models on the same images, of which only those count that one alone gets right.

    Shapes: (n,) bool each.
    Raises: ValueError if the shapes are others.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages".
    """
    if a_correct.ndim != 1 or a_correct.shape != b_correct.shape:
        raise ValueError(f"hits of shapes {tuple(a_correct.shape)} and {tuple(b_correct.shape)} are not of the same images")
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # it takes long to import

    both, only_a = int((a_correct & b_correct).sum()), int((a_correct & ~b_correct).sum())
    only_b = int((b_correct & ~a_correct).sum())
    parted = only_a + only_b
    p_value = float(binomtest(only_a, parted).pvalue) if parted else 1.0
    return McNemar(both, only_a, only_b, len(a_correct) - both - parted, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected, largest = [1.0] * len(p_values), 0.0
    for done, number in enumerate(sorted(range(len(p_values)), key=lambda number: p_values[number])):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[number]))
        corrected[number] = largest
    return corrected


def p_as_text(p_value: float) -> str:
    """A p-value in two digits; in more where those do not tell on which side of the limit it is."""
    rounded = f"{p_value:.2g}"
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.4f}" if float(rounded) == SIGNIFICANT else f"p = {rounded}"
