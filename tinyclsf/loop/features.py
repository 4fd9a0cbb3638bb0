"""What a frozen backbone makes of images, computed once: training goes over that, and an epoch costs what the head costs."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from tinyclsf.batches.loaders import loader
from tinyclsf.loop.evaluation import outputs
from tinyclsf.machine.randomness import without_trace
from tinyclsf.modules import Classifier
from tinyclsf.progress.telling import counted
from tinyclsf.training import Batches


class OnFeatures(Classifier):
    """A classifier that takes features, the inputs of its head, as well as images; parts and state are those of `model`.

    Shapes: x (n, *image_shape) or (n, *features), to logits (n, len(classes)).
    """

    def __init__(self, model: Classifier, head: str) -> None:
        super().__init__(model.preprocess, model.network, model.classes, model.image_shape, model.white, model.fit)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        layers = (
            (self.preprocess, self.network)
            if tuple(x.shape[1:]) == self.image_shape
            else (self.network.get_submodule(self.head),)
        )
        for layer in layers:
            x = layer(x)
        return x


def features_of(
    model: Classifier, head: str, dataset: Dataset[Any], batch_size: int, device: torch.device
) -> TensorDataset | None:
    """The inputs of a model's head for the images of a data set, with their labels.

    None if the head takes anything else, or is not what gives the logits.
    """
    taken: list[tuple[Any, ...]] = []
    hook = model.network.get_submodule(head).register_forward_pre_hook(lambda module, inputs: taken.append(inputs))
    features, labels = [], []
    try:
        with without_trace():  # a loader draws a seed
            batches: Batches = loader(dataset, batch_size)
            if isinstance(dataset, Sized):
                batches = counted(batches, "computing features of the frozen backbone", len(dataset))
            for out, yb in outputs(model.to(device).eval(), batches, device):
                inputs: tuple[Any, ...] = taken[0] if len(taken) == 1 else ()
                if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or len(inputs[0]) != len(yb):
                    return None
                with torch.no_grad():
                    again = model.network.get_submodule(head)(*inputs)
                if again.shape != out.shape or not torch.allclose(again, out, rtol=1e-4, atol=1e-5):
                    return None  # the network goes on after its head, with a softmax for one
                taken.clear()
                features.append(inputs[0].cpu())
                labels.append(yb.cpu())
    finally:
        hook.remove()
    found = torch.cat(features)
    return None if tuple(found.shape[1:]) == model.image_shape else TensorDataset(found, torch.cat(labels))
