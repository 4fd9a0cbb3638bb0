"""Any image classification set of torchvision, read once and kept in memory at one size."""

from __future__ import annotations

import contextlib
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch

from tinyclsf.plugin import ConfigurationError, DataError, Images, Preparation, Splits, prepared, tell_progress
from tinyclsf_plugins.datasets.downloads import download, explain_failure
from tinyclsf_plugins.datasets.torchvision_sets import Arguments, Source, source_of

_EVERY = 100  # images between two words of progress


@prepared
def torchvision(prepare: Preparation, *, name: str, data_dir: Path, size: int = 32, channels: Literal[1, 3] = 3) -> Splits:
    """A classification set of torchvision by the name of its class, downloaded on first use, as pictures of size x size.

    The shorter side of each picture is scaled to `size`, and the middle is cropped; channels=1 makes it grey. If a set has no
    validation split, one is taken from its training images; if it has no test split, there is none. FER2013, ImageNet and
    StanfordCars are not downloaded: put their files into data_dir.
    Names: CIFAR10, CIFAR100, CLEVRClassification, Caltech101, Caltech256, Country211, DTD, EMNIST, EuroSAT, FER2013,
    FGVCAircraft, FakeData, FashionMNIST, Flowers102, Food101, GTSRB, INaturalist, ImageNet, Imagenette, KMNIST, MNIST,
    OxfordIIITPet, PCAM, Places365, QMNIST, RenderedSST2, SEMEION, STL10, SUN397, SVHN, StanfordCars, USPS.
    Shapes: x (n, channels, size, size) uint8 in 0..255; y (n,) int64.
    Raises: ConfigurationError if there is no such set or the size is below 1; DataError if its files are broken, or missing
    and cannot be downloaded.
    """
    source = source_of(name)
    if size < 1:
        raise ConfigurationError(f"size is {size}; wanted at least 1")
    # All splits are opened before the first is read, so that one that is missing is known at once.
    sets = {split: _opened(name, source, data_dir, arguments) for split, arguments in source.splits.items()}
    classes = _class_names(sets["train"])
    # Popped, as a set may hold all its images in memory itself.
    read = {split: _read(f"{name} ({split})", sets.pop(split), (channels, size, size)) for split in source.splits}
    if classes is None:
        classes = tuple(str(number) for number in range(max(int(images.y.max()) for images in read.values()) + 1))
    return prepare.splits(read["train"], read.get("test"), classes, valid=read.get("valid"))


def _opened(name: str, source: Source, data_dir: Path, arguments: Arguments) -> Any:
    """A split of a set as torchvision gives it, downloaded if it is not in data_dir."""
    from torchvision import datasets  # type: ignore[import-untyped]

    make = getattr(datasets, name)
    if source.files == "none":
        return make(**arguments)

    def fetch(scratch: Path) -> list[Path]:
        make(scratch, **arguments, download=True)
        return list(scratch.iterdir())

    try:
        if source.files == "by hand":
            return make(data_dir, **arguments)
        if data_dir.is_dir():
            # Its classes raise one of these where files are missing.
            with contextlib.suppress(RuntimeError, FileNotFoundError):
                return make(data_dir, **arguments, download=False)
        download(name, data_dir, fetch, otherwise="point --data-dir at a folder that holds it as torchvision lays it out")
        return make(data_dir, **arguments, download=False)
    except DataError:
        raise
    except Exception as error:  # a broken file makes its readers raise anything
        advice = "delete its files there to have them downloaded again"
        if source.files == "by hand":
            advice = "torchvision does not download it, so put its files there by hand"
        raise DataError(f"{name} in {data_dir} cannot be read {explain_failure(error, advice)}") from error


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    for attribute in ("classes", "categories", "all_categories"):
        names = getattr(dataset, attribute, None)
        if names:
            return tuple(each if isinstance(each, str) else ", ".join(each) for each in names)
    return None


def _read(what: str, dataset: Any, shape: tuple[int, int, int]) -> Images:
    """All pictures of a split in the given shape, with their labels."""
    from torchvision.transforms.functional import center_crop, pil_to_tensor, resize  # type: ignore[import-untyped]

    count, size = len(dataset), shape[1]
    if count == 0:
        raise DataError(f"{what} has no images; delete the set and fetch it again")
    try:
        x = torch.empty(count, *shape, dtype=torch.uint8)
    except RuntimeError as error:
        needed = count * prod(shape) / 1e9
        raise ConfigurationError(
            f"{count:,} images of {size}x{size} need {needed:,.0f} GB of memory; give a smaller size"
        ) from error
    y = torch.empty(count, dtype=torch.int64)
    for at in range(count):
        if at % _EVERY == 0:
            tell_progress(f"reading {what}", at, count)
        try:
            picture, label = dataset[at]
            fitted = center_crop(resize(picture.convert("RGB" if shape[0] == 3 else "L"), [size]), [size])
        except Exception as error:
            advice = "delete the set and fetch it again"
            raise DataError(f"image {at:,} of {what} cannot be read {explain_failure(error, advice)}") from error
        if label is None:
            raise DataError(f"image {at:,} of {what} has no label; use a copy of the set that has them")
        x[at], y[at] = pil_to_tensor(fitted), label
    tell_progress(f"reading {what}", count, count)
    return Images(x, y)
