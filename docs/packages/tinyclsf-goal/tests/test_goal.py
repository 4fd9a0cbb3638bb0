"""The callback goal: what tinyclsf asks of any callback, one test for each check, and what this one promises."""

from tinyclsf_goal import Goal

import tinyclsf
from tinyclsf.testing import check_callback, parametrize_with_checks


@parametrize_with_checks(check_callback, "goal")
def test_contract(check):
    check()


def test_it_writes_the_epochs_that_are_better_than_all_before(tmp_path):
    goal = Goal(tmp_path, "lenet")
    for epoch, loss in enumerate((0.5, 0.7, 0.4), start=1):
        goal.on_epoch_end(None, tinyclsf.Epoch(epoch, 0.1, loss, 0.9, 1.0))
    assert (tmp_path / "goal.txt").read_text() == "lenet\nepoch 1: valid loss 0.5000\nepoch 3: valid loss 0.4000\n"
