"""`TorchClassifier`: a scikit-learn classifier that trains on NumPy arrays, with the methods of a course note."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin  # type: ignore[import-untyped]
from sklearn.preprocessing import LabelEncoder  # type: ignore[import-untyped]
from sklearn.utils import check_random_state, check_scalar  # type: ignore[import-untyped]
from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]
from sklearn.utils.validation import check_is_fitted, validate_data  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.data import Images
from tinyclsf.errors import ConfigurationError, DataWarning
from tinyclsf.finetuning import put_in_training
from tinyclsf.history import History
from tinyclsf.loop.evaluation import score
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.preparation import Preparation
from tinyclsf.progress.display import Progress
from tinyclsf.recipes import make_optimizer
from tinyclsf.trainer import Trainer
from tinyclsf.training import get_data, loss_batch


class TorchClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier with a network inside, and with the `train`, `train_batch` and `evaluate` of a course note.

    model: a network; it is copied, never changed. It gets uint8 images scaled to 0..1 and other numbers unchanged. Output i
        stands for label i if all labels are whole numbers below the number of outputs, else for the i-th label in sorted
        order. Without a model, a small network is built for the shape of x; it scales numbers other than uint8 by the mean and
        standard deviation of each feature, or channel, over the training rows.
    batch_size: rows per step.
    val_ratio: the share of the rows, the same in every class, to validate on instead of training on them; `history_` has their
        valid figures. If that rounds to no row, `valid_rows_` is empty and training rows are used for these figures.
    epochs: how often `fit` goes through the training rows.
    lr: the learning rate.
    optimizer: the name of an optimizer in `torch.optim`.
    device: "auto" takes CUDA, then MPS, then the CPU.
    random_state: decides split, initial weights, order and dropout; global generators of PyTorch are not touched.
    progress: by default shown in a notebook and on a terminal; True shows it everywhere, False nowhere.
    Fitted: `model_` (takes images, and features as images of one pixel), `classes_`, `history_` (one `Epoch` each), `n_iter_`
    (number of epochs), `valid_rows_` (the rows of the last x used for validation), `n_features_in_` (numbers in a row of x).
    Shapes: x (n, features), (n, h, w) or (n, c, h, w); y (n,) labels of any kind.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        batch_size: int = 32,
        val_ratio: float = 0.2,
        *,
        epochs: int = 20,
        lr: float = 0.001,
        optimizer: str = "rmsprop",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        progress: bool | Progress | None = None,
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self.val_ratio = val_ratio
        self.epochs = epochs
        self.lr = lr
        self.optimizer = optimizer
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: ArrayLike, y: ArrayLike) -> TorchClassifier:  # noqa: N803
        """Train for `epochs` epochs, from new weights.

        Raises: ValueError if X or y is not valid; ConfigurationError if a setting or the model does not fit;
        TrainingError if a loss is not a finite number.
        """
        self._train(*self._begin(X, y, self.val_ratio), self.epochs)
        return self

    def train(self, x: ArrayLike, y: ArrayLike, epochs: int) -> History:
        """Train for some epochs from the current weights, if there are any, and return one row per epoch.

        Optimizer and random numbers continue too: two calls with the same x and y validate on the same rows, and on the CPU end
        like one call with as many epochs. A changed `lr` or `optimizer` applies to the next `fit`.
        Raises: the errors of `fit`; ValueError if x or y does not fit the earlier data.
        """
        data = self._go_on(x, y) if hasattr(self, "model_") else self._begin(x, y, self.val_ratio)
        return self._train(*data, epochs)

    def train_batch(self, x: ArrayLike, y: ArrayLike) -> float:
        """Make one optimizer step on a batch, and return the loss before the step.

        Before any training, labels and scaling are taken from this batch alone.
        Raises: as `train`, but no error for a loss that is not finite.
        """
        data = self._go_on(x, y) if hasattr(self, "model_") else self._begin(x, y, 0.0)
        trainer = self._trainer()
        xb, yb = (tensor.to(trainer.device) for tensor in data)
        put_in_training(self.model_)
        with self._own_numbers(trainer.device):
            loss, _ = loss_batch(self.model_, F.cross_entropy, xb, yb, self._optimizer)
        return loss

    def evaluate(self, x: ArrayLike, y_true: ArrayLike, verbose: bool = True) -> tuple[float, float]:
        """Return the accuracy, 0..1, and the mean cross-entropy over some rows.

        `verbose` prints both, below shapes and the probabilities of the first five rows; labels are positions in `classes_`.

        Raises: NotFittedError before any training; ValueError if x or y_true does not fit it.
        """
        check_is_fitted(self)
        predictions = self._trainer().predict(self._batches(*self._go_on(x, y_true)))
        found = score("given", predictions, F.cross_entropy)
        if verbose:
            print(predictions)
            print(f"accuracy {100 * found.accuracy:.2f} %, loss {found.loss:.4f}")
        return found.accuracy, found.loss

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each of `classes_`, (n, classes).

        Raises: NotFittedError before any training; ValueError if X does not fit it.
        """
        check_is_fitted(self)
        images, _ = self._checked(X)
        logits = self._trainer().predict(self._batches(images, torch.zeros(len(images)))).logits
        shares: NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
        return shares

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The most probable label of each row, (n,).

        Raises: the errors of `predict_proba`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _begin(self, x: ArrayLike, y: ArrayLike, val_ratio: float) -> tuple[Tensor, Tensor]:
        """Forget all that was learnt, and get ready for data like these; gives images and labels as tensors."""
        images, named = self._checked(x, y, reset=True)
        check_classification_targets(named)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._random = torch.Generator().manual_seed(self._seed).get_state()
        self._calls = 0
        with self._own_numbers(torch.device("cpu")):
            if self.model is None:
                classes = np.unique(named)
                network = _small_network(images.shape[1:], len(classes))
            else:
                network = _copied(self.model, flat=self._flat)
                classes = _meant_by(network, images[:1], named)
        self._encoder = LabelEncoder().fit(classes)
        self.classes_ = self._encoder.classes_
        labels = torch.from_numpy(self._encoder.transform(named))
        preprocess = Preprocess(0.0, 255.0 if images.dtype == torch.uint8 else 1.0)
        if self.model is None and images.dtype != torch.uint8:
            kept = _without(self._held_out(labels, val_ratio), images, labels)
            preprocess = Preparation(normalize="stats").scaling(kept, white=1.0)
        model = Classifier(preprocess, network, [str(label) for label in classes], images.shape[1:])
        self._optimizer = make_optimizer(self.optimizer, model.parameters(), lr=self.lr)
        self.model_ = model
        self.history_ = History()
        self.n_iter_ = 0
        self.valid_rows_ = np.arange(0)
        return images, labels

    def _go_on(self, x: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
        images, named = self._checked(x, y)
        unknown = ~np.isin(named, self.classes_)
        if unknown.any():
            first = int(unknown.argmax())
            learnt = f"the {len(self.classes_)} classes that were learnt first"
            raise ValueError(f"label {first} of y is {named.tolist()[first]!r}, which is none of {learnt}")
        return images, torch.from_numpy(self._encoder.transform(named))

    def _train(self, images: Tensor, labels: Tensor, epochs: int) -> History:
        check_scalar(epochs, "epochs", Integral, min_val=1)
        held_out = self._held_out(labels, self.val_ratio)
        train = _without(held_out, images, labels)
        valid = Images(images[held_out], labels[held_out]) if len(held_out) else train
        trainer = self._trainer()
        with self._own_numbers(trainer.device):
            rows = trainer.fit(epochs, *get_data(train, valid, self.batch_size), progress=self.progress)
        rows = History(row._replace(epoch=self.n_iter_ + row.epoch) for row in rows)
        self.history_ = History([*self.history_, *rows])
        self.n_iter_ = len(self.history_)
        self.valid_rows_ = held_out.numpy()
        return rows

    def _trainer(self) -> Trainer:
        return Trainer(self.model_, F.cross_entropy, self._optimizer, device=self.device)

    def _batches(self, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        # Not by a loader, which draws a random number even where it does not shuffle.
        rows = 2 * int(self.batch_size)
        return list(zip(torch.split(images, rows), torch.split(labels, rows), strict=True))

    def _held_out(self, labels: Tensor, val_ratio: float) -> Tensor:
        size = min(round(val_ratio * len(labels)), len(labels) - 1)
        if size == 0:
            return torch.arange(0)
        return Preparation(valid_size=size, split="stratified", seed=self._seed).held_out(labels)

    def _checked(self, x: Any, y: Any = "no_validation", *, reset: bool = False) -> tuple[Tensor, Any]:
        """x as images and y as it is, if scikit-learn finds no fault; `reset` makes them the measure of later ones."""
        check_scalar(self.batch_size, "batch_size", Integral, min_val=1)
        check_scalar(self.val_ratio, "val_ratio", Real, min_val=0, max_val=1, include_boundaries="left")
        if math.isnan(self.val_ratio):
            raise ValueError("val_ratio == nan, must be >= 0 and < 1.")
        shape = tuple((x if hasattr(x, "shape") else np.asarray(x)).shape)
        stored: type = np.float32
        if len(shape) > 4:
            raise ValueError(f"X has {len(shape)} dimensions; wanted (n, features), (n, h, w) or (n, c, h, w)")
        if reset and len(shape) == 4 and min(shape[1:3]) > 4 and shape[3] in (1, 3, 4):
            warnings.warn(
                f"X of shape {shape} is read as {shape[1]} channels of {shape[2]}x{shape[3]} pixels; "
                "for channels last give X.transpose(0, 3, 1, 2)",
                DataWarning,
                stacklevel=3,
            )
        if len(shape) > 2:
            x = np.asarray(x)
            stored = np.uint8 if x.dtype == np.uint8 else np.float32
            x = x.reshape(len(x), math.prod(shape[1:]))  # scikit-learn's own checks are for rows of numbers
        checked = validate_data(self, x, y, reset=reset, dtype=stored)
        x, y = checked if isinstance(checked, tuple) else (checked, None)
        image_shape = {1: (*shape[1:], 1, 1), 2: (1, *shape[1:]), 3: shape[1:]}[len(shape) - 1]
        if reset:
            self._image_shape, self._stored, self._flat = image_shape, stored, len(shape) == 2
        elif (image_shape, stored) != (self._image_shape, self._stored):
            raise ValueError(
                f"X has images of {_described(image_shape, stored)}; wanted {_described(self._image_shape, self._stored)}, "
                "as it was in training"
            )
        writeable = np.require(x, requirements=["C", "W"])  # PyTorch warns of any other
        return torch.from_numpy(writeable).view(-1, *image_shape), y

    @contextmanager
    def _own_numbers(self, device: torch.device) -> Iterator[None]:
        """Random numbers of our own, that go on where they stopped; the caller's go on as if none had been drawn."""
        other = device.type != "cpu"
        devices = range(torch.get_device_module(device).device_count()) if other else ()
        with torch.random.fork_rng(devices, device_type=device.type if other else "cuda"):
            torch.set_rng_state(self._random)
            if other:
                torch.manual_seed(self._seed + self._calls)  # the device, for each call anew
                torch.set_rng_state(self._random)  # and not the CPU, which draws the order of the batches
                self._calls += 1
            yield
            self._random = torch.get_rng_state()


def _small_network(image_shape: Sequence[int], num_classes: int) -> nn.Module:
    """One hidden layer for features, two convolutions for images of any size."""
    channels, height, width = image_shape
    if height == width == 1:
        return nn.Sequential(nn.Flatten(), nn.Linear(channels, 100), nn.ReLU(), nn.Linear(100, num_classes))
    return nn.Sequential(
        *(nn.Conv2d(channels, 32, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        *(nn.Conv2d(32, 64, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        nn.Flatten(),
        nn.Linear(64 * math.ceil(height / 4) * math.ceil(width / 4), num_classes),
    )


def _copied(model: nn.Module, *, flat: bool) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ConfigurationError(f"model is of type {type(model).__name__}; wanted an nn.Module, or None for a small network")
    copied = copy.deepcopy(model).cpu()
    return nn.Sequential(nn.Flatten(), copied) if flat else copied


def _meant_by(network: nn.Module, image: Tensor, y: NDArray[Any]) -> NDArray[Any]:
    with torch.no_grad():
        out: Tensor = network.eval()(image.float())
    if out.ndim != 2 or len(out) != 1:
        raise ConfigurationError(f"the model gives outputs of shape {tuple(out.shape)} for one row; wanted logits (1, classes)")
    outputs, classes = out.shape[1], np.unique(y)
    if classes.dtype.kind in "iu" and classes[0] >= 0 and classes[-1] < outputs:
        return np.arange(outputs)
    if len(classes) != outputs:
        raise ConfigurationError(
            f"the model gives {outputs} outputs and y has {len(classes)} labels; wanted an output for each, "
            f"or whole numbers from 0 to {outputs - 1} as labels"
        )
    return classes


def _without(rows: Tensor, images: Tensor, labels: Tensor) -> Images:
    kept = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, rows, False)
    return Images(images[kept], labels[kept])


def _described(image_shape: Sequence[int], stored: type) -> str:
    return f"shape {tuple(image_shape)} and type {stored.__name__}"
