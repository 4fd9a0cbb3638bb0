"""What a plugin says of itself for a script; see `tinyclsf.plugin.scripted`."""

from __future__ import annotations

import pkgutil
from typing import Any, TypeVar

from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.registry.components import Component
from tinyclsf.registry.plugins import blamed_on, find, load
from tinyclsf.registry.signatures import attribute_of
from tinyclsf.scripting.sources import Sources, sources_in

Said = TypeVar("Said")


def ask(component: Component, wanted: type[Said], *given: Any) -> Said | None:
    """What the function that `@scripted` names says of a plugin with its options; None where there is none.

    Raises: PluginError if it fails, or says anything else than is wanted.
    """
    function = attribute_of(component.factory, "script")
    if function is None:
        return None
    with blamed_on(component.plugin, f"failed in {function}"):
        said = pkgutil.resolve_name(function)(*given, **component.values)
        if said is not None and not isinstance(said, wanted):
            raise TypeError(f"it returned {type(said).__name__}; wanted {wanted.__name__} or None")
    return said


def written_out(component: Component, code: str) -> tuple[Sources, str]:
    """The code that a plugin gives, and the expression that it ends with.

    Raises: PluginError if it is no Python; ConfigurationError if what it imports cannot be written out.
    """
    function = attribute_of(component.factory, "script")
    with blamed_on(component.plugin, f"failed in the code of {function}"):
        return sources_in(code, *(each.partition(":")[0].partition(".")[0] for each in (function, component.plugin.target)))


def only_watches(callback: str) -> bool:
    """Whether a callback says that it changes nothing in training: `watches` is True."""
    try:
        return bool(attribute_of(load(find("callback", callback)), "watches"))
    except (ConfigurationError, PluginError):  # it is not installed any more
        return False
