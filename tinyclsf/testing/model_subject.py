"""A model under check: built from seeds, on images that are drawn, and run a step at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyclsf.analysis.model_checks import Sample, logits_of
from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError, ModelFileError, PluginError, TinyclsfError, join_names, shape_as_text
from tinyclsf.finetuning import put_in_training
from tinyclsf.machine.devices import computing_in
from tinyclsf.machine.randomness import seed_all, without_trace
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.registry.components import Component, build_model, check_can_learn
from tinyclsf.registry.signatures import attribute_of
from tinyclsf.testing.checking import Broken, CannotRun
from tinyclsf.testing.option_contract import Subject

CPU = torch.device("cpu")
NAMED = 5  # of the tensors in a sentence
_SHAPES = ((1, 28, 28), (3, 32, 32), (3, 64, 64))
_LARGE = (3, 224, 224)  # for what takes none of these
_CLASSES = 10
_IMAGES = 16
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "torch.set_default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.set_num_threads": (torch.get_num_threads, torch.set_num_threads),
    "torch.set_float32_matmul_precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch.use_deterministic_algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
}


class Gradients(NamedTuple):
    """The loss of a batch in training mode, and its gradients by the names of the parameters."""

    loss: float
    by_name: dict[str, Tensor]

    def step(self, model: Classifier, lr: float) -> None:
        """Change a model's parameters by them."""
        named = dict(model.named_parameters())
        with torch.no_grad():
            for name, gradient in self.by_name.items():
                named[name].sub_(gradient, alpha=lr)


@dataclass
class ModelSubject(Subject):
    """A model under check, built once for most checks, from seed 0 for the first shape of images that it takes."""

    changed: set[str] = field(default_factory=set, init=False)  # calls that a build made, which change PyTorch for all

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The shapes of images that it is tried on: those of its attribute `image_shapes`, or common ones."""
        return attribute_of(self.factory, "image_shapes") or _SHAPES

    def build(self, shape: tuple[int, int, int], classes: int, *, component: Component | None = None) -> Classifier:
        """A new model, whose weights are drawn from where the random generators are."""
        before = {name: get() for name, (get, _) in _SETTINGS.items()}
        try:
            return build_model(component or self.component(), _splits(shape, classes))
        finally:
            for name, (get, put) in _SETTINGS.items():
                if get() != before[name]:
                    put(before[name])
                    self.changed.add(name)

    def seeded(self, seed: int, *, component: Component | None = None) -> Classifier:
        """A new model of the shape of `model`, with the first weights of a seed."""
        with without_trace():
            seed_all(seed)
            return self.build(self.model.image_shape, len(self.model.classes), component=component)  # type: ignore[arg-type]

    def tried(self, shape: tuple[int, int, int], classes: int = _CLASSES) -> Classifier | TinyclsfError:
        """A model for such images, or the sentence in which it refuses them.

        Raises: Broken if it fails in another way.
        """
        try:
            with without_trace():
                seed_all(0)
                return self.build(shape, classes)
        except (ConfigurationError, DataError, ModelFileError) as error:
            return error
        except PluginError as error:
            wanted = "; wanted logits, or tinyclsf.plugin.ConfigurationError that says which images it takes"
            raise Broken(f"{error}{wanted if error.__cause__ else ''}") from error

    @cached_property
    def built(self) -> Classifier | Broken | TinyclsfError:
        """The model, or why there is none."""
        found: Classifier | Broken | TinyclsfError | None = None
        for shape in (*self.shapes, _LARGE):
            try:
                tried = self.tried(shape)
            except (Broken, TinyclsfError) as error:
                found = found or error
                continue
            if isinstance(tried, Classifier):
                return tried
        if found is None:
            shapes = join_names([shape_as_text(shape) for shape in (*self.shapes, _LARGE)])
            found = Broken(
                f"it takes none of {shapes}: {tried}; wanted one of them: give it an attribute image_shapes with shapes that "
                "it takes, such as ((1, 64, 64), (1, 128, 128))"
            )
        return found

    @property
    def model(self) -> Classifier:
        """The model, which nobody changes.

        Raises: CannotRun if it cannot be built, which the check `logits` tells of.
        """
        if not isinstance(self.built, Classifier):
            raise CannotRun("it cannot be built")
        return self.built

    @cached_property
    def sample(self) -> Sample:
        """Images of the shape of `model`, with labels."""
        images: Any = _splits(self.model.image_shape, len(self.model.classes)).train  # type: ignore[arg-type]
        return Sample(images.x, images.y)

    @cached_property
    def untrainable(self) -> Broken | TinyclsfError | None:
        """Why it cannot be trained; None where it can."""
        trial = copy.deepcopy(self.model)
        try:
            check_can_learn(self.component(), trial)
            self.gradients(trial)
        except TinyclsfError as error:
            return error
        except Exception as error:
            wanted = "wanted logits (n, classes) in training mode as in evaluation mode, and a loss that can go backward"
            return Broken(f"a step of training raises {told(error)}; {wanted}")
        return None

    def trial(self) -> Classifier:
        """A copy of the model, to be trained.

        Raises: CannotRun if it cannot be trained, which the check `training` tells of.
        """
        if self.untrainable is not None:
            raise CannotRun("it cannot be trained")
        return copy.deepcopy(self.model)

    def outputs(self, model: Classifier) -> Tensor:
        """The logits for the sample in evaluation mode."""
        with without_trace():
            return logits_of(model, self.sample.x, _IMAGES)

    def gradients(self, model: Classifier, *, precision: str = "float32") -> Gradients:
        """Loss and gradients of the sample in training mode, from the same random numbers at each call."""
        put_in_training(model)
        named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        model.zero_grad()
        with without_trace():
            seed_all(0)
            with computing_in(precision, CPU):
                loss = F.cross_entropy(model(self.sample.x.clone()), self.sample.y)
            loss.backward()  # type: ignore[no-untyped-call]
        return Gradients(loss.item(), {name: each.grad for name, each in named.items() if each.grad is not None})


def told(error: Exception) -> str:
    """What a model raised, in a sentence."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _splits(shape: tuple[int, int, int], classes: int) -> Splits:
    """Coarse random patterns, which differ more than noise does, as uint8."""
    channels, height, width = shape
    small = torch.rand(_IMAGES, channels, 7, 7, generator=torch.Generator().manual_seed(0))
    x = (F.interpolate(small, (height, width)) * 255).to(torch.uint8)
    images = Images(x, torch.arange(_IMAGES) % classes)
    return Splits(images, images, None, tuple(map(str, range(classes))), shape, Preprocess(127.5, 64.0))
