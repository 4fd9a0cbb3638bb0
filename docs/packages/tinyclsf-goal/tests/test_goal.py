"""The callback goal: what tinyclsf asks of any callback, one test for each check, and what this one promises."""

import pytest
from tinyclsf_goal import Goal

import tinyclsf
from tinyclsf.testing import check_callback, parametrize_with_checks


@parametrize_with_checks(check_callback, "goal", accuracy=0.1)
def test_contract(check):
    check()


class Stopped(Exception):
    pass


class Trainer:
    def stop(self):
        raise Stopped


def test_it_stops_after_two_good_epochs_in_a_row(tmp_path):
    goal = Goal(tmp_path, "lenet", accuracy=0.9)
    for epoch, accuracy in enumerate((0.95, 0.8, None, 0.9), start=1):
        goal.on_epoch_end(Trainer(), tinyclsf.Epoch(epoch, 0.1, 0.1, accuracy, 1.0))
    with pytest.raises(Stopped):
        goal.on_epoch_end(Trainer(), tinyclsf.Epoch(5, 0.1, 0.1, 0.91, 1.0))
    assert (tmp_path / "goal.txt").read_text() == "epoch 5\n"
