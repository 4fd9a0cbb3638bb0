"""Whether a result is better than always answering the most frequent class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinyclsf.metrics import Score, percent

if TYPE_CHECKING:
    from tinyclsf.analysis.assessment import Assessment


def is_guessing(found: Score | Assessment, share: float) -> bool:
    """Whether an accuracy is not clearly above the share of the most frequent class, which needs no look at an image.

    That is so where its 95 % interval reaches down to the share, and the accuracy is no more than halfway from there to 1:
    of few images the interval is wide, and what is right for all of them is no guess.
    """
    return share < 1 and found.interval[0] <= share and found.accuracy <= (1 + share) / 2


def guessing_note(found: Score | Assessment, counts: Sequence[int], classes: Sequence[str]) -> list[str]:
    """A sentence where a result is no better than that; `counts` are the images of each class that it is of."""
    most = max(counts)
    share, name = most / found.images, classes[counts.index(most)]
    if not is_guessing(found, share):
        return []
    return [
        f"accuracy {percent(found.accuracy)} is not clearly above the {percent(share)} of always answering {name}, "
        "the most frequent class"
    ]
