"""States by name: of parts that are there, of several callbacks of one class, and of as many processes."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.loop.state import callback_states, check_state, load_callback_states, load_states, states_of
from tinyclsf.trainer import Callback

LOOP = {"callbacks": {}, "history": [], "steps": 0, "batch": 0, "train_loss": None, "random_at_epoch_start": None}


class Counter(Callback):
    def __init__(self, count: int) -> None:
        self.count = count

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class Other(Counter):
    """Another class with a state of the same form."""


def test_callbacks_are_known_by_their_class_and_their_number_in_it() -> None:
    saved = callback_states([Counter(1), Callback(), Other(5), Counter(2), Counter(3)])
    assert saved == {"Counter": {"count": 1}, "Other": {"count": 5}, "Counter 2": {"count": 2}, "Counter 3": {"count": 3}}
    now = [Other(0), Counter(0), Callback(), Counter(0), Counter(0), Counter(9)]
    load_callback_states(saved, now)
    assert [each.count for each in now if isinstance(each, Counter)] == [5, 1, 2, 3, 9]  # the last was not there then


def test_parts_that_are_not_there_have_no_state() -> None:
    parts = {"model": nn.Linear(2, 1), "schedule": None}
    state = states_of(parts)
    assert list(state) == ["model", "schedule"]
    assert state["schedule"] is None
    load_states(state, {"model": nn.Linear(2, 1), "schedule": None})


def test_nothing_is_loaded_where_a_part_is_amiss() -> None:
    model = nn.Linear(2, 1)
    before = model.weight.clone()
    state = {**states_of({"model": nn.Linear(2, 1)}), "schedule": {"step": 3}}
    with pytest.raises(ModelFileError) as error:
        load_states(state, {"model": model, "schedule": None})
    assert str(error.value) == ("the state has a state of schedule and this Trainer has none; make the Trainer as it was then")
    assert model.weight.equal(before)


def test_a_state_is_held_to_what_one_has() -> None:
    whole = {**LOOP, "model": {}, "random": [{}]}
    check_state(whole, ["model"])
    for name in whole:
        with pytest.raises(ModelFileError) as error:
            check_state({key: value for key, value in whole.items() if key != name}, ["model"])
        assert str(error.value) == f"the state has no {name}; it is not one of a Trainer"
    with pytest.raises(ConfigurationError) as processes:
        check_state({**whole, "random": [{}, {}]}, ["model"])
    assert str(processes.value) == "training was stopped with 2 processes and cannot go on with 1; resume with as many"
