"""Arguments of calls in Python: what was given and what was wanted."""

from __future__ import annotations

import functools
import inspect
import os
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tinyclsf.errors import ConfigurationError, TinyclsfError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def as_path(name: str, value: object) -> Path:
    """The path that an argument of that name is, text or a Path.

    Raises: ConfigurationError for anything else, and for text that no path holds.
    """
    check_type(name, value, str, os.PathLike, wanted="a path as str or Path")
    path = Path(value)  # type: ignore[arg-type]  # it has just been checked
    if "\0" in str(path):
        raise ConfigurationError(f"{name} is {str(path)!r}; wanted a path, which has no NUL character")
    return path


def check_type(name: str, value: object, *types: type, wanted: str) -> None:
    """Hold an argument to its types.

    Raises: ConfigurationError if it is of another one.
    """
    if not isinstance(value, types):
        raise ConfigurationError(f"{name} is of type {type(value).__name__}; wanted {wanted}")


def naming_arguments(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Have a call that fails name the argument whose type is not the annotated one.

    Types are looked at only then: a call that works costs nothing, and what behaves like a type may stand for it.
    Raises: TypeError with the argument, what it is and what was wanted; else what the call raises.
    """

    @functools.wraps(function)
    def call(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            return function(*args, **options)
        except TinyclsfError:
            raise
        except Exception as error:
            if (found := _misfit(function, args, options)) is None:
                raise
            raise TypeError(found) from error

    return call


def _misfit(function: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> str | None:
    import numpy as np
    import torch
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    names = {"Tensor": torch.Tensor} | inspect.unwrap(function).__globals__  # which a light module has for its types alone
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **options).arguments
    except TypeError:  # one too many or too few, which Python has said
        return None
    for name, value in given.items():
        annotation = signature.parameters[name].annotation
        if annotation is signature.empty or signature.parameters[name].kind == inspect.Parameter.VAR_KEYWORD:
            continue
        try:
            hint = eval(annotation, names)
            plain = value.item() if isinstance(value, np.generic) else value  # a number of NumPy is as good as Python's
            check_type(plain, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
        except NameError:  # imported for type checkers alone
            continue
        except TypeCheckError:
            owner = function.__qualname__.removesuffix(".__init__")
            return f"{name} of {owner} is {reprlib.repr(value)}; wanted {annotation}"
    return None
