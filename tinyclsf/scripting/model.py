"""How a script makes the model of a run: the simplest way that gives the very same one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError
from tinyclsf.finetuning import freezes_backbone, head_of
from tinyclsf.machine.randomness import seed_all, without_trace
from tinyclsf.registry.components import Component, load_component
from tinyclsf.registry.plugins import blamed_on, find
from tinyclsf.registry.scripted import as_source
from tinyclsf.registry.signatures import innermost
from tinyclsf.runs.config_file import Named
from tinyclsf.runs.trained_run import TrainedRun
from tinyclsf.scripting.hooks import ask, written_out
from tinyclsf.scripting.sources import Sources, import_lines, sources_of

_TRIED = 4  # images
_PREPROCESS = '''class Preprocess(nn.Module):
    """Turn images as they are stored into what the network reads: `(x - mean) / std`."""

    def __init__(self, mean: float | list[float], std: float | list[float]) -> None:
        super().__init__()
        # Buffers, so that they are saved with the weights: a number for all channels, or one for each.
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std'''


def model_sources(run: TrainedRun, plugin: Named, seed: int) -> Sources:
    """The code of a run's model, which that plugin makes, with a function `make_model`, which was tried under the run's seed.

    Raises: ConfigurationError if the model's source is not there, or makes another model when it stands alone; PluginError if
    the model plugin fails.
    """
    component = load_component(find("model", plugin.name), {}, saved=plugin.options)
    shape, num_classes = run.model.image_shape, len(run.model.classes)
    with blamed_on(component.plugin, "failed"):
        network, wanted = _trial(lambda: component.factory(shape, num_classes, **component.values), shape, seed)
    tuned = freezes_backbone(run.setting("freeze", "none")) or run.setting("backbone_lr", 1) != 1
    failed: Exception | None = None
    for way in (_by_plugin, _by_class, _by_factory):
        try:
            found = way(component, network, (tuple(shape), num_classes))
            if found is None:
                continue
            sources = _with_preprocessing(*found, run.model.preprocess)
            made = _trial(_maker(sources), shape, seed)
            if _is_same(made, (network, wanted)) and (not tuned or _same_head(made[0], network)):
                return sources
        except Exception as error:  # code that was taken out of its module may fail in any way
            failed = error
    if isinstance(failed, ConfigurationError):
        raise failed
    why = f" ({type(failed).__name__}: {failed})" if failed else ""
    raise ConfigurationError(f"the source of model {component.plugin.name} makes another model when it stands alone{why}")


Way = tuple[str, Sources]  # an expression that makes the network, and what it needs


def _by_plugin(component: Component, network: nn.Module, given: tuple[Any, ...]) -> Way | None:
    code = ask(component, str, *given)
    if code is None:
        return None
    sources, expression = written_out(component, code)
    return expression, sources


def _by_class(component: Component, network: nn.Module, given: tuple[Any, ...]) -> Way | None:
    cls = type(network)
    if cls.__module__.partition(".")[0] != innermost(component.factory).__module__.partition(".")[0]:
        return None
    return f"{cls.__name__}({_arguments(cls, given, component.values)})", sources_of(cls)


def _by_factory(component: Component, network: nn.Module, given: tuple[Any, ...]) -> Way:
    factory = innermost(component.factory)
    sources = sources_of(factory)
    arguments = _arguments(factory, given, component.values)
    imports = ["from pathlib import Path"] if "Path(" in arguments else []
    return f"{factory.__name__}({arguments})", Sources([*sources.imports, *imports], sources.definitions)


def _arguments(function: Callable[..., Any], given: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    takes = inspect.signature(function).parameters
    others = [f"{name}={as_source(value)}" for name, value in options.items() if name in takes and takes[name].default != value]
    return ", ".join([*map(as_source, given), *others])


def _with_preprocessing(network: str, sources: Sources, preprocess: nn.Module) -> Sources:
    mean, std = (as_source(_plain(each)) for each in (preprocess.mean, preprocess.std))
    code = f'''def make_model() -> nn.Module:
    """Preprocessing and network as one model, that takes images as they are stored."""
    return nn.Sequential(OrderedDict(preprocess=Preprocess(mean={mean}, std={std}), network={network}))'''
    if max(map(len, code.splitlines())) > 128:
        code = code.replace("OrderedDict(p", "OrderedDict(\n            p").replace(", network=", ",\n            network=")
        code = code.removesuffix("))").replace("Sequential(O", "Sequential(\n        O") + ",\n        )\n    )"
    imports = [*sources.imports, "from collections import OrderedDict", "import torch", "from torch import Tensor, nn"]
    return Sources(imports, {"Preprocess": _PREPROCESS, **sources.definitions, "make_model": code})


def _plain(buffer: object) -> float | list[float]:
    assert isinstance(buffer, Tensor)
    values: list[float] = buffer.flatten().tolist()
    return values[0] if len(values) == 1 else values


def _maker(sources: Sources) -> Callable[[], nn.Module]:
    names: dict[str, Any] = {"__name__": "script"}
    lines = ["from __future__ import annotations", *import_lines(sources.imports), *sources.definitions.values()]
    exec("\n".join(lines), names)
    return lambda: names["make_model"]().network


def _trial(make: Callable[[], nn.Module], image_shape: tuple[int, ...], seed: int) -> tuple[nn.Module, list[Tensor]]:
    """A network, and what tells it from another one: its first weights, what it has drawn, and its outputs in both modes."""
    with without_trace():
        seed_all(seed)
        network = make()
        tensors = [*(tensor.clone() for tensor in network.state_dict().values()), torch.get_rng_state()]
        x = torch.rand(_TRIED, *image_shape)
        with torch.no_grad():
            return network, [*tensors, network.train()(x), network.eval()(x)]


def _is_same(found: tuple[nn.Module, list[Tensor]], wanted: tuple[nn.Module, list[Tensor]]) -> bool:
    (made, tensors), (network, others) = found, wanted
    return str(made) == str(network) and len(tensors) == len(others) and all(map(torch.equal, tensors, others))


def _same_head(made: nn.Module, network: nn.Module) -> bool:
    """Whether the same part of both is the head, which the network may name in an attribute."""
    try:
        return head_of(made) == head_of(network)
    except ConfigurationError:
        return False
