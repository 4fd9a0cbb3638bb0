"""What a person may ask of any data set: how it is split, how much of it is used, how its pixels are scaled."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import Tensor

from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError, DataWarning
from tinyclsf.machine.arguments import as_path
from tinyclsf.modules import Fit, Preprocess
from tinyclsf.splitting import moved_to_front, rows_a_piece, set_aside, shuffled_by_class, stratified

# The mean and deviation of red, green and blue that torchvision's networks were trained with, white being 1.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Pixels are scaled in one way: an option that is given takes the place of these, where something else says them.
REPLACED = {"normalize": {"mean", "std"}, "mean": {"normalize"}, "std": {"normalize"}}
# The options that decide which image is in which split.
SPLITTING = ("test_ratio", "valid_ratio", "valid_size", "split", "seed")
_LARGEST = 1e6  # of the numbers in mean and std: beyond any use, and well within float32


@dataclass(frozen=True)
class Preparation:
    """The options that data sets share.

    `valid_ratio` or `valid_size` of the training images validate: the same share of every class, drawn by `seed`; with
    `split="tail"` the last ones. Where none of the three is given, a data set is split in its own way.
    `test_ratio` of the training images are set aside to test with, before any that validate are: the same share of every class,
    drawn by `seed`. A data set that has a test split of its own refuses it.
    `fraction` below 1 keeps the same number of training images of every class, and so no more than the rarest class has of
    each; a smaller fraction lies within a larger one.
    `normalize` scales to 0..1 ("unit"), to -1..1 ("half"), by the training images' mean and deviation ("stats"), or by those of
    ImageNet ("imagenet"), as pretrained networks expect. `mean` and `std` scale by others, white being 1: one number for all
    channels, or one for each.
    Raises: ConfigurationError for a value that no data set could follow.
    """

    normalize: Literal["unit", "half", "stats", "imagenet"] = "unit"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    test_ratio: float | None = None
    valid_ratio: float | None = None
    valid_size: int | None = None
    split: Literal["auto", "stratified", "tail"] = "auto"
    fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        # The command line has checked the words already; a call from Python has not.
        for name, value in (("normalize", self.normalize), ("split", self.split)):
            words = get_args(get_type_hints(Preparation)[name])
            if value not in words:
                raise ConfigurationError(f"{name} is '{value}'; wanted one of {'|'.join(words)}")
        self._check_scaling()
        if self.valid_ratio is not None and self.valid_size is not None:
            raise ConfigurationError("valid_ratio and valid_size are both given; give one of them")
        for name, ratio in (("test_ratio", self.test_ratio), ("valid_ratio", self.valid_ratio)):
            if ratio is not None and not 0 < ratio < 1:
                raise ConfigurationError(f"{name} is {ratio}; wanted more than 0 and less than 1")
        if self.valid_size is not None and self.valid_size < 1:
            raise ConfigurationError(f"valid_size is {self.valid_size}; wanted at least 1")
        if not 0 < self.fraction <= 1:
            raise ConfigurationError(f"fraction is {self.fraction}; wanted more than 0 and at most 1")
        if not 0 <= self.seed < 2**32:  # PyTorch's generator on the CPU uses no more bits than these
            raise ConfigurationError(f"seed is {self.seed}; wanted 0 to {2**32 - 1}")

    def _check_scaling(self) -> None:
        if self.mean is None and self.std is None:
            return
        if self.normalize != "unit":
            raise ConfigurationError(f"mean and std are given and normalize is {self.normalize}; leave out one or the other")
        mean, std = self.mean or (), self.std or ()
        found = " and ".join(f"{key} is {','.join(map(str, value)) or 'none'}" for key, value in (("mean", mean), ("std", std)))
        if not 0 < len(mean) == len(std):
            raise ConfigurationError(f"{found}; wanted as many numbers of both: one, or one for each channel")
        if not all(abs(each) <= _LARGEST for each in (*mean, *std)) or not all(each >= 1 / _LARGEST for each in std):
            raise ConfigurationError(f"{found}; wanted numbers up to {_LARGEST:g}, for std from {1 / _LARGEST:g}")

    @property
    def asks_for_a_split(self) -> bool:
        """Whether the person said anything about validation."""
        return self.valid_ratio is not None or self.valid_size is not None or self.split != "auto"

    def splits(
        self,
        train: Images,
        test: Images | None,
        classes: tuple[str, ...],
        *,
        valid: Images | None = None,
        own_size: int | None = None,
        own_split: Literal["stratified", "tail"] = "stratified",
        white: float = 255.0,
        fit: Fit = "crop",
    ) -> Splits:
        """The splits of a data set in memory; it may reorder the images in place, so that it needs no second copy of them.

        `valid` is the set's own validation split; it joins the training images where the person asks for a split. `own_size`
        and `own_split` are how a set without one splits itself where nothing is said: a fifth, by class. `fit` is how pictures
        were made square.
        Units: `white` is what white is stored as.
        Raises: ConfigurationError if the images are too few for what was asked, or `test_ratio` is given and `test` too.
        """
        if test is not None:
            self.refuse_test_ratio()
        elif self.test_ratio is not None:
            train, test = set_aside(train, self.tested(train.y))
        if valid is not None and self.asks_for_a_split:
            own_size = len(valid)
            paths = None if train.paths is None or valid.paths is None else [*train.paths, *valid.paths]
            train, valid = Images(torch.cat([train.x, valid.x]), torch.cat([train.y, valid.y]), paths), None
        if valid is None:
            train, valid = set_aside(train, self.held_out(train.y, own_size=own_size, own_split=own_split))
        train = self.thinned(train)
        channels, height, width = train.x.shape[1:]
        return Splits(train, valid, test, classes, (channels, height, width), self.scaling(train, white), white, fit)

    def refuse_test_ratio(self) -> None:
        """For a data set that has a test split of its own.

        Raises: ConfigurationError if `test_ratio` asks for another.
        """
        if self.test_ratio is not None:
            raise ConfigurationError("the data set has a test split of its own, and test_ratio asks for another; leave it out")

    def tested(self, y: Tensor) -> Tensor:
        """The rows of labels y (n,) that test, ascending; where `test_ratio` is given.

        Raises: ConfigurationError if there would be nothing to test with, or fewer than two left to train and to validate with.
        """
        size = round((self.test_ratio or 0) * len(y))
        if not 0 < size < len(y) - 1:
            raise ConfigurationError(
                f"test_ratio {self.test_ratio} sets {size:,} of {len(y):,} images aside; wanted at least 1, and 2 left to "
                "train and to validate with"
            )
        return stratified(y, size, self.seed)

    def held_out(
        self, y: Tensor, *, own_size: int | None = None, own_split: Literal["stratified", "tail"] = "stratified"
    ) -> Tensor:
        """The rows of labels y (n,) that validate, ascending.

        Raises: ConfigurationError if there would be nothing left to train on, or nothing to validate; DataError if there
        are fewer than two images.
        """
        split = self.split
        if split == "auto":
            split = "stratified" if self.asks_for_a_split else own_split
        own = own_size or len(y) // 5
        size = self.valid_size or (own if self.valid_ratio is None else round(self.valid_ratio * len(y)))
        if len(y) < 2:
            raise DataError(f"there are too few images ({len(y)}) to train and to validate with; wanted at least 2")
        if not 0 < size < len(y):
            raise ConfigurationError(
                f"{size:,} of {len(y):,} images would validate; set valid_size to 1 to {len(y) - 1:,}, or valid_ratio"
            )
        if split == "stratified":
            return stratified(y, size, self.seed)
        if lost := set(y[-size:].tolist()) - set(y[:-size].tolist()):
            warnings.warn(
                f"the last {size:,} images have all that there is of {len(lost)} of the classes, so these are not trained on; "
                "split=stratified takes a share of each",
                DataWarning,
                stacklevel=2,
            )
        return torch.arange(len(y) - size, len(y))

    def thinned(self, images: Images) -> Images:
        """The training images that `fraction` keeps, as many of each class; it may reorder them in place.

        Raises: ConfigurationError if it would keep none.
        """
        if self.fraction == 1:
            return images
        return moved_to_front(images, self.kept(images.y))

    def kept(self, y: Tensor) -> Tensor:
        """The rows of labels y (n,) that `fraction` keeps, ascending: as many of each class, at most what the rarest has.

        Raises: ConfigurationError if that is none.
        """
        if self.fraction == 1 or len(y) == 0:
            return torch.arange(len(y))
        shuffled = shuffled_by_class(y, self.seed)
        counts = [len(rows) for rows in shuffled]
        each = min(int(self.fraction * len(y) / len(counts) + 1e-9), *counts)
        if each == 0:
            raise ConfigurationError(
                f"fraction {self.fraction} of {len(y):,} training images is less than one of each of {len(counts):,} classes; "
                "give a larger one"
            )
        return torch.cat([rows[:each] for rows in shuffled]).sort().values

    def scaling(self, images: Images | Iterable[Tensor], white: float = 255.0) -> Preprocess:
        """What turns images as they are stored into what a network reads; `white` is what white is stored as.

        `images` are those trained on, in memory or some (n, c, h, w) at a time; only "stats" reads them.
        """
        shift, scale = IMAGENET if self.normalize == "imagenet" else (self.mean, self.std)
        if shift is not None and scale is not None:
            return Preprocess([white * each for each in shift], [white * each for each in scale])
        if self.normalize == "unit":
            return Preprocess(0.0, white)
        if self.normalize == "half":
            return Preprocess(white / 2, white / 2)
        pieces = torch.split(images.x, rows_a_piece(images.x)) if isinstance(images, Images) else images
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for piece in filter(len, pieces):  # merged as in Chan, Golub, LeVeque 1983
            pixels, added = piece.double(), piece[:, 0].numel()
            change = pixels.mean((0, 2, 3)) - mean
            between = change**2 * (count * added / (count + added))
            squares = squares + pixels.var((0, 2, 3), correction=0) * added + between
            mean, count = mean + change * (added / (count + added)), count + added
        std = (squares / count).sqrt()
        # A channel that is the same everywhere has nothing to scale.
        return Preprocess(mean.tolist(), torch.where(std > 0, std, white).tolist())


def prepared(plugin: Callable[..., Splits]) -> Callable[..., Splits]:
    """Give a data set the options of `Preparation`; the function below gets them as its first argument.

    `@prepared` above `def stripes(prepare, *, size: int = 16) -> Splits` makes `stripes(size=..., valid_ratio=..., ...)`.
    An option that is a Path may be given as text too.
    """
    shared = inspect.signature(Preparation, eval_str=True).parameters
    own = list(inspect.signature(plugin).parameters.values())[1:]
    for parameter in own:
        if parameter.name in shared:
            raise TypeError(
                f"{plugin.__name__} has an option '{parameter.name}' of its own beside that of @prepared; rename it"
            )

    paths = {each.name for each in own if each.annotation in (Path, Path | None, "Path", "Path | None")}

    @functools.wraps(plugin)
    def build(**options: Any) -> Splits:
        prepare = Preparation(**{name: options.pop(name) for name in shared if name in options})
        for name in paths & options.keys():
            options[name] = None if options[name] is None else as_path(name, options[name])
        return plugin(prepare, **options)

    rest = [parameter for parameter in own if parameter.kind == inspect.Parameter.VAR_KEYWORD]  # **options, always last
    named = [*own[: len(own) - len(rest)], *shared.values()]
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in named]
    build.__signature__ = inspect.Signature([*named, *rest])  # type: ignore[attr-defined]
    return build
