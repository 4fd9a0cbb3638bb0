"""Options of a plugin, from wherever they come, and how a part is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyclsf.errors import ConfigurationError
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.plugins import find
from tinyclsf.registry.signatures import options_of


def given(part: Component, *names: str) -> list[tuple[object, str]]:
    return [tuple(part.options[name]) for name in names]


def test_an_option_says_where_it_came_from() -> None:
    saved = {"train_size": "50000", "seed": "3", "fraction": "0.5"}
    part = load_component(find("dataset", "digits"), {"fraction": "0.25"}, saved=saved)
    # One that was saved and is the default is that.
    assert given(part, "train_size", "seed", "fraction") == [(50_000, "default"), (3, "config"), (0.25, "-d")]
    assert saved == {"train_size": "50000", "seed": "3", "fraction": "0.5"}
    assert given(load_component(find("model", "mlp"), {"batch_norm": "true"}), "batch_norm") == [(True, "-m")]


def test_options_come_in_the_order_of_the_plugin_and_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plugin = find("dataset", "image-folder")
    usual = load_component(plugin, {})
    part = load_component(plugin, {"size": "12"}, data_dir=Path("photos"))
    assert list(part.options) == list(usual.options) == list(part.values)
    mnist = load_component(find("dataset", "mnist"), {})  # whose data_dir has no default
    assert list(mnist.options) == list(options_of("dataset", "mnist", mnist.factory))
    described = part.described()
    assert (described["name"], described["package"]) == ("image-folder", "tinyclsf")
    assert (described["options"]["size"], described["options"]["data_dir"]) == (12, str(tmp_path / "photos"))


def test_where_the_files_of_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, saved = find("dataset", "mnist"), {"data_dir": "saved"}
    monkeypatch.delenv("TINYCLSF_DATA", raising=False)
    assert given(load_component(plugin, {}), "data_dir") == [(Path("~/.cache/tinyclsf").expanduser(), "default")]
    monkeypatch.setenv("TINYCLSF_DATA", str(tmp_path))
    assert given(load_component(plugin, {}), "data_dir") == [(tmp_path, "$TINYCLSF_DATA")]
    assert given(load_component(plugin, {}, saved=saved), "data_dir") == [(Path("saved"), "config")]
    assert given(load_component(plugin, {}, saved=saved, data_dir=Path("here")), "data_dir") == [(Path("here"), "--data-dir")]
    with pytest.raises(ConfigurationError) as error:
        load_component(find("dataset", "digits"), {}, data_dir=Path("here"))
    assert str(error.value) == "dataset digits does not use --data-dir; leave it out"
    with pytest.raises(ConfigurationError, match="data_dir"):  # an unknown option is never dropped
        load_component(find("dataset", "digits"), {}, saved=saved)
