"""Whatever can be called is a plugin: its options, its description and what is attached to it are found."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from tinyclsf.errors import PluginError
from tinyclsf.registry.options import REQUIRED, Option
from tinyclsf.registry.signatures import attribute_of, description_of, innermost, options_of

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

WIDTH = Option("width", int, 8)


def network(shape: Unknown, classes: Unknown, *, width: int = 8) -> Unknown:
    """A network."""


def any_named(a, b, width: int = 8):  # type: ignore[no-untyped-def]
    pass


def unnamed(*given: Any, width: int = 8, **others: Any) -> None:
    pass


def chosen_first(arch: str, shape: Any, classes: Any, *, width: int = 8) -> None:
    """A network by its name."""


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return call


class Network:
    """A network as a class."""

    def __init__(self, shape: Unknown, classes: Unknown, *, width: int = 8) -> None:
        pass

    @classmethod
    def small(cls, shape: Unknown, classes: Unknown, *, width: int = 8) -> None:
        """A small one."""


class Factory:
    """Makes networks."""

    def __call__(self, shape: Unknown, classes: Unknown, *, width: int = 8) -> None:
        """Make one."""


class Nameless:
    def __call__(self, shape: Unknown, classes: Unknown, *, width: int = 8) -> None:
        """Make a nameless one."""


class Meta(type):
    def __call__(cls, *args: Any, **options: Any) -> Any:
        return super().__call__(*args, **options)


class ByMeta(Network, metaclass=Meta):
    pass


class ByNew:
    def __new__(cls, *args: Any, **options: Any) -> ByNew:
        return super().__new__(cls)

    def __init__(self, shape: Unknown, classes: Unknown, *, width: int = 8) -> None:
        pass


class New:
    def __new__(cls, shape: Unknown, classes: Unknown, *, width: int = 8) -> New:
        return super().__new__(cls)


@pytest.mark.parametrize(
    "factory",
    [
        network,
        any_named,
        unnamed,
        logged(network),
        logged(functools.partial(network)),
        functools.partial(chosen_first, "resnet"),
        functools.partial(logged(chosen_first), "resnet"),
        Network,
        functools.partial(Network),
        Network.small,
        Factory(),
        Factory().__call__,
        functools.partial(Factory()),
        Nameless(),
        ByMeta,
        ByNew,
        New,
    ],
)
def test_whatever_can_be_called_has_its_options(factory: Callable[..., Any]) -> None:
    assert options_of("model", "m", factory) == {"width": WIDTH}
    assert options_of("callback", "c", factory) == {"width": WIDTH}


def test_what_a_partial_presets_is_the_default() -> None:
    assert options_of("model", "m", functools.partial(network, width=16)) == {"width": Option("width", int, 16)}
    wide = functools.partial(functools.partial(Network, width=4), width=16)
    assert options_of("model", "m", wide) == {"width": Option("width", int, 16)}


def test_a_data_set_is_given_nothing_by_position() -> None:
    assert options_of("dataset", "d", any_named) == {
        "a": Option("a", str, REQUIRED),
        "b": Option("b", str, REQUIRED),
        "width": WIDTH,
    }
    assert list(options_of("dataset", "d", functools.partial(chosen_first, "x"))) == ["shape", "classes", "width"]


def test_annotations_of_every_style() -> None:
    def data(  # type: ignore[no-untyped-def]
        *, a: Annotated[int, "pixels"], b: Path | None = None, c: Literal["x", 2] = 2, d=1.5, e=None
    ) -> Unknown:
        pass

    assert [option.annotation for option in options_of("dataset", "d", data).values()] == [
        int,
        Path | None,
        Literal["x", 2],
        float,
        str,
    ]


def positional(first: int, /) -> None:
    pass


def broken(shape: Any, classes: Any, *, size: Missing = 1) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


@pytest.mark.parametrize(
    ("kind", "factory", "message"),
    [
        ("model", broken, "the signature of model 'p' cannot be read: name 'Missing' is not defined"),
        ("model", str, "the signature of model 'p' cannot be read: no signature found for builtin type <class 'str'>"),
        (
            "model",
            lambda shape: None,
            "model 'p' cannot be called with an image shape and a number of classes by position: too many positional arguments",
        ),
        (
            "callback",
            functools.partial(network, shape=1),
            "callback 'p' cannot be called with a run folder and a model's name by position: too many positional arguments",
        ),
        ("dataset", positional, "dataset 'p' takes first by position only; wanted an option that has a name"),
    ],
)
def test_what_cannot_be_understood_is_the_plugins_fault(kind: str, factory: Callable[..., Any], message: str) -> None:
    with pytest.raises(PluginError) as error:
        options_of(kind, "p", factory)
    assert str(error.value) == message


def test_the_description_is_the_authors_own() -> None:
    described = functools.partial(network, width=2)
    described.__doc__ = "A narrow one."
    expected: list[tuple[Callable[..., Any], str]] = [
        (network, "A network."),
        (any_named, ""),
        (logged(network), "A network."),
        (functools.partial(network, width=16), "A network."),
        (described, "A narrow one."),
        (Network, "A network as a class."),
        (ByMeta, ""),  # not that of a class above
        (Network.small, "A small one."),
        (Factory(), "Makes networks."),
        (Nameless(), "Make a nameless one."),
    ]
    assert [description_of(factory) for factory, _ in expected] == [text for _, text in expected]


def test_what_is_attached_is_found_below_partials() -> None:
    def net() -> None:
        pass

    net.recipe = "own"  # type: ignore[attr-defined]
    wide = functools.partial(functools.partial(net), width=3)
    assert (attribute_of(net, "recipe"), attribute_of(wide, "recipe"), attribute_of(logged(net), "recipe")) == ("own",) * 3
    wide.recipe = "its"  # type: ignore[attr-defined]
    assert (attribute_of(wide, "recipe"), attribute_of(net, "other")) == ("its", None)
    assert innermost(functools.partial(logged(wide))) is net
