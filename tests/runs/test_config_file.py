"""A config file: what is taken from it, and one sentence for whatever cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyclsf.cli.fit import fit
from tinyclsf.errors import ConfigurationError
from tinyclsf.registry.choices import VALUES
from tinyclsf.runs.config_file import ConfigFile, Named, read_config_file


def read(path: Path, content: Any) -> ConfigFile:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_config_file(path)


def test_a_file_by_hand_says_what_it_likes(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    settings = {"epochs": 1, "lr": 1, "clip_norm": None, "compile": True, "precision": "bfloat16", "augment": "flip,crop"}
    found = read(path, {"model": "mnist-cnn", "callbacks": ["csv"], "settings": settings})
    assert found == ConfigFile(path, model=Named("mnist-cnn", {}), callbacks=(Named("csv", {}),), settings=settings)
    assert read(path, {}) == ConfigFile(path)


def test_a_file_of_a_run_is_taken_whole(tmp_path: Path) -> None:
    options = {"ratio": 0.25, "size": None, "flag": False, "name": "x"}
    content = {"train": 640, "train_checksum": "51d02ae9"}
    data = {"name": "digits", "package": "tinyclsf", "package_version": "1", "options": options, "content": content}
    entries = {"lr": (0.1, "recipe"), "seed": (3, "--seed"), "device": ("cpu", "auto"), "memory_format": ("x", "auto")}
    found = read(
        tmp_path / "config.json",
        {
            "version": 1,
            "tinyclsf": "0",
            "python": "3",
            "torch": "2",
            "created": "now",
            "commands": ["tinyclsf fit mnist-cnn"],
            "model": {"name": "mnist-cnn", "options": {}},
            "data": data,
            "callbacks": [{"name": "csv", "options": {}}],
            "settings": {name: {"value": value, "source": source} for name, (value, source) in entries.items()},
        },
    )
    assert found.data == Named("digits", options, package="tinyclsf", package_version="1")
    assert found.settings == {"lr": 0.1, "seed": 3, "device": "cpu"}
    assert found.sources == {"lr": "recipe", "seed": "--seed", "device": "auto", "memory_format": "auto"}
    assert (found.content, found.versions.torch, found.created) == (content, "2", "now")
    assert found.commands == ("tinyclsf fit mnist-cnn",)


def test_its_settings_are_those_of_a_run(tmp_path: Path) -> None:
    for name in VALUES:
        with pytest.raises(ConfigurationError, match=rf"c.json: {name} is \[\]; wanted "):
            read(tmp_path / "c.json", {"settings": {name: []}})
    others = {str(param.name) for param in fit.params} - set(VALUES)
    for name in others - {"run"}:
        with pytest.raises(ConfigurationError, match=f"c.json has an unknown key '{name}' in settings"):
            read(tmp_path / "c.json", {"settings": {name: "x"}})


CASES: list[tuple[Any, str, str | None]] = [
    ("", " is not JSON (Expecting value: line 1 column 1 (char 0)); wanted a run's config.json", None),
    ("[]", " is a list; wanted an object", None),
    ("null", " is null; wanted an object", None),
    ({"version": 2}, " has version 2; this tinyclsf reads 1, so upgrade it", None),
    ({"modle": "x"}, " has an unknown key 'modle'", "did you mean 'model'?"),
    ({"settings": []}, ": settings is a list; wanted an object", None),
    ({"settings": {"epoch": 1}}, " has an unknown key 'epoch' in settings", "did you mean 'epochs'?"),
    ({"settings": {"batch-size": 1}}, " has an unknown key 'batch-size' in settings", "did you mean 'batch_size'?"),
    ({"settings": {"epochs": {"valu": 1}}}, " has an unknown key 'valu' in settings.epochs", "did you mean 'value'?"),
    ({"settings": {"epochs": {}}}, ": epochs is null; wanted a whole number of at least 1", None),
    ({"settings": {"epochs": None}}, ": epochs is null; wanted a whole number of at least 1", None),
    ({"settings": {"epochs": 1.5}}, ": epochs is 1.5; wanted a whole number of at least 1", None),
    ({"settings": {"epochs": "1"}}, ': epochs is "1"; wanted a whole number of at least 1', None),
    ({"settings": {"epochs": True}}, ": epochs is true; wanted a whole number of at least 1", None),
    ({"settings": {"epochs": 0}}, ": epochs is 0; wanted a whole number of at least 1", None),
    ({"settings": {"lr": "fast"}}, ': lr is "fast"; wanted a number above 0', None),
    ({"settings": {"lr": float("nan")}}, ": lr is NaN; wanted a number above 0", None),
    ({"settings": {"compile": "no"}}, ': compile is "no"; wanted true or false', None),
    ({"settings": {"optimizer": 3}}, ": optimizer is 3; wanted text", None),
    ({"settings": {"precision": "int8"}}, ': precision is "int8"; wanted one of auto, float32, tf32, bfloat16, float16', None),
    ({"model": 3}, ": model is a number; wanted text or an object", None),
    ({"model": {}}, ": model.name is null; wanted text", None),
    ({"data": {"name": "digits", "options": []}}, ": data.options is a list; wanted an object", None),
    ({"data": {"name": "digits", "option": {}}}, " has an unknown key 'option' in data", "did you mean 'options'?"),
    ({"data": {"name": "digits", "content": 3}}, ": data.content is a number; wanted an object or null", None),
    ({"callbacks": "csv"}, ": callbacks is text; wanted a list", None),
    ({"callbacks": ["csv", None]}, ": callbacks[1] is null; wanted text or an object", None),
    ({"data": {"name": "digits", "content": {"train": -1}}}, ": data.content.train is -1; wanted a whole number or null", None),
    ({"data": {"name": "digits", "content": {"classes": [3]}}}, ": data.content.classes[0] is a number; wanted text", None),
    (
        {"data": {"name": "digits", "options": {"data_dir": 3}}},
        ": data.options.data_dir is a number; wanted text or null",
        None,
    ),
    ({"model": {"name": "mlp", "parameters": 1.5}}, ": model.parameters is 1.5; wanted a whole number or null", None),
    ({"settings": {"processes": 0}}, ": processes is 0; wanted a whole number of at least 1", None),
    ({"settings": {"lr": {"value": 1, "source": 3}}}, ": settings.lr.source is a number; wanted text or null", None),
    ({"threads": "x"}, ': threads is "x"; wanted a whole number or null', None),
    ({"commands": [3]}, ": commands[0] is a number; wanted text", None),
    ({"commands": "fit"}, ": commands is text; wanted a list", None),
    ({"created": 2026}, ": created is a number; wanted text or null", None),
]


@pytest.mark.parametrize(("content", "message", "tip"), CASES, ids=[str(content)[:50] for content, _, _ in CASES])
def test_what_cannot_be_taken_is_said(tmp_path: Path, content: Any, message: str, tip: str | None) -> None:
    path = tmp_path / "c.json"
    with pytest.raises(ConfigurationError) as error:
        read(path, content)
    assert (str(error.value), error.value.tip) == (f"config file {path}{message}", tip)


def test_a_file_that_is_nested_too_deep_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"c.json is not JSON .*; wanted a run's config.json"):
        read(tmp_path / "c.json", "[" * 100_000)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.json", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError) as error:
            read_config_file(path)
        assert str(error.value) == f"cannot read config file {path}: {reason}; wanted a run's config.json"
