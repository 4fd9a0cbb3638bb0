"""States by name, of several callbacks of one class or one name too, and of as many processes; none that no file can hold."""

from __future__ import annotations

import io
from collections import Counter as Counted
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from tinyclsf.errors import ConfigurationError, ModelFileError, PluginError
from tinyclsf.loop.state import callback_states, load_callback_states, load_states, states_of
from tinyclsf.loop.state_checks import check_state
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


def namesake(module: str) -> type[Counter]:
    """A class that is called Counter as well, in another module."""
    return type("Counter", (Counter,), {"__module__": module})


def test_callbacks_of_one_class_name_keep_apart_in_any_order() -> None:
    theirs, others = namesake("theirs"), namesake("others")
    saved = callback_states([theirs(1), others(2), theirs(3), Other(4)])
    assert saved == {
        "theirs.Counter": {"count": 1},
        "others.Counter": {"count": 2},
        "theirs.Counter 2": {"count": 3},
        "Other": {"count": 4},
    }
    now = [Other(0), others(0), theirs(0), theirs(0)]
    load_callback_states(saved, now)
    assert [each.count for each in now] == [4, 2, 1, 3]
    # Of one module too, as where a function makes them.
    twins = [namesake("theirs")(1), namesake("theirs")(2)]
    assert callback_states(twins) == {"theirs.Counter": {"count": 1}, "theirs.Counter 2": {"count": 2}}


def test_a_state_from_before_names_had_modules_goes_to_the_callback_that_it_is_of() -> None:
    first, last = namesake("theirs")(7), namesake("others")(7)
    load_callback_states({"Counter": {"count": 2}}, [first, last])  # it held that of the last alone
    assert (first.count, last.count) == (7, 2)
    alone = namesake("theirs")(7)
    load_callback_states({"Counter": {"count": 2}}, [alone])
    assert alone.count == 2


def test_a_process_with_fewer_callbacks_than_the_first_takes_up_the_state_of_its_own() -> None:
    saved = callback_states([namesake("theirs")(1), namesake("others")(2)])
    alone = namesake("others")(7)
    load_callback_states(saved, [alone])
    assert alone.count == 2


class Row(NamedTuple):
    loss: float


class Keeps(Callback):
    def __init__(self, value: object) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"best": [0.5, self.value]}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.float64(0.5), "numpy.float64 in its state, at state['best'][1]"),
        (np.zeros(2), "numpy.ndarray in its state, at state['best'][1]"),
        ({np.int64(3): 1}, f"numpy.int64 in its state, at state['best'][1][{np.int64(3)!r}]"),
        (Row(0.5), f"{__name__}.Row in its state, at state['best'][1]"),
        (lambda: 1, "function in its state, at state['best'][1]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_checkpoint_cannot_hold_is_refused_before_it_is_saved(value: object, found: str) -> None:
    with pytest.raises(PluginError) as error:
        callback_states([Other(1), Keeps(value)])
    wanted = (
        f"has a {found}, and a checkpoint with that could not be read back; "
        "wanted numbers of Python, text, None, tensors, and lists, tuples and dictionaries of those"
    )
    assert str(error.value) == f"the callback Keeps {wanted}"


def test_what_a_checkpoint_can_hold_comes_back() -> None:
    value: list[Any] = [
        None,
        True,
        1,
        2.5,
        "é",
        torch.ones(2),
        nn.Parameter(torch.ones(1)),
        (1,),
        {"a": {2: []}},
        {3},
        Counted("aab"),
    ]
    file = io.BytesIO()
    torch.save(callback_states([Keeps(value)]), file)
    file.seek(0)
    assert str(torch.load(file, weights_only=True)) == str({"Keeps": {"best": [0.5, value]}})


def test_a_numpy_number_in_an_optimizer_is_refused_too() -> None:
    opt = torch.optim.SGD(nn.Linear(2, 1).parameters(), lr=np.float64(0.1))
    with pytest.raises(ConfigurationError) as error:
        states_of({"model": nn.Linear(2, 1), "optimizer": opt})
    assert str(error.value).startswith("the optimizer has a numpy.float64 in its state, at state['param_groups'][0]['lr'], ")


def test_what_is_not_there_has_no_state() -> None:
    stateful = {"model": nn.Linear(2, 1), "schedule": None}
    state = states_of(stateful)
    assert list(state) == ["model", "schedule"]
    assert state["schedule"] is None
    load_states(state, {"model": nn.Linear(2, 1), "schedule": None})


def test_nothing_is_loaded_where_one_is_amiss() -> None:
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
