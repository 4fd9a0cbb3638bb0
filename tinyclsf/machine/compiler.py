"""PyTorch's optimizers without its compiler, whose import takes as long as that of the rest of PyTorch."""

from __future__ import annotations

import inspect

import torch
from torch.optim import Optimizer

# PyTorch wraps these in functions that import the compiler, only to say to it that it shall leave them alone.
_WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def without_compiler(cls: type[Optimizer]) -> type[Optimizer]:
    """A subclass of an optimizer of `torch.optim` that does the same, and does not import `torch._dynamo`.

    It is for a `step` that is neither compiled nor differentiated. It is pickled and copied as the optimizer itself.
    """
    methods = {name: inspect.unwrap(getattr(cls, name)) for name in _WRAPPED}
    methods["step"] = torch.no_grad()(inspect.unwrap(cls.step))
    methods["__reduce__"] = lambda self: (cls.__new__, (cls,), self.__getstate__())
    return type(cls.__name__, (cls,), {"__module__": cls.__module__, "__doc__": cls.__doc__, **methods})
