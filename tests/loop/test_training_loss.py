"""The training loss is the mean over samples, the same however often it is read, and names the step that broke it."""

from __future__ import annotations

import math

import pytest
import torch

from tinyclsf.errors import DataError, TrainingError
from tinyclsf.loop.training_loss import TrainingLoss, not_finite

LOSSES = torch.rand(2500, generator=torch.Generator().manual_seed(0)).tolist()
COUNTS = [64] * 2499 + [5]


@pytest.mark.parametrize("read_every", [1, 7, 10**9])
def test_it_is_the_mean_over_samples_whenever_it_is_read(read_every: int) -> None:
    tally, total = TrainingLoss(1), 0.0
    for number, (loss, count) in enumerate(zip(LOSSES, COUNTS, strict=True), start=1):
        tally.add(torch.tensor(loss), count, 0.1)
        total += loss * count
        if number % read_every == 0:
            assert tally.read() == pytest.approx(total / sum(COUNTS[:number]), rel=1e-12)
    assert tally.mean() == total / sum(COUNTS)  # bit for bit, so that a resumed run has the figure of one that was not stopped
    assert tally.totals() == (total, sum(COUNTS), 2500)


def test_it_goes_on_from_its_totals() -> None:
    whole, first = TrainingLoss(1), TrainingLoss(1)
    for tally, losses in ((whole, LOSSES), (first, LOSSES[:999])):
        for loss, count in zip(losses, COUNTS, strict=False):
            tally.add(torch.tensor(loss), count, 0.1)
    first.read()
    second = TrainingLoss(1, *first.totals())
    for loss, count in zip(LOSSES[999:], COUNTS[999:], strict=True):
        second.add(torch.tensor(loss), count, 0.1)
    assert second.mean() == whole.mean()
    assert second.totals() == whole.totals()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named_by_its_step_and_the_learning_rate_of_that_step(value: float) -> None:
    tally = TrainingLoss(3, 10.0, 5, 2)
    for loss, lr in ((1.0, 0.5), (value, 0.25), (math.nan, 0.125)):
        tally.add(torch.tensor(loss), 4, lr)
    with pytest.raises(TrainingError) as error:
        tally.read()
    assert error.value.exit_code == 6
    assert str(error.value) == (
        f"the training loss of epoch 3, batch 4 is {value} at learning rate 0.25; "
        "lower the learning rate, or look for values in the data that are not finite"
    )
    assert str(not_finite("loss", value, 1e38)).startswith(f"the loss is {value} at learning rate 1e+38; ")


def test_a_loss_that_is_not_finite_is_found_after_1024_batches_at_the_latest() -> None:
    tally = TrainingLoss(1)
    for _ in range(1023):
        tally.add(torch.tensor(math.nan), 4, 0.1)
    with pytest.raises(TrainingError, match=r"epoch 1, batch 1 is nan"):
        tally.add(torch.tensor(0.0), 4, 0.1)


def test_without_a_batch_there_is_no_loss() -> None:
    with pytest.raises(DataError, match=r"^the loader gave no batch: "):
        TrainingLoss(1).read()
