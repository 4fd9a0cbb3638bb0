"""What a plugin may say of itself for a run that becomes a plain script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Factory = TypeVar("Factory", bound=Callable[..., Any])


class ScriptReader(NamedTuple):
    """How a script reads a data set.

    code: imports, constants and functions; `load_data()` gives a TensorDataset for each split: train, valid, and test if any.
    how: that in a few words, for the person who asked for the script.
    place: what has to be there; where it is not, the code is written without being tried.
    """

    code: str
    how: str
    place: Path | None = None


def scripted(function: str) -> Callable[[Factory], Factory]:
    """Name the function, as "module:function", that tells a script how to do without a plugin; nothing else imports it.

    For a data set it gets (content, **options), where content is what `config.json` says of the images, and gives a
    `ScriptReader`. For a model it gets (image_shape, num_classes, **options) and gives code as text, whose last line is an
    expression that makes the network. None says that there is no plain way. What the code imports from tinyclsf or from the
    plugin's own package is written into the script with its source.
    """

    def attach(factory: Factory) -> Factory:
        factory.script = function  # type: ignore[attr-defined]
        return factory

    return attach


def as_source(value: Any) -> str:
    """A value as Python source, text in double quotes."""
    if isinstance(value, str):
        quoted = repr(value)
        return quoted if quoted.startswith('"') or '"' in value else f'"{quoted[1:-1]}"'
    return f"Path({as_source(str(value))})" if isinstance(value, Path) else repr(value)
