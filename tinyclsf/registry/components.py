"""Plugins with their options resolved, and the data sets and models that they build."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError, PluginError
from tinyclsf.machine.randomness import without_trace
from tinyclsf.machine.torch_errors import translated
from tinyclsf.metrics import Labelled
from tinyclsf.modules import Classifier, show_images
from tinyclsf.preparation import REPLACED
from tinyclsf.recipes import Recipe, RecipeOfOptions
from tinyclsf.registry.options import REQUIRED, Setting, read_options
from tinyclsf.registry.plugins import Plugin, blamed_on, check_result, full_name, load
from tinyclsf.registry.signatures import attribute_of, completed, options_of


@dataclass(frozen=True)
class Component:
    """A plugin that was loaded, and every option that it is called with."""

    plugin: Plugin
    factory: Callable[..., Any]
    options: dict[str, Setting]

    @property
    def values(self) -> dict[str, Any]:
        """The options as keyword arguments."""
        return {name: setting.value for name, setting in self.options.items()}

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of a model, if it has one.

        Raises: PluginError if it is not made by `@recipe`.
        """
        return recipe_of(self.plugin, self.factory, self.values)

    @property
    def data_options(self) -> dict[str, Any]:
        """The options of a data set that a model's recipe names."""
        found = attribute_of(self.factory, "data_options") or {}
        with blamed_on(self.plugin, "failed to say what data it wants"):
            return dict(found(**self.values) if callable(found) else found)

    def described(self) -> dict[str, Any]:
        """The component as JSON, with the values of all its options, so that it can be built again."""
        options = {key: _saved(value) for key, value in self.values.items()}
        plugin = {"name": self.plugin.name, "package": self.plugin.package, "package_version": self.plugin.package_version}
        return {**plugin, "options": options}


def recipe_of(plugin: Plugin, factory: Callable[..., Any], options: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a model with these options, if it has one.

    Raises: PluginError if it is not made by `@recipe`, or its function fails.
    """
    found = attribute_of(factory, "recipe")
    if isinstance(found, RecipeOfOptions):
        with blamed_on(plugin, "failed to choose its recipe"):
            found = Recipe(**found.settings(**options))
    if found is not None and not isinstance(found, Recipe):
        raise PluginError(
            f"{full_name(plugin)} has a recipe of type {type(found).__name__}; wanted one made by @recipe(...), "
            "and another name for an attribute that is no recipe"
        )
    return found


def _saved(value: Any) -> Any:
    """An option as JSON that `read_options` reads back."""
    if isinstance(value, Path):
        return str(value.absolute())  # one that is relative now leads elsewhere from another folder
    if isinstance(value, tuple):
        return [_saved(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _below(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that given ones take the place of."""
    replaced = {other for name in given for other in REPLACED.get(name, ())}
    return {name: value for name, value in options.items() if name not in replaced}


def load_component(
    plugin: Plugin,
    given: Mapping[str, Any],
    *,
    saved: Mapping[str, Any] | None = None,
    wanted: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Component:
    """Import a plugin, resolve its options, and let it check them: given, else saved by another run, else its own defaults.

    Options are text, as on the command line, or values. Those `wanted` by a model's recipe come before the defaults, where the
    plugin has them. A `data_dir` without a default is $TINYCLSF_DATA, else
    ~/.cache/tinyclsf. A `check_options` that is attached to the plugin is called with all options.
    Raises: PluginError if the plugin cannot be imported or fails; ConfigurationError for an option that it does not have or
    that is not of its type; what `check_options` raises.
    """
    with _with_gradients(plugin):
        factory = load(plugin)
    saved = completed(factory, saved or {})
    known = options_of(plugin.kind, plugin.name, factory)
    uses_data_dir = plugin.kind == "dataset" and "data_dir" in known
    saved_dir = saved.pop("data_dir", None) if uses_data_dir else None
    saved = _below(given, saved)
    recipe = {name: value for name, value in (wanted or {}).items() if name in known and name not in saved}
    recipe = _below({**saved, **given}, recipe)
    values = read_options(plugin.kind, plugin.name, known, {**recipe, **saved, **given})
    options = {name: Setting(option.default, "default") for name, option in known.items() if option.default is not REQUIRED}
    for name, value in values.items():
        if name in given:
            options[name] = Setting(value, f"-{plugin.kind[0]}")
        elif name in recipe:
            options[name] = Setting(value, "recipe")
        elif name not in options or value != options[name].value:
            options[name] = Setting(value, "config")
    if data_dir is not None:
        if not uses_data_dir:
            other = ", or name other data, as with --data image-folder" if plugin.kind == "dataset" else ""
            raise ConfigurationError(f"{plugin.kind} {plugin.name} does not use --data-dir; leave it out{other}")
        options["data_dir"] = Setting(Path(data_dir), "--data-dir")
    elif saved_dir is not None:
        options["data_dir"] = Setting(Path(saved_dir), "config")
    elif uses_data_dir and "data_dir" not in options:
        if folder := os.environ.get("TINYCLSF_DATA"):
            options["data_dir"] = Setting(Path(folder), "$TINYCLSF_DATA")
        else:
            options["data_dir"] = Setting(_home_folder(plugin), "default")
    component = Component(plugin, factory, {name: options[name] for name in known})
    if (check_options := attribute_of(factory, "check_options")) is not None:
        with blamed_on(plugin, "failed in check_options"):
            check_options(**component.values)
    return component


def _home_folder(plugin: Plugin) -> Path:
    try:
        return Path("~/.cache/tinyclsf").expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"there is no home folder that {plugin.kind} {plugin.name} could be kept in; give its folder as --data-dir FOLDER"
        ) from error


def build_splits(component: Component) -> Splits:
    """The data set.

    Raises: PluginError if the plugin fails or returns no Splits; TrainingError if the memory is too small; DataError as the
    plugin says.
    """
    memory = translated(
        lambda: f"data set {component.plugin.name}", advice="use fewer or smaller images, or close other programs"
    )
    with _with_gradients(component.plugin), blamed_on(component.plugin, "failed"), memory:
        splits = check_result(component.plugin, component.factory(**component.values), Splits)
    for name, dataset in splits.by_name.items():
        if not isinstance(dataset, (Images, IterableDataset)):
            with without_trace(), blamed_on(component.plugin, f"failed to give the first image of its {name} split"):
                x, y = dataset[0]
                label = index(y)
            if not isinstance(x, torch.Tensor) or tuple(x.shape) != tuple(splits.image_shape):
                found = f"of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"
                raise DataError(f"image 0 of the {name} split is {found}; wanted a tensor of shape {tuple(splits.image_shape)}")
            Labelled(torch.tensor([label]), len(splits.classes)).check(f"the {name} split")
    return splits


def build_model(component: Component, splits: Splits) -> Classifier:
    """The model for a data set, tried on two blank images; a network with a method `look_at` has looked at training images.

    Raises: PluginError if the plugin fails, or its model gives anything but a logit for each image and class; TrainingError if
    the memory is too small; ConfigurationError if it has to look at images that come as a stream.
    """
    shape, num_classes = splits.image_shape, len(splits.classes)
    blame = blamed_on(component.plugin, f"failed for {num_classes} classes of images {shape}")
    memory = translated(lambda: f"model {component.plugin.name}", advice="use a smaller model or smaller images")
    with _with_gradients(component.plugin), blame, memory:
        network = check_result(component.plugin, component.factory(shape, num_classes, **component.values), torch.nn.Module)
    model = Classifier(splits.preprocess, network, splits.classes, shape, splits.white, splits.fit)
    if hasattr(network, "look_at"):
        if not isinstance(splits.train, Sized):
            raise ConfigurationError(
                f"model {component.plugin.name} looks at training images before it trains, and this data set is a stream, "
                "which is read only once; choose another model, or other data"
            )
        with _with_gradients(component.plugin), blamed_on(component.plugin, "failed in look_at"):
            show_images(model, splits.train)
    with blamed_on(component.plugin, f"failed on images {shape}"), torch.no_grad():
        out = model.eval()(torch.zeros(2, *shape))
    dense = isinstance(out, torch.Tensor) and out.layout == torch.strided
    if not dense or out.shape != (2, num_classes) or not out.is_floating_point():
        found = type(out).__name__
        if dense:
            found = f"shape {tuple(out.shape)}" if out.is_floating_point() else f"type {out.dtype}"
        raise PluginError(
            f"{full_name(component.plugin)} gave outputs of {found} for 2 images; wanted logits of shape (2, {num_classes})"
        )
    return model


def check_can_learn(component: Component, model: Classifier) -> None:
    """Find out before training what would end it, or leave weights that nothing can read back.

    Raises: PluginError if there is nothing to train, a weight is not a finite number, or the state is not of tensors alone.
    """
    owner = full_name(component.plugin)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise PluginError(
            f"{owner} has no parameter that requires a gradient, so there is nothing to train; "
            "leave requires_grad True for some of them"
        )
    with _with_gradients(component.plugin), blamed_on(component.plugin, "failed on images"), without_trace():
        out = model.eval()(torch.zeros(2, *model.image_shape))
    if not out.requires_grad:
        raise PluginError(
            f"{owner} gives outputs that do not depend on its parameters for PyTorch; "
            "leave torch.no_grad(), inference_mode() and detach() out of its forward"
        )
    with blamed_on(component.plugin, "failed in state_dict"):
        state = model.state_dict()
    for name, value in state.items():
        key = name.removeprefix("network.")
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            found = "sparse tensor" if isinstance(value, torch.Tensor) else type(value).__name__
            raise PluginError(
                f"{owner} has a {found} in its state, at {key}, which no saved model can hold; "
                "wanted tensors alone of state_dict and get_extra_state, that are not sparse"
            )
        if not value.isfinite().all():
            raise PluginError(f"{owner} begins with values in {key} that are not finite numbers; mend how it fills them")
    with blamed_on(component.plugin, "cannot take back its own state"):
        model.load_state_dict(state)


@contextmanager
def _with_gradients(plugin: Plugin) -> Iterator[None]:
    """Hold a plugin to leaving gradients on, where they are."""
    before = torch.is_grad_enabled()
    yield
    if before and not torch.is_grad_enabled():
        torch.set_grad_enabled(True)
        advice = "use 'with torch.no_grad():' around what needs none"
        raise PluginError(f"{full_name(plugin)} turns gradients off for all; {advice}")
