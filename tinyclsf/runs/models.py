"""Saving and loading trained models: whole files or none, and never a pickle."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import safetensors
import safetensors.torch
from torch import Tensor, contiguous_format, nn

from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError, shape_as_text
from tinyclsf.machine.arguments import as_path, check_type
from tinyclsf.machine.json_text import is_number, is_whole
from tinyclsf.machine.storage import StrPath, storing, write_json, write_whole
from tinyclsf.modules import Classifier, Fit, Preprocess
from tinyclsf.registry.options import REQUIRED, read_options
from tinyclsf.registry.plugins import Plugin, blamed_on, check_result, find, load
from tinyclsf.registry.signatures import completed, options_of
from tinyclsf.runs.folder import odd_value, read_json, reading

FORMAT = 1
WEIGHTS = "model.safetensors"
CARD = "model.json"
_MOST_VALUES = 2**27  # of an image, half a gigabyte of float32


class Card(NamedTuple):
    """What `model.json` says: what a model takes and gives, and `name` and `options` of the plugin that built its network."""

    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    white: float
    plugin: dict[str, Any] | None
    fit: Fit = "crop"  # cards from before have none, and were of nothing else


def save_model(model: Classifier, folder: StrPath, *, plugin: Mapping[str, Any] | None = None) -> None:
    """Save a classifier: `model.json` describes it, `model.safetensors` has the weights and the scaling.

    The folder is made if it does not exist.
    `plugin` has the `name` and `options` of the model plugin that built the network; without it, `load_model` needs a network.
    Raises: StorageError if a file cannot be written; an existing file then stays unchanged.
    """
    check_type("model", model, Classifier, wanted="a Classifier")
    check_type("plugin", plugin, Mapping, type(None), wanted="a dictionary with name and options")
    path = as_path("folder", folder)
    with storing(path):
        path.mkdir(parents=True, exist_ok=True)
    save_card(model, path, plugin=plugin)
    save_weights(model, path / WEIGHTS)


def save_card(model: Classifier, folder: Path, *, plugin: Mapping[str, Any] | None = None) -> None:
    """Write `model.json`: what the model takes and gives, and the plugin that built its network with the options."""
    card = {
        "format": FORMAT,
        "classes": list(model.classes),
        "image_shape": list(model.image_shape),
        "white": model.white,
        "fit": model.fit,
        "plugin": None if plugin is None else dict(plugin),
    }
    write_json(folder / CARD, card)


def save_weights(model: nn.Module, path: Path, *, notes: dict[str, str] | None = None) -> None:
    """Write a model's parameters and buffers as safetensors, with notes in its header."""
    # safetensors wants plain layouts that share no memory; channels_last and tied weights are copied into such.
    state = {key: value.detach().cpu().clone(memory_format=contiguous_format) for key, value in model.state_dict().items()}
    write_whole(path, lambda file: file.write(safetensors.torch.save(state, metadata=notes)))


def load_model(folder: StrPath, network: nn.Module | None = None) -> Classifier:
    """Load the trained classifier of a run folder, on the CPU in evaluation mode; it takes images as the data set stores them.

    Without `network`, the model plugin named in `model.json` builds one.
    Raises: ModelFileError if a file is missing, broken, of a newer format, has weights that are not finite numbers, or does
    not fit the network, or if its plugin is not installed; PluginError if the plugin fails.
    """
    path = as_path("folder", folder)
    if network is not None:
        check_type("network", network, nn.Module, wanted="an nn.Module")
    card, weights = read_card(path), path / WEIGHTS
    if network is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # of the weights that it begins with
            network = _build(path / CARD, card)
    state = read_weights(weights)
    per_channel = [
        name in state and state[name].numel() == card.image_shape[0] for name in ("preprocess.mean", "preprocess.std")
    ]
    mean, std = ([0.0] * card.image_shape[0] if each else 0.0 for each in per_channel)
    model = Classifier(Preprocess(mean, std), network, card.classes, card.image_shape, card.white, card.fit)
    _fill(model, state, weights)
    return model.eval()


def restore_weights(model: nn.Module, path: Path) -> None:
    """Load the weights of a safetensors file into a model.

    Raises: ModelFileError if the file is missing or broken, or has weights that are not finite numbers or do not fit the model.
    """
    _fill(model, read_weights(path), path)


def read_card(folder: Path) -> Card:
    """The `model.json` of a run folder.

    Raises: ModelFileError if it is missing, broken or of a newer format.
    """
    path = folder / CARD
    found = {**Card._field_defaults, **read_json(path, "wanted a run folder with a trained model", "a model")}
    if {"format", *Card._fields} - set(found):
        raise ModelFileError(f"{path} lacks format, classes, image_shape, white or plugin; it is not a model's")
    if found["format"] != FORMAT:
        raise ModelFileError(f"{path} has format {found['format']} and this tinyclsf reads {FORMAT}; upgrade tinyclsf")
    classes, shape, white, plugin, fit = (found[name] for name in Card._fields)
    named = isinstance(plugin, dict) and isinstance(plugin.get("name"), str) and isinstance(plugin.get("options"), dict)
    texts = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    sizes = isinstance(shape, list) and len(shape) == 3 and all(is_whole(size, 1) for size in shape)
    for name, holds, wanted in (
        ("classes", texts and classes, "a list of texts"),
        ("image_shape", sizes, "channels, height and width"),
        ("white", is_number(white) and white > 0, "a number above 0"),
        ("plugin", plugin is None or named, "an object with name and options, or null"),
        ("fit", fit in get_args(Fit), f"one of {'|'.join(get_args(Fit))}"),
    ):
        if not holds:
            raise odd_value(path, name, found[name], f"{wanted}; the file is broken")
    if math.prod(shape) > _MOST_VALUES:
        raise ModelFileError(f"{path} is for images of {shape_as_text(shape)}, which are too large; the file is broken")
    return Card(tuple(classes), tuple(shape), float(white), plugin, fit)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises: ModelFileError if the file is missing or broken.
    """
    with _reading(path):
        return safetensors.torch.load(path.read_bytes())


def weights_epoch(path: Path) -> int | None:
    """The epoch that the weights of a safetensors file are of, as `BestModel` notes it; None where nothing is noted.

    Raises: ModelFileError if the file is missing or broken.
    """
    # Opened first by Python, whose errors say what is wrong.
    with _reading(path), path.open("rb"), safetensors.safe_open(path, framework="pt") as file:
        epoch = (file.metadata() or {}).get("epoch", "")
    return int(epoch) if epoch.isdecimal() and len(epoch) < 10 else None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with reading(path, "wanted the weights of a trained model"):
            yield
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"{path} is not a whole safetensors file ({error}); save the model again") from error


def _fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    wanted = model.state_dict()
    for name, tensor in state.items():
        kinds = [(each.dtype.is_floating_point, each.dtype.is_complex) for each in (tensor, wanted.get(name, tensor))]
        if kinds[0] != kinds[1]:
            raise ModelFileError(f"{path} has {tensor.dtype} in {name}; wanted {wanted[name].dtype}; train it again")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        found = " ".join(str(error).split())
        raise ModelFileError(f"{path} does not fit its network: {found}") from error
    for name, loaded in model.state_dict().items():
        if not loaded.isfinite().all():
            raise ModelFileError(
                f"{path} has values in {name} that are not finite numbers, so the model is of no use; train it again"
            )


def options_to_load(plugin: Plugin, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a model plugin builds a network with whose weights were saved.

    Left out is what it may be begun from, a file or pretrained weights: what was in those is in the saved weights now.
    Raises: ConfigurationError for an option that the plugin does not have or that is not of its type.
    """
    factory = load(plugin)
    known = options_of("model", plugin.name, factory)
    begun_from = {key for key, option in known.items() if Path in option.alternatives and option.default is not REQUIRED}
    begun_from.add("pretrained")
    kept = {key: value for key, value in completed(factory, saved).items() if key not in begun_from}
    return read_options("model", plugin.name, known, kept)


def _build(path: Path, card: Card) -> nn.Module:
    plugin, image_shape, num_classes = card.plugin, card.image_shape, len(card.classes)
    if plugin is None:
        raise ModelFileError(f"{path} names no model plugin; hand load_model the network that was trained")
    try:
        found = find("model", plugin["name"])
        options = options_to_load(found, plugin["options"])
    except ConfigurationError as error:
        raise ModelFileError(f"{path} needs a model plugin as it was trained with: {error}", tip=error.tip) from error
    with blamed_on(found, f"failed for {num_classes} classes of images {image_shape}"):
        return check_result(found, load(found)(image_shape, num_classes, **options), nn.Module)
