"""A model's layers as a table of numbers: what each gives, how many parameters it has, and how much memory they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError, shape_as_text
from tinyclsf.machine.arguments import check_type
from tinyclsf.modules import Classifier

_MOST_SHOWN = 200  # layers in a notebook


class Layer(NamedTuple):
    """One call of a module: its name inside its parent, its depth, and the shape of its output for one image.

    `parameters` are its own, without those of modules inside it; if a module is called again, they are not counted again.
    `output_shape` is None if the output is not a tensor; `is_container` is true if it called other modules.
    """

    name: str
    type: str
    depth: int
    output_shape: tuple[int, ...] | None
    parameters: int
    is_container: bool


@dataclass(frozen=True)
class Summary:
    """A model's layers in the order of their calls, and its totals; calls of functions such as F.relu are not listed.

    Units: bytes for one image. `activation_bytes` is twice the outputs of the innermost layers: each has a gradient too.
    """

    image_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    trainable: int
    non_trainable: int
    input_bytes: int
    activation_bytes: int
    parameter_bytes: int

    def __repr__(self) -> str:
        trained = f"{self.trainable:,} are trained" if self.non_trainable else "all trained"
        memory = f"{self.total_bytes / 2**20:,.2f} MB for an image of {shape_as_text(self.image_shape)}"
        return f"{len(self.layers):,} layers, {self.parameters:,} parameters ({trained}), {memory}"

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, table

        rows = []
        for each in self.layers:
            shape = "-" if each.output_shape is None else shape_as_text(each.output_shape)
            parameters = "" if each.is_container and not each.parameters else f"{each.parameters:,}"
            rows.append(["· " * each.depth + each.name, each.type, shape, parameters])
        return page(repr(self), table(("layer", "type", "output", "parameters"), rows, names=2, most=_MOST_SHOWN))

    @property
    def parameters(self) -> int:
        """All parameters, each once."""
        return self.trainable + self.non_trainable

    @property
    def total_bytes(self) -> int:
        """Input, outputs with their gradients, and parameters."""
        return self.input_bytes + self.activation_bytes + self.parameter_bytes


@dataclass
class _Call:
    module: nn.Module
    name: str
    depth: int
    outputs: Sequence[Tensor] = ()
    is_container: bool = False


def summarize(model: nn.Module, image_shape: Sequence[int] | None = None) -> Summary:
    """List the layers of a network, as they are called for one blank image; for a Classifier, those of its network.

    The model runs once in evaluation mode and stays unchanged; no random number is drawn from the global generators.
    Raises: ConfigurationError if image_shape is missing and the model does not have it.
    """
    check_type("model", model, nn.Module, wanted="an nn.Module")
    if isinstance(model, Classifier):
        image_shape, model = image_shape or model.image_shape, model.network
    check_type("image_shape", image_shape, list, tuple, type(None), wanted="channels, height and width")
    if image_shape is None:
        raise ConfigurationError("the shape of images is not known; give summarize an image_shape, such as (3, 32, 32)")
    if not image_shape or not all(type(size) is int and size > 0 for size in image_shape):
        raise ConfigurationError(f"image_shape is {image_shape!r}; wanted channels, height and width")
    first = next((each for each in model.parameters() if each.is_floating_point()), torch.empty(0))
    image = torch.zeros(1, *image_shape, dtype=first.dtype, device=first.device)
    calls = _calls(model, image)
    owned = _owned(model, {call.name for call in calls})
    parameters = list(model.parameters())
    return Summary(
        image_shape=tuple(image_shape),
        layers=tuple(_layers(calls, owned)),
        trainable=sum(each.numel() for each in parameters if each.requires_grad),
        non_trainable=sum(each.numel() for each in parameters if not each.requires_grad),
        input_bytes=image.nbytes,
        activation_bytes=2 * sum(output.nbytes for call in calls if not call.is_container for output in call.outputs),
        parameter_bytes=sum(each.nbytes for each in parameters),
    )


def _calls(model: nn.Module, image: Tensor) -> list[_Call]:
    """Every call of a module in the order in which they begin, the model itself first."""
    names = {module: name for name, module in model.named_modules()}
    calls: list[_Call] = []
    inside: list[_Call] = []

    def begin(module: nn.Module, _: Any) -> None:
        if inside:
            inside[-1].is_container = True
        call = _Call(module, names[module], len(inside))
        calls.append(call)
        inside.append(call)

    def end(_: nn.Module, __: Any, output: Any) -> None:
        inside.pop().outputs = list(_tensors(output))

    hooks = [hook for each in names for hook in (each.register_forward_pre_hook(begin), each.register_forward_hook(end))]
    try:
        with _undisturbed(model, image.device), torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _owned(model: nn.Module, called: set[str]) -> dict[str, int]:
    """How many parameters each called module has beside those of the called ones in it; shared ones count once."""
    owned = dict.fromkeys(called, 0)
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        while owner not in called:  # one that is used without being called belongs to what is around it
            owner = owner.rpartition(".")[0]
        owned[owner] += parameter.numel()
    return owned


def _layers(calls: Sequence[_Call], owned: Mapping[str, int]) -> Iterator[Layer]:
    rest = dict(owned)
    above: list[str] = []
    root = 1 if calls[0].is_container and not owned[""] else 0
    for call in calls:
        del above[call.depth :]
        name = call.name.removeprefix(f"{above[-1]}.") if above and above[-1] else call.name
        above.append(call.name)
        if call.depth >= root:
            shape = tuple(call.outputs[0].shape[1:]) if call.outputs else None
            depth = call.depth - root
            yield Layer(name, type(call.module).__name__, depth, shape, rest.pop(call.name, 0), call.is_container)


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode; then every module's own mode again, and the random state as it was."""
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, (tuple, list)):
        for each in output:
            yield from _tensors(each)
