"""The differences between torchvision's image classification sets, so that one plugin can read them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tinyclsf.plugin import ConfigurationError, did_you_mean

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The arguments of a torchvision class for each split of its set; None if there is no such split with labels.

    `files` are downloaded by the class, or you have to fetch them by hand, or there are none.
    """

    train: Arguments
    valid: Arguments | None = None
    test: Arguments | None = None
    files: Literal["downloaded", "by hand", "none"] = "downloaded"

    @property
    def splits(self) -> dict[str, Arguments]:
        """The arguments of the existing splits, by their names."""
        splits = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: arguments for split, arguments in splits.items() if arguments is not None}


_WHOLE = Source({})
_FLAG = Source({"train": True}, test={"train": False})
_TWO = Source({"split": "train"}, test={"split": "test"})
_THREE = Source({"split": "train"}, {"split": "val"}, {"split": "test"})
_NO_TEST = Source({"split": "train"}, {"split": "val"})

SETS = {
    "CIFAR10": _FLAG,
    "CIFAR100": _FLAG,
    "CLEVRClassification": _NO_TEST,  # the label is how many things are in the picture; the test split has none
    "Caltech101": _WHOLE,
    "Caltech256": _WHOLE,
    "Country211": Source({"split": "train"}, {"split": "valid"}, {"split": "test"}),
    "DTD": _THREE,
    "EMNIST": Source({"split": "balanced", "train": True}, test={"split": "balanced", "train": False}),
    "EuroSAT": _WHOLE,
    "FER2013": Source({"split": "train"}, test={"split": "test"}, files="by hand"),
    "FGVCAircraft": _THREE,
    "FakeData": Source(
        {"size": 1000, "image_size": (3, 64, 64)},
        test={"size": 200, "image_size": (3, 64, 64), "random_offset": 1000},
        files="none",
    ),
    "FashionMNIST": _FLAG,
    "Flowers102": _THREE,
    "Food101": _TWO,
    "GTSRB": _TWO,
    "INaturalist": Source({"version": "2021_train_mini"}, {"version": "2021_valid"}),
    "ImageNet": Source({"split": "train"}, {"split": "val"}, files="by hand"),
    "Imagenette": _NO_TEST,
    "KMNIST": _FLAG,
    "MNIST": _FLAG,
    "OxfordIIITPet": Source({"split": "trainval"}, test={"split": "test"}),
    "PCAM": _THREE,
    "Places365": Source({"split": "train-standard", "small": True}, {"split": "val", "small": True}),
    "QMNIST": _FLAG,
    "RenderedSST2": _THREE,
    "SEMEION": _WHOLE,
    "STL10": _TWO,
    "SUN397": _WHOLE,
    "SVHN": _TWO,
    "StanfordCars": Source({"split": "train"}, test={"split": "test"}, files="by hand"),
    "USPS": _FLAG,
}


def source_of(name: str) -> Source:
    """The arguments of a set.

    Raises: ConfigurationError that lists the names if there is no such set.
    """
    if name in SETS:
        return SETS[name]
    raise ConfigurationError(
        f"torchvision has no image classification set '{name}'; choose one of {', '.join(SETS)}", tip=did_you_mean(name, SETS)
    )
