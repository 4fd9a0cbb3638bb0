"""Plugins with their options resolved, and the data sets and models that they build."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinyclsf.data import Splits
from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.modules import Classifier
from tinyclsf.registry.options import REQUIRED, Setting, as_json, options_of, parse_options
from tinyclsf.registry.plugins import Plugin, blamed_on, check_result, load


@dataclass(frozen=True)
class Part:
    """A plugin that was loaded, and every option that it is called with."""

    plugin: Plugin
    factory: Callable[..., Any]
    options: dict[str, Setting]

    @property
    def values(self) -> dict[str, Any]:
        """The options as keyword arguments."""
        return {name: setting.value for name, setting in self.options.items()}

    def described(self) -> dict[str, Any]:
        """The part as JSON, with the values of all its options, so that it can be built again."""
        return {
            "name": self.plugin.name,
            "package": self.plugin.package,
            "package_version": self.plugin.package_version,
            # A path that is relative now leads elsewhere from another folder.
            "options": {
                name: as_json(value.absolute() if isinstance(value, Path) else value) for name, value in self.values.items()
            },
        }


def load_part(
    plugin: Plugin, texts: Mapping[str, str], *, saved: Mapping[str, str] | None = None, data_dir: Path | None = None
) -> Part:
    """Import a plugin and resolve its options: given as text, else saved by another run, else its own defaults.

    A `data_dir` without a default is $TINYCLSF_DATA, else ~/.cache/tinyclsf, where --data-dir says nothing.
    Raises: PluginError if it cannot be imported; ConfigurationError for an option that it does not have.
    """
    saved = dict(saved or {})
    factory = load(plugin)
    known = options_of(plugin.kind, plugin.name, factory)
    saved_dir = saved.pop("data_dir", None) if plugin.kind == "dataset" and "data_dir" in known else None
    given = parse_options(plugin.kind, plugin.name, factory, {**saved, **texts})
    options = {name: Setting(option.default, "default") for name, option in known.items() if option.default is not REQUIRED}
    for name, value in given.items():
        if name in texts:
            options[name] = Setting(value, f"-{plugin.kind[0]}")
        elif name not in options or value != options[name].value:
            options[name] = Setting(value, "config")
    if data_dir is not None and "data_dir" not in known:
        raise ConfigurationError(f"{plugin.kind} {plugin.name} does not use --data-dir; leave it out")
    if data_dir is not None:
        options["data_dir"] = Setting(data_dir, "--data-dir")
    elif saved_dir is not None:
        options["data_dir"] = Setting(Path(saved_dir), "config")
    elif "data_dir" in known and "data_dir" not in options:
        options["data_dir"] = _default_data_dir()
    return Part(plugin, factory, {name: options[name] for name in known})


def build_splits(part: Part) -> Splits:
    """The data set.

    Raises: PluginError if the plugin fails or returns no Splits; DataError as the plugin says.
    """
    with blamed_on(part.plugin, "failed"):
        splits = part.factory(**part.values)
    check_result(part.plugin, splits, Splits)
    assert isinstance(splits, Splits)
    return splits


def build_model(part: Part, splits: Splits) -> Classifier:
    """The model for a data set, tried on two blank images.

    Raises: PluginError if the plugin fails, or its model gives anything but a logit for each image and class.
    """
    shape, num_classes = splits.image_shape, len(splits.classes)
    with blamed_on(part.plugin, f"failed for {num_classes} classes of images {shape}"):
        network = part.factory(shape, num_classes, **part.values)
    check_result(part.plugin, network, torch.nn.Module)
    model = Classifier(splits.preprocess, network, splits.classes, shape, splits.white)
    with blamed_on(part.plugin, f"failed on images {shape}"), torch.no_grad():
        out = model.eval()(torch.zeros(2, *shape))
    if not isinstance(out, torch.Tensor) or out.shape != (2, num_classes):
        found = f"shape {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
        raise PluginError(
            f"model '{part.plugin.name}' of package {part.plugin.package} gave outputs of {found} for 2 images; "
            f"wanted logits of shape (2, {num_classes})"
        )
    return model


def _default_data_dir() -> Setting:
    folder = os.environ.get("TINYCLSF_DATA")
    if folder:
        return Setting(Path(folder), "$TINYCLSF_DATA")
    return Setting(Path("~/.cache/tinyclsf").expanduser(), "default")
