"""What a callable says of itself: the options in its signature, its description, and what is attached to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, get_type_hints

from tinyclsf.errors import PluginError
from tinyclsf.registry.options import REQUIRED, Option

# What a plugin is given by position, before its options.
_GIVEN = {"model": ("an image shape", "a number of classes"), "callback": ("a run folder", "a model's name")}
_REST = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def options_of(kind: str, name: str, factory: Callable[..., Any]) -> dict[str, Option]:
    """The options that a plugin takes, by name: all parameters but those that it is given by position.

    A model is given the image shape and the number of classes, a callback the run folder and the model's name.
    Raises: PluginError if the signature cannot be read, does not take what it is given, or has an annotation without a meaning.
    """
    given = _GIVEN.get(kind, ())
    try:
        signature = _signature(factory)
    except Exception as error:
        raise PluginError(f"the signature of {kind} '{name}' cannot be read: {error}") from error
    try:
        by_position = signature.bind_partial(*given).arguments
    except TypeError as error:
        raise PluginError(f"{kind} '{name}' cannot be called with {' and '.join(given)} by position: {error}") from error
    options = {}
    for parameter in signature.parameters.values():
        if parameter.name in by_position or parameter.kind in _REST:
            continue
        if parameter.kind is not Parameter.POSITIONAL_ONLY:
            try:
                options[parameter.name] = Option(parameter.name, _type_of(parameter, factory), parameter.default)
            except Exception as error:
                raise PluginError(f"the signature of {kind} '{name}' cannot be read: {error}") from error
        elif parameter.default is REQUIRED:
            raise PluginError(f"{kind} '{name}' takes {parameter.name} by position only; wanted an option that has a name")
    return options


def description_of(factory: Callable[..., Any]) -> str:
    """The docstring of a callable; that of the function below where it is a partial, of the class where it is an object."""
    if isinstance(factory, functools.partial) and "__doc__" not in vars(factory):
        return description_of(factory.func)
    text = factory.__doc__
    if text is None and not isinstance(factory, type) and not inspect.isroutine(factory):
        text = type(factory).__call__.__doc__
    return inspect.cleandoc(text or "")


def attribute_of(factory: Callable[..., Any], name: str) -> Any:
    """What is attached to a callable under a name, or to the function below where it is a partial; None if nothing is."""
    while isinstance(factory, functools.partial) and not hasattr(factory, name):
        factory = factory.func
    return getattr(factory, name, None)


def completed(factory: Callable[..., Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run wrote down, as its plugin takes them now.

    `earlier_defaults` of the plugin has the options that it got later, `former_options` names those that it has no more.
    Raises: PluginError if the former are no dictionary.
    """
    earlier = attribute_of(factory, "earlier_defaults") or {}
    if not isinstance(earlier, Mapping):
        raise PluginError(f"earlier_defaults of {factory!r} is of type {type(earlier).__name__}; wanted options by their names")
    former = attribute_of(factory, "former_options") or ()
    return {name: value for name, value in {**earlier, **saved}.items() if name not in former} if saved else {}


def innermost(factory: Callable[..., Any]) -> Callable[..., Any]:
    """The function, class or object below partials and decorators."""
    while (
        inner := factory.func if isinstance(factory, functools.partial) else getattr(factory, "__wrapped__", None)
    ) is not None:
        factory = inner
    return factory


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(factory)
    if isinstance(factory, type) and _takes_anything(list(signature.parameters.values())):
        # A metaclass, or __new__, may only hand on what __init__ takes.
        for method in (factory.__new__, factory.__init__):  # type: ignore[misc]
            own = list(inspect.signature(method).parameters.values())[1:]
            if not _takes_anything(own):
                return inspect.Signature(own)
    return signature


def _takes_anything(parameters: list[Parameter]) -> bool:
    return all(parameter.kind in _REST for parameter in parameters)


def _type_of(parameter: Parameter, factory: Callable[..., Any]) -> Any:
    if parameter.annotation is Parameter.empty:
        return str if parameter.default is REQUIRED or parameter.default is None else type(parameter.default)

    def holder() -> None:
        """Hold one annotation, as that of another parameter may have a meaning for type checkers alone."""

    holder.__annotations__ = {parameter.name: parameter.annotation}
    return get_type_hints(holder, globalns=_names_of(factory))[parameter.name]


def _names_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The names that the annotations of a callable may use: those of the modules that it is written in."""
    inner = innermost(factory)
    methods = (inner.__new__, inner.__init__) if isinstance(inner, type) else ()  # type: ignore[misc]
    names: dict[str, Any] = {}
    for each in (type(inner).__call__, inner, *methods):
        names |= getattr(innermost(each), "__globals__", {})
    return names
