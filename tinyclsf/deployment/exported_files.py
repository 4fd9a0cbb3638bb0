"""The files that a model is exported to, written and loaded again: ONNX, PT2 of torch.export, safetensors with its card."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from tinyclsf.errors import ModelFileError, PluginError, TinyclsfError
from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.json_text import json_text
from tinyclsf.machine.storage import StrPath, write_whole
from tinyclsf.modules import Classifier
from tinyclsf.runs.models import CARD, WEIGHTS, load_model, save_weights

_ONNX_LIMIT = 2_000_000_000  # bytes; a protobuf message ends at 2 GiB


class PixelClassifier(nn.Module):
    """A classifier that takes the pixels of a picture.

    Shapes: images (n, c, h, w) uint8 of 0..255, to logits (n, classes).
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        white = self.classifier.white
        logits: Tensor = self.classifier(images if white == 255 else images * white / 255)
        return logits


def write_onnx(model: PixelClassifier, path: Path, card: dict[str, Any]) -> int:
    """Write an ONNX file of images to logits, with the card in its metadata, and return its opset.

    Raises: ModelFileError for a model of more than 2 GB; PluginError if the network cannot be exported.
    """
    import onnx

    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    if size > _ONNX_LIMIT:
        raise ModelFileError(f"the model has {size / 1e9:.1f} GB and an ONNX file holds at most 2 GB; export to pt2 instead")
    program = _traced(model, card, "onnx")
    with _blaming_the_model(card, "onnx"):
        made = torch.onnx.export(program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
        assert made is not None
        proto = made.model_proto
    _name_batch_axis(proto.graph)
    notes = {key: value if isinstance(value, str) else json_text(value) for key, value in card.items()}
    onnx.helper.set_model_props(proto, notes)
    content = proto.SerializeToString()
    write_whole(path, lambda file: file.write(content))
    return next(int(each.version) for each in proto.opset_import if each.domain in ("", "ai.onnx"))


def write_pt2(model: PixelClassifier, path: Path, card: dict[str, Any]) -> None:
    """Write a file of torch.export, with the card as its extra file card.json.

    Raises: PluginError if the network cannot be exported.
    """
    program = _traced(model, card, "pt2")
    content = io.BytesIO()
    with _blaming_the_model(card, "pt2"):
        torch.export.save(program, content, extra_files={"card.json": json_text(card)})
    write_whole(path, lambda file: file.write(content.getvalue()))


def write_safetensors(model: PixelClassifier, path: Path, card: dict[str, Any]) -> None:
    """Write the classifier's weights, with the card in the header."""
    save_weights(model.classifier, path, notes={"card": json_text(card)})


def load_onnx(path: Path) -> Any:
    """What runs an exported ONNX file on the CPU: images to logits."""
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def load_pt2(path: Path) -> nn.Module:
    """The module of an exported PT2 file."""
    return torch.export.load(path).module()


def load_exported(path: StrPath) -> PixelClassifier:
    """Load the model of an exported safetensors file, on the CPU in evaluation mode; its model plugin must be installed.

    Raises: ModelFileError if the file is missing, broken or has no card; PluginError if the plugin fails.
    """
    path = as_path("path", path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            card = (file.metadata() or {}).get("card")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFileError(f"cannot read {path}: {reason}; wanted an exported safetensors file") from error
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"{path} is not a whole safetensors file ({error}); export the model again") from error
    if card is None:
        raise ModelFileError(f"{path} has no card in its header; wanted a file of 'tinyclsf export RUN --to safetensors'")
    with tempfile.TemporaryDirectory(prefix="tinyclsf-") as scratch:
        # As a run's folder has them, for the one function that knows how to put them together.
        card_file, weights_file = Path(scratch, CARD), Path(scratch, WEIGHTS)
        card_file.write_text(card, encoding="utf-8")
        try:
            weights_file.symlink_to(path.absolute())
        except OSError:  # Windows allows it to few
            shutil.copyfile(path, weights_file)
        try:
            return PixelClassifier(load_model(scratch)).eval()
        except TinyclsfError as error:
            message = str(error).replace(str(card_file), str(path)).replace(str(weights_file), str(path))
            raise type(error)(message, tip=error.tip) from error


@contextlib.contextmanager
def blaming_the_file(to: str) -> Iterator[None]:
    """Turn what goes wrong when a file that was made is used into a ModelFileError of one sentence."""
    try:
        with quiet():
            yield
    except TinyclsfError:
        raise
    except Exception as error:
        raise ModelFileError(
            f"the {to} file that was made cannot be used: {_reason(error)}; it is not kept, so choose another format"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what exporters print, log and warn of: it is about their own insides."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _traced(model: PixelClassifier, card: dict[str, Any], to: str) -> torch.export.ExportedProgram:
    example = torch.zeros(2, *model.classifier.image_shape, dtype=torch.uint8)
    with _blaming_the_model(card, to), torch.no_grad():
        program = torch.export.export(model, (example,), dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths and the code of this machine are nothing to hand on
    return program


def _name_batch_axis(graph: Any) -> None:
    """Call the number of images n in an ONNX graph, where the exporter made up a name."""
    made_up = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.HasField("dim_param"):
                axis.dim_param = axis.dim_param.replace(made_up, "n")


@contextlib.contextmanager
def _blaming_the_model(card: dict[str, Any], to: str) -> Iterator[None]:
    """Turn what an exporter says of a network that it cannot take into a PluginError of one sentence."""
    try:
        with quiet():
            yield
    except Exception as error:
        name = (card["plugin"] or {}).get("name")
        raise PluginError(
            f"model '{name}' cannot be exported to {to}: {_reason(error)}; export to safetensors, or change its code"
        ) from error


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200].rstrip('.')}" if lines else type(error).__name__
