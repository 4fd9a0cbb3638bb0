"""More than chance: McNemar's test against SciPy and by hand, Holm's correction by hand."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest  # type: ignore[import-untyped]

from tinyclsf.analysis.significance import McNemar, holm, mcnemar, p_as_text


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 14), (7, 7), (2, 0), (40, 61), (0, 30), (900, 1100)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(only_a: int, only_b: int) -> None:
    a = torch.tensor([True] * (only_a + 5) + [False] * (only_b + 2))
    b = torch.tensor([False] * only_a + [True] * 5 + [True] * only_b + [False] * 2)
    shuffled = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))
    found = mcnemar(a[shuffled], b[shuffled])
    assert found[:4] == (5, only_a, only_b, 2)
    wanted = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p_value == pytest.approx(wanted, rel=1e-9)
    assert mcnemar(b, a) == (5, only_b, only_a, 2, found.p_value)


def test_mcnemar_by_hand() -> None:
    a, b = torch.tensor([True] * 6 + [False]), torch.tensor([False] * 5 + [True] * 2)
    # One or none of six coins on one side, two-sided: 2 * (1 + 6) / 64.
    assert mcnemar(a, b) == McNemar(both=1, only_a=5, only_b=1, neither=0, p_value=14 / 64)


@pytest.mark.parametrize("other", [torch.ones(1, dtype=torch.bool), torch.ones(3, 1, dtype=torch.bool)])
def test_mcnemar_wants_the_same_images(other: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="are not of the same images"):
        mcnemar(torch.ones(3, dtype=torch.bool), other)


def test_holm_by_hand() -> None:
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])  # 3 * 0.02 = 2 * 0.03
    assert holm([0.02, 0.021]) == pytest.approx([0.04, 0.04])  # never less than a smaller one
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("p_value", "text"), [(0.0501, "p = 0.0501"), (0.0499, "p = 0.0499"), (0.04, "p = 0.04")])
def test_a_p_value_shows_on_which_side_of_the_limit_it_is(p_value: float, text: str) -> None:
    assert p_as_text(p_value) == text
