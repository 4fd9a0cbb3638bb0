"""PyTorch's optimizers without its compiler: the same steps, hooks and states, and no import of it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tinyclsf.machine.compiler import without_compiler
from tinyclsf.recipes import optimizers


def steps(opt: Optimizer, parameters: Iterable[nn.Parameter], number: int) -> list[nn.Parameter]:
    parameters = list(parameters)
    for _ in range(number):
        opt.zero_grad()
        sum((parameter.sin().sum() for parameter in parameters), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        opt.step()
    return parameters


def begin(cls: type[Optimizer], values: Iterable[Tensor]) -> tuple[Optimizer, list[nn.Parameter]]:
    parameters = [nn.Parameter(each.detach().clone()) for each in values]
    return cls(parameters, lr=0.1), parameters  # type: ignore[call-arg]


@pytest.mark.parametrize("name", sorted(optimizers()))
def test_it_steps_and_is_resumed_as_pytorchs_own(name: str) -> None:
    cls, values = optimizers()[name], [torch.randn(4, 3), torch.randn(3, 2)]
    wanted = steps(*begin(cls, values), 4)
    first, parameters = begin(without_compiler(cls), values)
    parameters = steps(first, parameters, 2)
    second, parameters = begin(without_compiler(cls), parameters)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    found = steps(second, parameters, 2)
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))
    assert (type(first).__name__, isinstance(first, cls)) == (cls.__name__, True)


def test_it_is_pickled_as_pytorchs_own() -> None:
    opt, parameters = begin(without_compiler(torch.optim.AdamW), [torch.ones(2)])
    steps(opt, parameters, 1)
    loaded = pickle.loads(pickle.dumps(opt))
    assert type(loaded) is torch.optim.AdamW
    own, other = (steps(each, each.param_groups[0]["params"], 1)[0] for each in (opt, loaded))
    assert torch.equal(own, other)


def test_its_hooks_are_called() -> None:
    opt, parameters = begin(without_compiler(torch.optim.SGD), [torch.ones(2)])
    called = []
    opt.register_step_pre_hook(lambda *_: called.append("before"))
    opt.register_step_post_hook(lambda *_: called.append("after"))
    steps(opt, parameters, 1)
    assert called == ["before", "after"]


def test_training_does_not_import_the_compiler() -> None:
    code = """if True:
        import sys, tinyclsf
        run = tinyclsf.train("mnist-logistic", epochs=1, data_options={"train_size": 64}, ema_decay=0.9, progress=False)
        tinyclsf.train("mnist-logistic", resume=run.folder, epochs=2, progress=False)
        print("torch._dynamo" in sys.modules)"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (found.stdout, found.stderr, found.returncode) == ("False\n", "", 0)
