"""What plugins of every kind have to keep: a description, and options that mean the same as text and as Python values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any, Literal, get_args, get_origin

from tinyclsf.errors import ConfigurationError, PluginError, join_names
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.options import REQUIRED, Option, as_text, read_options
from tinyclsf.registry.plugins import Plugin, load
from tinyclsf.registry.signatures import description_of, options_of
from tinyclsf.testing.checking import Broken, CannotRun


@dataclass
class Subject:
    """A plugin under check, and the options that its author checks it with; `quick` ones are checked without any."""

    plugin: Plugin
    options: dict[str, Any]
    quick: bool = False

    @cached_property
    def loaded(self) -> Callable[..., Any] | PluginError:
        """The plugin, imported, or why it cannot be."""
        try:
            return load(self.plugin)
        except PluginError as error:
            return error

    @property
    def factory(self) -> Callable[..., Any]:
        """The plugin.

        Raises: CannotRun if it cannot be imported, which the check `imports` tells of.
        """
        if isinstance(self.loaded, PluginError):
            raise CannotRun("it cannot be imported, as the check 'imports' says")
        return self.loaded

    @property
    def known(self) -> dict[str, Option]:
        """The options that it takes."""
        return options_of(self.plugin.kind, self.plugin.name, self.factory)

    def component(self, **more: Any) -> Component:
        """The plugin with its options, and more of them.

        Raises: CannotRun if it is checked without an option that it needs.
        """
        given, known = {**self.options, **more}, self.known
        needed = [name for name, option in known.items() if option.default is REQUIRED and name not in given]
        if self.quick and needed:
            raise CannotRun(f"it needs the option {join_names(needed)}")
        data_dir = given.pop("data_dir", None) if self.plugin.kind == "dataset" and "data_dir" in known else None
        return load_component(self.plugin, given, data_dir=data_dir)


def imports(subject: Subject) -> None:
    """It can be imported and called."""
    if isinstance(subject.loaded, PluginError):
        raise subject.loaded


def description(subject: Subject) -> None:
    """It says in one sentence what it is."""
    first = description_of(subject.factory).split("\n\n")[0]
    if not first.strip():
        raise Broken("it has no docstring; wanted a first sentence for 'tinyclsf info': write one below its def or class")
    if not first.rstrip().endswith((".", "!", "?")):
        raise Broken(f"its docstring begins with '{first.splitlines()[0]}'; wanted a whole sentence that ends with a full stop")


def options(subject: Subject) -> None:
    """Each option has a type that text can be read as, and a default of that type that text says as well."""
    kind, name = subject.plugin.kind, subject.plugin.name
    for option in subject.known.values():
        data_dir = kind == "dataset" and option.name == "data_dir"
        if option.default is REQUIRED or data_dir:
            continue
        for value, how in ((option.default, "in Python"), (as_text(option.default), "as text")):
            try:
                found = read_options(kind, name, {option.name: option}, {option.name: value})[option.name]
            except ConfigurationError:
                raise Broken(
                    f"option {option.name} has the default {option.default!r}, which is no {option.type_name} {how}; "
                    "wanted a default of the annotated type"
                ) from None
            if found != option.default and found == found:
                raise Broken(
                    f"option {option.name} has the default {option.default!r}, and {how} that is {found!r}; "
                    "wanted an annotation that reads it back, such as tuple[float, ...] for several numbers"
                )


def other_values(option: Option) -> list[Any]:
    """Other values that an option surely has by its type: the other words, the other of true and false."""
    words = [word for each in option.alternatives if get_origin(each) is Literal for word in get_args(each)]
    flags = [True, False] if bool in option.alternatives else []
    return [value for value in [*words, *flags] if value != option.default]


@contextlib.contextmanager
def silent(what: str) -> Iterator[None]:
    """Hold a plugin to leaving stdout to results.

    Raises: Broken if it prints.
    """
    with contextlib.redirect_stdout(StringIO()) as printed:
        yield
    if text := printed.getvalue().strip():
        raise Broken(
            f"{what} prints to stdout, '{text.splitlines()[0][:60]}'; "
            "wanted stdout free for results: leave it out, or print to sys.stderr"
        )
