"""Options of plugins: read off signatures, parsed by annotation, written back as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pytest

from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.registry.options import REQUIRED, Option, as_text, read_options
from tinyclsf.registry.signatures import options_of


def plugin(  # type: ignore[no-untyped-def]
    *,
    data_dir: Path,
    count: int = 1,
    share: float = 0.5,
    fast: bool = False,
    word: str = "x",
    where: Path = Path("here"),
    kind: Literal["a", "b"] = "a",
    seats: Literal[2, 4] = 2,
    limit: int | None = None,
    either: int | float = 1,
    auto: Literal["auto", True, None] = "auto",
    implied: int = None,  # type: ignore[assignment]  # noqa: RUF013
    bare=3,
    rest: list[int] = [],  # noqa: B006
    numbers: tuple[float, ...] | None = None,
) -> None:
    """A data set that does nothing."""


def resolved(*, count: int = 1, limit: int | None = None, kind: Literal["a", "b"] = "a", where: Path = Path("here")) -> None:
    """A data set whose annotations are types and not text, as in a file without the future import."""


resolved.__annotations__ = get_type_hints(resolved)


class Network:
    """A model."""

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, *, width: int = 8, depth: int | None = None
    ) -> None:
        pass


def network(image_shape: tuple[int, int, int], num_classes: int, *, width: int, **others: object) -> None:
    """A model with an option that has to be given."""


def callback(folder: Path, model_name: str, *, every: int, data_dir: Path = Path("x")) -> None:
    """A callback; that one of its options is named as a data set's folder means nothing."""


def nothing() -> None:
    """A data set without options."""


def values_of(kind: str, name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return read_options(kind, name, options_of(kind, name, function), given)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "32", 32),
        ("count", "-3", -3),
        ("share", "1e-3", 0.001),
        ("share", "2", 2.0),
        ("fast", "true", True),
        ("fast", "False", False),
        ("word", "none", "none"),
        ("word", "", ""),
        ("where", "/a/b", Path("/a/b")),
        ("kind", "b", "b"),
        ("seats", "4", 4),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "7", 7),
        ("either", "3", 3),
        ("either", "3.5", 3.5),
        ("auto", "true", True),
        ("auto", "none", None),
        ("implied", "none", None),
        ("implied", "4", 4),
        ("bare", "5", 5),
        ("numbers", "0.5,1,-inf", (0.5, 1.0, -math.inf)),
        ("numbers", "2", (2.0,)),
        ("numbers", "none", None),
    ],
)
def test_text_becomes_what_the_annotation_says_and_comes_back(name: str, text: str, value: object) -> None:
    found = values_of("dataset", "d", plugin, {name: text})
    assert found == {name: value}
    assert type(found[name]) is type(value)
    assert values_of("dataset", "d", plugin, {name: as_text(value)}) == found


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("count", "3.0", "a whole number"),
        ("count", "", "a whole number"),
        ("count", "none", "a whole number"),
        ("share", "half", "a number"),
        ("fast", "1", "true or false"),
        ("fast", "yes", "true or false"),
        ("kind", "c", "one of a|b"),
        ("seats", "3", "one of 2|4"),
        ("limit", "many", "none or a whole number"),
        ("either", "x", "a whole number or a number"),
        ("auto", "false", "one of auto|true|none"),
        ("implied", "x", "none or a whole number"),
        ("numbers", "", "none or numbers with commas between them"),
        ("numbers", "1,,2", "none or numbers with commas between them"),
    ],
)
def test_text_of_another_type_is_refused(name: str, text: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        values_of("dataset", "d", plugin, {name: text})
    assert (str(error.value), error.value.tip) == (f"option {name} of dataset d is '{text}'; wanted {wanted}", None)


def test_annotations_need_not_be_text() -> None:
    texts = {"count": "2", "limit": "none", "kind": "b", "where": "x"}
    assert values_of("dataset", "d", resolved, texts) == {"count": 2, "limit": None, "kind": "b", "where": Path("x")}


@pytest.mark.parametrize(
    ("name", "type_name"),
    [
        ("count", "int"),
        ("share", "float"),
        ("fast", "bool"),
        ("where", "path"),
        ("kind", "one of a|b"),
        ("limit", "none or int"),
        ("bare", "int"),
        ("numbers", "none or float,..."),
    ],
)
def test_types_are_named_as_a_person_writes_them(name: str, type_name: str) -> None:
    assert options_of("dataset", "d", plugin)[name].type_name == type_name


def test_a_models_options_are_what_follows_shape_and_classes() -> None:
    assert options_of("model", "m", Network) == {"width": Option("width", int, 8), "depth": Option("depth", int | None, None)}
    assert options_of("model", "m", network) == {"width": Option("width", int, REQUIRED)}
    assert values_of("model", "m", Network, {"depth": "2"}) == {"depth": 2}


def test_a_callbacks_options_are_what_follows_folder_and_model_name() -> None:
    assert options_of("callback", "c", callback) == {
        "every": Option("every", int, REQUIRED),
        "data_dir": Option("data_dir", Path, Path("x")),
    }
    assert values_of("callback", "c", callback, {"every": "2", "data_dir": "y"}) == {"every": 2, "data_dir": Path("y")}
    with pytest.raises(ConfigurationError) as error:
        values_of("callback", "c", callback, {})
    assert (str(error.value), error.value.tip) == ("callback c needs -c c.every=INT", None)


@pytest.mark.parametrize(
    ("kind", "function", "key", "message", "tip"),
    [
        ("model", Network, "widht", "model p has no option 'widht'; it takes width, depth", "did you mean 'width'?"),
        ("model", Network, "zzz", "model p has no option 'zzz'; it takes width, depth", None),
        ("model", Network, "num_classes", "model p has no option 'num_classes'; it takes width, depth", None),
        ("dataset", resolved, "data_dir", "dataset p has no option 'data_dir'; it takes count, limit, kind, where", None),
        ("dataset", nothing, "x", "dataset p has no option 'x'; it takes none", None),
    ],
)
def test_an_unknown_option_is_answered_with_the_known_and_the_nearest(
    kind: str, function: Callable[..., Any], key: str, message: str, tip: str | None
) -> None:
    with pytest.raises(ConfigurationError) as error:
        values_of(kind, "p", function, {key: "1"})
    assert (str(error.value), error.value.tip) == (message, tip)


def test_an_option_without_a_default_has_to_be_given() -> None:
    with pytest.raises(ConfigurationError) as error:
        values_of("model", "m", network, {})
    assert (str(error.value), error.value.tip) == ("model m needs -m width=INT", None)
    assert values_of("model", "m", network, {"width": "4"}) == {"width": 4}


def test_the_data_folder_is_no_option_and_is_not_missed() -> None:
    assert values_of("dataset", "d", plugin, {}) == {}
    with pytest.raises(ConfigurationError, match="has no option 'data_dir'"):
        values_of("dataset", "d", plugin, {"data_dir": "x"})


def test_an_annotation_that_no_text_can_meet_is_the_plugins_fault() -> None:
    with pytest.raises(PluginError) as error:
        values_of("dataset", "d", plugin, {"rest": "1"})
    assert str(error.value) == (
        "option rest of dataset d is annotated list; "
        "wanted int, float, bool, str, Path, tuple[float, ...], Literal or a union of those and None"
    )


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("count", 32, 32),
        ("share", 2, 2.0),
        ("share", 0.25, 0.25),
        ("fast", True, True),
        ("word", "7", "7"),
        ("where", "here", Path("here")),
        ("where", Path("there"), Path("there")),
        ("kind", "b", "b"),
        ("seats", 4, 4),
        ("limit", None, None),
        ("limit", 7, 7),
        ("either", 3, 3),
        ("either", 3.5, 3.5),
        ("auto", True, True),
        ("auto", None, None),
        ("numbers", (1, 2.5), (1.0, 2.5)),
        ("numbers", [0.5, "inf"], (0.5, math.inf)),  # as a JSON file has them
    ],
)
def test_values_of_the_right_type_are_taken_as_they_are(name: str, given: object, value: object) -> None:
    found = values_of("dataset", "d", plugin, {name: given})
    assert found == {name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "found", "wanted"),
    [
        ("count", 3.0, "3.0", "a whole number"),
        ("count", True, "True", "a whole number"),
        ("count", None, "None", "a whole number"),
        ("count", [3], "[3]", "a whole number"),
        ("share", True, "True", "a number"),
        ("fast", 1, "1", "true or false"),
        ("word", 5, "5", "text"),
        ("where", 5, "5", "a path"),
        ("kind", None, "None", "one of a|b"),
        ("seats", 4.0, "4.0", "one of 2|4"),
        ("limit", 0.5, "0.5", "none or a whole number"),
        ("auto", 1, "1", "one of auto|true|none"),
        ("numbers", 0.5, "0.5", "none or numbers with commas between them"),
        ("numbers", [0.5, "x"], "[0.5, 'x']", "none or numbers with commas between them"),
    ],
)
def test_values_of_another_type_are_refused(name: str, value: object, found: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        values_of("dataset", "d", plugin, {name: value})
    assert (str(error.value), error.value.tip) == (f"option {name} of dataset d is {found}; wanted {wanted}", None)
