"""What a trained model sees in picture files: classes for whatever pictures a person has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError, printable, shape_as_text
from tinyclsf.loop.evaluation import Tta, outputs, with_tta
from tinyclsf.machine.arguments import check_type
from tinyclsf.machine.devices import choose_device, choose_memory_format, place
from tinyclsf.machine.storage import StrPath
from tinyclsf.metrics import percent
from tinyclsf.modules import Classifier
from tinyclsf.pictures.decoding import decode_pictures
from tinyclsf.pictures.folders import pictures_in
from tinyclsf.progress.display import Progress
from tinyclsf.progress.telling import within

_SHOWN = 24  # in a notebook
_PIECE_FILES, _PIECE_BYTES = 1024, 64 << 20  # the most that is decoded before the model sees it


class FilePrediction(NamedTuple):
    """A picture file with the probability of each class, (classes,) on the CPU, or an error that says why there is none."""

    path: str
    probabilities: Tensor | None
    error: str | None


class FilePredictions(Sequence[FilePrediction]):
    """Predictions of picture files, each computed when it is first used, and kept; `classes` are the model's.

    A notebook shows the first ones, each with its picture as the model saw it.
    """

    def __init__(
        self, classes: Sequence[str], number: int, begin: Callable[[int], Iterator[tuple[FilePrediction, NDArray[np.uint8]]]]
    ) -> None:
        self.classes = tuple(classes)
        self._number = number
        self._begin = begin  # at the file of that number
        self._coming = begin(0)
        self._made: list[FilePrediction] = []
        self._seen: list[NDArray[np.uint8]] = []  # of the first ones, (c, h, w)

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, at: Any) -> Any:
        wanted = range(self._number)[at]
        last = max(wanted, default=-1) if isinstance(wanted, range) else wanted
        while len(self._made) <= last:
            try:
                found, pixels = next(self._coming)
                if len(self._seen) == len(self._made) < _SHOWN:
                    self._seen.append(pixels.copy())
                self._made.append(found)
            except BaseException:  # it was stopped, and goes on when it is asked again
                self._coming = self._begin(len(self._made))
                raise
        return [self._made[each] for each in wanted] if isinstance(wanted, range) else self._made[wanted]

    def __repr__(self) -> str:
        first = self[: _SHOWN // 4]
        lines = [f"{printable(each.path)}: {', '.join(map(printable, self._told(each)))}" for each in first]
        more = [f"and {self._number - len(first):,} more"] if self._number > len(first) else []
        return "\n".join([*lines, *more]) or "no pictures"

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, paragraph, pictures
        from tinyclsf.drawing.samples import as_pictures

        shown = []
        for each, pixels in zip(self[:_SHOWN], self._seen, strict=False):
            picture = None if each.probabilities is None else as_pictures(pixels[None])[0]
            shown.append((picture, [*self._told(each), os.path.basename(each.path)]))
        more = [paragraph(f"and {self._number - _SHOWN:,} more")] if self._number > _SHOWN else []
        return page(f"{self._number:,} picture{'s' * (self._number != 1)}", pictures(shown), *more)

    def _told(self, each: FilePrediction) -> list[str]:
        """The most probable class and its probability, or why there is none."""
        if each.probabilities is None:
            return [f"error: {each.error}"]
        best = int(each.probabilities.argmax())
        return [self.classes[best], percent(float(each.probabilities[best]), 1)]


def predict_files(
    model: Classifier,
    files: StrPath | Iterable[StrPath],
    *,
    device: str = "auto",
    batch_size: int = 64,
    tta: Tta = "none",
    progress: bool | Progress | None = None,
) -> FilePredictions:
    """Predict the classes of pictures of any size and format, prepared as `image-folder` prepares them for training.

    Predictions are computed when they are first used, some at a time, and kept.
    If a file cannot be read, its result has an error, and the others continue.
    - `model`: it is moved to the device and put in evaluation mode.
    - `files`: files and folders, or one of them; a folder stands for all pictures in it, sorted by name.
    - `device`: "auto", "cpu", "cuda", "cuda:1" or "mps".
    - `batch_size`: how many pictures the model gets at a time.
    - `tta`: "flip" for the mean probabilities of each picture and its mirror image.
    - `progress`: by default shown in a notebook and on a terminal; True shows it everywhere, False nowhere.
    Raises: ConfigurationError if pictures cannot be turned into the model's images, or there is no such device or tta.
    """
    check_type("model", model, Classifier, wanted="a Classifier, as load_model gives it")
    check_type("files", files, str, os.PathLike, Iterable, wanted="files and folders, or one of them")
    check_type("device", device, str, wanted="text, such as cpu")
    if type(batch_size) is not int or batch_size < 1:
        raise ConfigurationError(f"batch_size is {batch_size!r}; wanted a whole number of at least 1")
    channels, size = _square(model)
    predictor = with_tta(model, tta)
    chosen = choose_device(device)
    place(model.eval(), chosen, choose_memory_format("auto", model, chosen))
    paths, reasons = _find_pictures([files] if isinstance(files, (str, os.PathLike)) else files)
    shown = nullcontext() if progress is None else Progress.of(progress)
    begin = partial(_predictions, model, predictor, paths, reasons, size, channels, chosen, batch_size, shown)
    return FilePredictions(model.classes, len(paths), begin)


def _find_pictures(files: Iterable[StrPath]) -> tuple[list[str], dict[int, str]]:
    paths: list[str] = []
    reasons: dict[int, str] = {}

    def add(path: str, reason: str | None) -> None:
        if reason is not None:
            reasons[len(paths)] = reason
        paths.append(path)

    for file in files:
        check_type("a file", file, str, os.PathLike, wanted="a path as str or Path")
        path = os.fspath(file)
        if not os.path.isdir(path):
            add(path, None)
            continue
        before = len(paths)
        found, _ = pictures_in(path, lambda folder, error: add(folder, (error.strerror or str(error)).lower()))
        paths += found
        if len(paths) == before:
            add(path, "no picture in this folder")
    return paths, reasons


def _predictions(
    model: Classifier,
    predictor: nn.Module,
    paths: list[str],
    reasons: dict[int, str],
    size: int,
    channels: int,
    device: torch.device,
    batch_size: int,
    shown: AbstractContextManager[Any],
    first: int,
) -> Iterator[tuple[FilePrediction, NDArray[np.uint8]]]:
    """Each prediction with the pixels that the model saw, (c, h, w), which are gone with the next one."""
    piece = max(1, min(_PIECE_FILES, _PIECE_BYTES // (channels * size**2)))
    for start in range(first, len(paths), piece):
        files = paths[start : start + piece]
        known = {row: reasons[start + row] for row in range(len(files)) if start + row in reasons}
        pixels = np.empty((len(files), channels, size, size), np.uint8)
        with shown, within("predicting pictures", start, len(paths)):
            # A folder or device is not opened: an empty name is no file's.
            names = ["" if row in known else path for row, path in enumerate(files)]
            failed = decode_pictures(names, size, channels, pixels, fit=model.fit).reasons | known
        rows = torch.tensor([row for row in range(len(files)) if row not in failed], dtype=torch.int64)
        probabilities = torch.empty(len(files), len(model.classes))
        batches = ((_as_stored(pixels, each, model.white), each) for each in torch.split(rows, batch_size) if len(each))
        for out, each in outputs(predictor, batches, device):
            probabilities[each.cpu()] = out.float().softmax(dim=1).cpu()
        for row in rows[~probabilities[rows].isfinite().all(dim=1)].tolist():
            failed[row] = "the model's output for it is not a number"
        for row, path in enumerate(files):
            yield FilePrediction(path, None if row in failed else probabilities[row], failed.get(row)), pixels[row]


def _as_stored(pixels: NDArray[np.uint8], rows: Tensor, white: float) -> Tensor:
    x = torch.from_numpy(pixels[rows.numpy()])
    return x if white == 255 else x.float().mul_(white).div_(255)


def takes_pictures(image_shape: tuple[int, ...]) -> bool:
    """Whether pictures can be made into images of a shape: squares, in grey or colour."""
    return len(image_shape) == 3 and image_shape[0] in (1, 3) and image_shape[1] == image_shape[2]


def _square(model: Classifier) -> tuple[int, int]:
    shape = model.image_shape
    if not takes_pictures(shape):
        raise ConfigurationError(
            f"the model takes images of {shape_as_text(shape)}, and pictures can only be made square, "
            "with 1 or 3 channels; train it on such images, or call it in Python"
        )
    return shape[0], shape[1]
