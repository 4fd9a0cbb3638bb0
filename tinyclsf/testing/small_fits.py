"""Fits of a moment on noise, and how two of their states differ."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tinyclsf.data import Images, Splits
from tinyclsf.machine.randomness import seed_all, without_trace
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.trainer import Callback, Trainer
from tinyclsf.training import get_data

BATCH = 32
STOPPED = 2, 2  # the epoch, and the batch of it, in which `Stop` stops a fit
_BATCHES, _EPOCHS = 4, 3
_CLASSES, _SHAPE = ("a", "b", "c", "d"), (1, 8, 8)


def small_network(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A network of a moment, which draws random numbers and has statistics."""
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
    return nn.Sequential(*layers, nn.Linear(4 * 6 * 6, num_classes))


def noise() -> Splits:
    """Images that nothing can be learned from, so that no accuracy is high and no epoch the last by being good."""
    return Splits(_images(_BATCHES), _images(1), _images(1), _CLASSES, _SHAPE, Preprocess())


def fit(
    callbacks: Sequence[Callback], *, resume: Mapping[str, Any] | None = None, classes: bool = True, batches: int = _BATCHES
) -> dict[str, Any]:
    """Train with callbacks, always from the same weights, and return the state that training ends in.

    classes: whether the targets are classes; else there is no accuracy.
    batches: how many an epoch has.
    """
    with without_trace():
        seed_all(0)
        model = Classifier(Preprocess(), small_network(_SHAPE, len(_CLASSES)), _CLASSES, _SHAPE)
        opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        trainer = Trainer(model, F.cross_entropy if classes else F.mse_loss, opt, device="cpu", callbacks=callbacks)
        loaders = get_data(_images(batches, classes=classes), _images(1, classes=classes), BATCH)
        trainer.fit(_EPOCHS, *loaders, resume=resume, progress=False)
        return trainer.state_dict()  # while the random numbers are those that come next


class Stop(Callback):
    """Stops a fit in the middle of an epoch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        if (trainer.epoch, trainer.batch) == STOPPED:
            trainer.stop()


class Clock(Callback):
    """Notes the time of each batch; twice among callbacks it measures those between."""

    def __init__(self) -> None:
        self._times: dict[int, list[float]] = {}  # by epoch, as what is between two epochs is no part of a step

    def on_batch_end(self, trainer: Trainer) -> None:
        self._times.setdefault(trainer.epoch, []).append(time.perf_counter())

    def seconds(self) -> list[tuple[float, float]]:
        """What those between took of a step, and the rest of it: the means of each epoch."""
        found = []
        for times in self._times.values():
            first, last = times[::2], times[1::2]
            own = sum(last) - sum(first)
            found.append((own / len(last), (last[-1] - first[0] - own) / len(last)))
        return found


def difference(found: Any, wanted: Any, where: str = "") -> str | None:
    """The first place at which two states differ, with what is there; None if they are equal bit for bit."""
    same_type = type(found) is type(wanted)
    if same_type and isinstance(wanted, dict) and found.keys() == wanted.keys():
        keys: Any = wanted
    elif same_type and isinstance(wanted, (list, tuple)) and len(found) == len(wanted):
        keys = range(len(wanted))
    elif same_type and _equal(found, wanted):
        return None
    else:
        return f"{where or 'it'} is {reprlib.repr(found)} and not {reprlib.repr(wanted)}"
    differences = (difference(found[key], wanted[key], f"{where}[{key!r}]") for key in keys)
    return next((each for each in differences if each is not None), None)


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Tensor):
        return found.dtype == wanted.dtype and torch.equal(found, wanted)
    return bool(found == wanted or (found != found and wanted != wanted))


def _images(batches: int, *, classes: bool = True) -> Images | TensorDataset:
    generator, count = torch.Generator().manual_seed(batches), batches * BATCH
    x = torch.randint(256, (count, *_SHAPE), generator=generator, dtype=torch.uint8)
    if not classes:
        return TensorDataset(x, torch.rand(count, len(_CLASSES), generator=generator))
    return Images(x, torch.randint(len(_CLASSES), (count,), generator=generator))
