"""The source of a thing and all that it uses, taken out of its modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tinyclsf.errors import ConfigurationError
from tinyclsf.scripting.sources import import_lines, sources_in, sources_of

Make = Callable[..., ModuleType]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Write a package of modules given by name and import one of it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> ModuleType:
        folder = tmp_path / "odd_package"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for name, code in modules.items():
            (folder / f"{name}.py").write_text(code)
        return importlib.import_module("odd_package.model")

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "odd_package"]:
        del sys.modules[name]


MODEL = '''
from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tinyclsf.plugin import ConfigurationError, Lambda, recipe

from .parts import check, doubled

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSED = 1
# How far.
FAR = 2 * math.pi


@recipe(
    epochs=3,
)
def net(image_shape: Sequence[int], num_classes: int) -> Lambda:
    """A net.

    Raises: ConfigurationError if the images are
    too small.
    """
    if num_classes < 2:
        raise ConfigurationError("too few")
    check(image_shape)
    if FAR < 0:
        raise ValueError("kept")
    return Lambda(lambda x: doubled(x) + FAR)  # type: ignore[return-value]
'''
PARTS = """
from tinyclsf.plugin import ConfigurationError


def check(shape):
    if shape[0] > 3:
        raise ConfigurationError("too many")


def doubled(x):
    return halved(4 * x)


def halved(x):
    return x / 2 if x else doubled(x)
"""


def test_a_function_comes_with_what_it_uses_and_without_what_tinyclsf_needs(make: Make) -> None:
    found = sources_of(make(model=MODEL, parts=PARTS).net)
    assert list(found.definitions) == ["FAR", "Lambda", "halved", "doubled", "net"]
    assert found.definitions["FAR"] == "# How far.\nFAR = 2 * math.pi"
    assert found.definitions["net"] == (
        "def net(image_shape: Sequence[int], num_classes: int) -> Lambda:\n"
        '    """A net."""\n'
        "    if FAR < 0:\n"
        '        raise ValueError("kept")\n'
        "    return Lambda(lambda x: doubled(x) + FAR)"
    )
    assert "import math" in found.imports
    names: dict[str, object] = {}
    lines = ["from __future__ import annotations", *import_lines(found.imports), *found.definitions.values()]
    exec("\n".join(lines), names)
    net = names["net"]
    assert callable(net)
    assert net((1,), 2)(1) == pytest.approx(2 + 2 * 3.14159265)


def test_what_a_docstring_says_of_errors_that_stay_is_kept(make: Make) -> None:
    text = 'def net():\n    """A net.\n\n    Raises: ValueError if an Iterable is empty.\n    """\n    raise ValueError'
    assert sources_of(make(model=text).net).definitions["net"] == text


def test_a_check_that_does_more_than_raise_is_kept(make: Make) -> None:
    text = """from tinyclsf.plugin import ConfigurationError

def net(shape):
    if shape < 1:
        raise ConfigurationError("none")
    if shape < 2:
        raise ConfigurationError("few")
    else:
        depth = 3
    if (wide := 2 * shape) < 9:
        raise ConfigurationError("narrow")
    return depth * wide
"""
    found = sources_of(make(model=text).net).definitions["net"]
    assert [word in found for word in ("none", "few", "depth = 3", "narrow")] == [False, True, True, True]


CODE = """
from __future__ import annotations

import math
import sys

from odd_package.parts import check, halved


def load(x):
    return halved(x) * math.pi


# What a half is.
HALF = halved(1)
load(HALF)
"""


def test_a_piece_of_code_comes_with_what_it_takes_from_its_own_package(make: Make) -> None:
    make(model=MODEL, parts=PARTS)
    found, expression = sources_in(CODE, "odd_package")
    assert expression == "load(HALF)"
    assert found.imports == ["import math"]
    assert list(found.definitions) == ["doubled", "halved", "HALF", "load"]  # constants as early as can be
    assert found.definitions["HALF"] == "# What a half is.\nHALF = halved(1)"
    assert sources_in("def load():\n    pass", "odd_package") == (([], {"load": "def load():\n    pass"}), "")


def test_imports_are_merged_and_sorted() -> None:
    statements = [
        "from torch import nn",
        "import sys",
        "from torch import Tensor",
        "import torch",
        "from math import pi",
        "import torch",
    ]
    assert import_lines(statements) == ["import sys", "from math import pi", "", "import torch", "from torch import Tensor, nn"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "from odd_package.parts import doubled as net2\n\ndef net():\n    return net2\n",
            "odd_package.model imports a thing of odd_package.parts as net2; it can be written out under its own name",
        ),
        (
            "from odd_package import parts\n\ndef net():\n    return parts.doubled\n",
            "odd_package.model uses odd_package.parts, a module of its own, which cannot be written out",
        ),
        (
            "import odd_package.parts\n\ndef net():\n    return odd_package.parts.doubled\n",
            "odd_package.model uses the module odd_package.parts as a whole, which cannot be written out",
        ),
        (
            "from odd_package.parts import doubled\n\ndef halved():\n    return doubled\n\ndef net():\n    return halved\n",
            "odd_package.parts and odd_package.model both define halved, which one file cannot; give one of them another name",
        ),
        ("net = lambda: 1\n", "<lambda> is no class or function of a module, so that its source cannot be written out"),
        (
            "import functools\n\nnet = functools.partial(int)\n",
            "partial is no class or function of a module, so that its source cannot be written out",
        ),
    ],
)
def test_what_cannot_be_taken_out_is_told(make: Make, model: str, message: str) -> None:
    module = make(model=model, parts=PARTS)
    with pytest.raises(ConfigurationError) as caught:
        sources_of(module.net)
    assert str(caught.value) == message


def test_a_source_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        sources_of(len)
    assert str(caught.value) == "the source of module builtins is not there, so that it cannot be written out"
