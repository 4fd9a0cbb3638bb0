"""A trained model as one file for elsewhere, preprocessing included, held against the model before it is kept."""

from __future__ import annotations

import copy
import importlib
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from tinyclsf.deployment.exported_files import (
    PixelClassifier,
    blaming_the_file,
    load_exported,
    load_onnx,
    load_pt2,
    quiet,
    write_onnx,
    write_pt2,
    write_safetensors,
)
from tinyclsf.deployment.prediction import takes_pictures
from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError, TinyclsfError
from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.storage import StrPath, check_target, write_whole
from tinyclsf.modules import Classifier, Fit
from tinyclsf.pictures.picture_source import picture_source
from tinyclsf.registry.plugins import blamed_on, find, own_version
from tinyclsf.runs.models import CARD, FORMAT, WEIGHTS, read_card
from tinyclsf.runs.trained_run import TrainedRun, choose_split, load_run, load_splits

FILES = {"onnx": "model.onnx", "pt2": "model.pt2", "safetensors": "export.safetensors"}
_WRITERS: dict[str, Callable[..., int | None]] = {"onnx": write_onnx, "pt2": write_pt2, "safetensors": write_safetensors}
_LOADERS: dict[str, Callable[[Path], Any]] = {"onnx": load_onnx, "pt2": load_pt2, "safetensors": load_exported}
_USES = {
    "onnx": (
        "json, onnxruntime",
        """model = onnxruntime.InferenceSession({path})
logits = model.run(["logits"], {{"images": images}})[0]
classes = json.loads(model.get_modelmeta().custom_metadata_map["classes"])""",
    ),
    "pt2": (
        "json, torch",
        """card = {{"card.json": ""}}
logits = torch.export.load({path}, extra_files=card).module()(torch.from_numpy(images))
classes = json.loads(card["card.json"])["classes"]""",
    ),
    "safetensors": (
        "tinyclsf, torch",
        """model = tinyclsf.load_exported({path})
logits = model(torch.from_numpy(images))
classes = model.classifier.classes""",
    ),
}
_ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_CHECKED_IMAGES = 256
_CHECKED_VALUES = 1 << 23  # pixel values in all, so that large images in large networks take no minutes
_BATCH = 32
_TOLERANCE = 1e-4  # of logits up to 1, a share of larger ones: float32 in another order of summing


class Check(NamedTuple):
    """How close the logits of the file are to those of the model; split is None for random images."""

    images: int
    split: str | None
    max_difference: float
    tolerance: float
    same_classes: int


@dataclass(frozen=True)
class Export:
    """An exported and checked file: it takes images, uint8 (n, *image_shape) of 0..255, and gives logits (n, len(classes))."""

    path: Path
    format: str
    bytes: int
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    fit: Fit
    output_type: str
    opset: int | None
    checked: Check
    versions: dict[str, str]

    @property
    def input(self) -> dict[str, Any]:
        """What goes in."""
        return {"name": "images", "type": "uint8", "shape": ["n", *self.image_shape], "range": [0, 255]}

    @property
    def output(self) -> dict[str, Any]:
        """What comes out."""
        return {"name": "logits", "type": self.output_type, "shape": ["n", len(self.classes)]}

    @property
    def usage(self) -> str:
        """Python that uses the file: on a picture, read as training read its own, where images are such that they can be."""
        modules, use = _USES[self.format]
        channels, size, _ = shape = self.image_shape
        reader, images = "import numpy as np", f'np.zeros({(8, *shape)}, "uint8")'
        if takes_pictures(shape):
            reader, images = picture_source(size, channels, self.fit) + "\n", 'read_picture("photo.jpg")[None]'
        used = use.format(path=repr(str(self.path)))
        told = "print([classes[index] for index in logits.argmax(1)])"
        return f"import {modules}\n{reader}\nimages = {images}  # yours go here\n{used}\n{told}"


def export_model(run: StrPath | TrainedRun, to: str = "onnx", out: StrPath | None = None) -> Export:
    """Export the model of a run to a file, by default in the run folder, and check that both give the same outputs.

    If the run's data cannot be read, the check uses random images and a DataWarning says so.
    Raises: ConfigurationError for an unknown format, a file name that cannot be used or missing packages; ModelFileError
    if there is no trained model, or the outputs differ; PluginError if the network cannot be exported; StorageError if the
    file cannot be written. An existing file is only replaced by a checked one.
    """
    if not isinstance(to, str) or to not in FILES:
        raise ConfigurationError(f"there is no export format '{to}'; choose one of {', '.join(FILES)}")
    folder = run.folder if isinstance(run, TrainedRun) else as_path("run", run)
    path = folder / FILES[to] if out is None else as_path("out", out)
    _check_place(path, to)
    versions = versions_for(to)
    trained = run if isinstance(run, TrainedRun) else load_run(folder)
    if to == "safetensors" and read_card(folder).plugin is None:
        raise ConfigurationError(
            f"the model of {folder} was given in Python, and a safetensors export needs a model plugin; "
            "export it to onnx or pt2"
        )
    classifier, (split, images) = trained.model, _sample(trained)
    with tempfile.TemporaryDirectory(prefix="tinyclsf-") as scratch:
        made = Path(scratch, path.name)
        opset, checked, output_type = write_checked(classifier, to, made, _card(folder, classifier), images, split)
        content = made.read_bytes()
    write_whole(path, lambda file: file.write(content))
    shape = tuple(classifier.image_shape)
    return Export(path, to, len(content), classifier.classes, shape, classifier.fit, output_type, opset, checked, versions)


def write_checked(
    classifier: Classifier, to: str, path: Path, card: dict[str, Any], images: Tensor, split: str | None = None
) -> tuple[int | None, Check, str]:
    """Write a file of a model and hold it against the model, with one image and with many at a time.

    What comes back is the opset of ONNX, how close both are, and the type of the logits.
    Shapes: images (n, *image_shape) uint8, of a split or random ones.
    Raises: PluginError if the network cannot be exported; ModelFileError if the outputs differ.
    """
    plain = copy.deepcopy(classifier).cpu().to(memory_format=torch.contiguous_format)
    model = PixelClassifier(plain).eval().requires_grad_(False)
    opset = _WRITERS[to](model, path, card)
    with blaming_the_file(to):
        runner = _LOADERS[to](path)
    return opset, *_check(model, runner, to, images, split)


def _check_place(path: Path, to: str) -> None:
    """Find out before the work whether the file can be written, and that it is none of a run's own."""
    suffix = Path(FILES[to]).suffix
    if path.suffix != suffix:
        raise ConfigurationError(f"{path} does not end in {suffix}, as files of {to} do; give another name")
    check_target(path)  # and with it, whether its folder can be searched
    if path.name == WEIGHTS and (path.parent / CARD).exists():
        raise ConfigurationError(f"{path} holds the weights of a run, which an export does not write over; give another name")


def versions_for(to: str) -> dict[str, str]:
    """The versions of the packages that write a format.

    Raises: ConfigurationError if one is missing.
    """
    found = {"tinyclsf": own_version(), "torch": torch.__version__}
    try:
        with quiet():
            for name in _ONNX_PACKAGES if to == "onnx" else ():
                found[name] = importlib.import_module(name).__version__
    except ImportError as error:
        packages = "onnx, onnxruntime and onnxscript"
        raise ConfigurationError(f"an export to onnx needs the packages {packages}; pip install 'tinyclsf[onnx]'") from error
    return found


def _card(folder: Path, classifier: Classifier) -> dict[str, Any]:
    shape = ", ".join(map(str, classifier.image_shape))
    return {
        "format": FORMAT,
        **read_card(folder)._asdict(),
        "input": f"images: uint8 (n, {shape}), pixels 0..255",
        "output": f"logits (n, {len(classifier.classes)}), one for each class in the order of classes",
        "tinyclsf": own_version(),
    }


def _check(
    model: PixelClassifier, runner: Callable[[Tensor], Tensor], to: str, images: Tensor, split: str | None
) -> tuple[Check, str]:
    expected, found = [], []
    with torch.no_grad(), blaming_the_file(to):
        for batch in (images[:1], *(images[at : at + _BATCH] for at in range(1, len(images), _BATCH))):
            expected.append(model(batch))
            found.append(runner(batch))
        right, logits = torch.cat(expected), torch.cat(found)
    difference = float((logits.double() - right.double()).abs().max())
    tolerance = _TOLERANCE * max(1.0, float(right.abs().max()))
    if not difference <= tolerance:  # NaN is in no order
        raise ModelFileError(
            f"the {to} file gives logits that differ from the model's by up to {difference:.1e}, "
            f"and {tolerance:.1e} is allowed; it is not kept, so choose another format"
        )
    same = int((logits.argmax(1) == right.argmax(1)).sum())
    return Check(len(images), split, difference, tolerance, same), str(logits.dtype).removeprefix("torch.")


def _sample(run: TrainedRun) -> tuple[str | None, Tensor]:
    """Images (n, c, h, w) uint8 from all over the split that the run was scored on, or random ones without its data."""
    count = max(8, min(_CHECKED_IMAGES, _CHECKED_VALUES // torch.Size(run.model.image_shape).numel()))
    try:
        split, dataset = choose_split(load_splits(run), None)
        with blamed_on(find("dataset", run.data.name), "failed to give an image"):
            if isinstance(dataset, IterableDataset):
                samples = list(islice(dataset, count))
            else:
                size = len(dataset)  # type: ignore[arg-type]  # what is no stream has a length
                taken = min(size, count)
                samples = [dataset[at * size // taken] for at in range(taken)]
        return split, _as_pixels(torch.stack([sample[0] for sample in samples]), run.model.white)
    except TinyclsfError as error:
        warnings.warn(
            f"the data of {run.folder} cannot be read, so the export is checked on random images: {error}",
            DataWarning,
            stacklevel=3,
        )
    generator = torch.Generator().manual_seed(0)
    return None, torch.randint(256, (count, *run.model.image_shape), dtype=torch.uint8, generator=generator)


def _as_pixels(stored: Tensor, white: float) -> Tensor:
    return stored if stored.dtype == torch.uint8 else (stored * 255 / white).round().clamp(0, 255).to(torch.uint8)
