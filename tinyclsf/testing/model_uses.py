"""What a model plugin has to keep where its model is used: saved, moved, exported, in other number types and layouts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tinyclsf.analysis.model_checks import apart, trial_of
from tinyclsf.deployment.export import FILES, versions_for, write_checked
from tinyclsf.errors import ConfigurationError, ModelFileError, PluginError, TinyclsfError, join_names
from tinyclsf.machine.devices import place
from tinyclsf.machine.randomness import without_trace
from tinyclsf.modules import Classifier
from tinyclsf.registry.components import load_component
from tinyclsf.runs.models import WEIGHTS, options_to_load, read_weights, restore_weights, save_weights
from tinyclsf.testing.checking import Broken, CannotRun
from tinyclsf.testing.model_subject import CPU, NAMED, ModelSubject, told


def saved_state(subject: ModelSubject) -> None:
    """Its state is the same after it was saved as safetensors and read back."""
    model, state = subject.trial(), subject.model.state_dict()
    with tempfile.TemporaryDirectory(prefix="tinyclsf-") as folder:
        path = Path(folder, WEIGHTS)
        try:
            save_weights(model, path)
            read = read_weights(path)
        except Exception as error:
            raise Broken(f"its state cannot be saved as safetensors ({told(error)}); wanted tensors of plain numbers") from None
    others = [
        name
        for name, value in state.items()
        if name not in read or read[name].dtype != value.dtype or not torch.equal(read[name], value)
    ]
    if others:
        raise Broken(f"{join_names(others, NAMED)} come back changed from safetensors; wanted tensors of plain numbers")


def saved_weights(subject: ModelSubject) -> None:
    """Its weights, loaded into a model that was built anew, give the same outputs."""
    trained = subject.trial()
    subject.gradients(trained).step(trained, lr=1e-3)  # which moves running statistics, too
    saved = options_to_load(subject.plugin, subject.component().described()["options"])
    fresh = subject.seeded(1, component=load_component(subject.plugin, saved))
    with tempfile.TemporaryDirectory(prefix="tinyclsf-") as folder:
        path = Path(folder, WEIGHTS)
        try:
            save_weights(trained, path)
        except Exception:
            raise CannotRun("its state cannot be saved") from None
        try:
            restore_weights(fresh, path)
        except ModelFileError as error:
            text = str(error).replace(str(path), "its state").replace("; train it again", "")
            raise Broken(f"{text}; wanted a state that loads into a model that was built anew") from None
    if distance := apart(subject.outputs(trained), subject.outputs(fresh)):
        found = join_names(_unsaved(trained) or ["all that its outputs depend on"], NAMED)
        raise Broken(
            f"its weights, loaded into a model that was built anew, give outputs that differ by up to {distance:.2g}; "
            f"wanted the same: make {found} part of the state, as nn.Parameter or with register_buffer"
        )


def other_devices(subject: ModelSubject) -> None:
    """Moved to a GPU, it leaves no tensor behind on the CPU; none is needed to see that."""
    trial, x = trial_of(subject.model).eval(), subject.sample.x.clone()
    try:
        with without_trace(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            trial.to("cuda")
            trial(x.to("cuda"))
    except Exception as error:
        reason = " ".join(str(error).split())
        if "same device" not in reason and "different devices" not in reason:
            raise CannotRun(f"it cannot be followed without its values: {type(error).__name__}: {reason[:200]}") from None
        found = join_names(_plain(trial) or ["the tensors that it keeps"], NAMED)
        raise Broken(
            "on a GPU its forward would mix tensors of the GPU and the CPU; "
            f"wanted register_buffer for {found}, and device=x.device for those made in forward"
        ) from None


def bfloat16(subject: ModelSubject) -> None:
    """It trains with bfloat16, under autocast."""
    trial = subject.trial()
    with _working("under autocast to bfloat16", "take the type of what comes in, as in torch.zeros(..., dtype=x.dtype)"):
        found = subject.gradients(trial, precision="bfloat16")
    if not all(bool(each.isfinite().all()) for each in (torch.tensor(found.loss), *found.by_name.values())):
        raise Broken(
            "under autocast to bfloat16 its loss or a gradient is no finite number; "
            "wanted what needs exact numbers in float32: x.float() there, with autocast off"
        )


def channels_last(subject: ModelSubject) -> None:
    """It gives the same outputs where its weights lie channels last, and trains."""
    trial = subject.trial()
    expected = subject.outputs(trial)
    place(trial, CPU, "channels_last")
    with _working("with weights in the memory format channels_last", "use flatten or reshape in place of view"):
        found = subject.outputs(trial)
        subject.gradients(trial)
    if distance := apart(expected, found):
        raise Broken(
            f"with weights in the memory format channels_last its outputs differ by up to {distance:.2g}; "
            "wanted the same: nothing that reads memory in its order, such as as_strided"
        )


def onnx_export(subject: ModelSubject) -> None:
    """It can be exported to ONNX, and gives the same logits there."""
    _export(subject, "onnx")


def pt2_export(subject: ModelSubject) -> None:
    """It can be exported to PT2, and gives the same logits there."""
    _export(subject, "pt2")


def _export(subject: ModelSubject, to: str) -> None:
    try:
        versions_for(to)
    except ConfigurationError as error:
        raise CannotRun(str(error)) from None
    model, plugin = subject.model, subject.plugin
    images = torch.randint(256, (3, *model.image_shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="tinyclsf-") as folder:
        try:
            write_checked(model, to, Path(folder, FILES[to]), {"plugin": {"name": plugin.name}}, images)
        except PluginError as error:
            if "Constraints violated" not in str(error):
                raise
            found = str(error).partition(";")[0]
            wanted = "wanted any number of images: take it from x.shape[0] in forward, and not as len(x)"
            raise Broken(f"{found}; {wanted}") from None


@contextmanager
def _working(where: str, advice: str) -> Iterator[None]:
    """Say where a model raises that works elsewhere."""
    try:
        yield
    except TinyclsfError:
        raise
    except Exception as error:
        raise Broken(f"{where} it raises {told(error)}; wanted no error: {advice}") from None


def _plain(model: Classifier) -> list[str]:
    """The tensors that are attributes of a module, and neither parameters nor buffers."""
    found = []
    for name, module in model.network.named_modules():
        found += [f"{name}.{key}".lstrip(".") for key, value in vars(module).items() if isinstance(value, Tensor)]
    return found


def _unsaved(model: Classifier) -> list[str]:
    """The tensors of modules that are not in the state dict."""
    state = model.network.state_dict()
    return [*_plain(model), *(name for name, _ in model.network.named_buffers() if name not in state)]
