"""`Trainer` against `fit`, PyTorch's own schedules and scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import IterableDataset, TensorDataset

from tinyclsf import Epoch, Lambda, Trainer, fit, get_data
from tinyclsf.callbacks import Callback, EpochSchedule
from tinyclsf.errors import ConfigurationError, DataError, TrainingError
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN
from tinyclsf_plugins.models.mnist_logistic import Mnist_Logistic


def images(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.rand(n, 784, generator=generator), torch.randint(10, (n,), generator=generator))


def begin(make: Callable[[], nn.Module], lr: float = 0.1) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(7)
    model = make()
    return model, torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def regularised() -> nn.Module:
    """Layers that do one thing in training and another in evaluation."""
    return nn.Sequential(nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))


@pytest.mark.parametrize("make", [Mnist_Logistic, Mnist_CNN, regularised])
def test_with_every_extra_off_it_ends_bit_for_bit_where_fit_ends(make: Callable[[], nn.Module]) -> None:
    loaders = get_data(images(650, 0), images(130, 1), 64)
    model, opt = begin(make)
    wanted = fit(3, model, F.cross_entropy, opt, *loaders, on_epoch=lambda row: None)
    state = model.state_dict()
    other, opt = begin(make)
    history = Trainer(other, F.cross_entropy, opt, device="cpu", memory_format="contiguous").fit(3, *loaders)
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())
    for ours, theirs in zip(history, wanted, strict=True):
        assert (ours.epoch, ours.valid_accuracy) == (theirs.epoch, theirs.valid_accuracy)
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-9)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-9)


def test_memory_format_is_channels_last_only_where_there_are_convolutions() -> None:
    model, opt = begin(Mnist_CNN)
    assert Trainer(model, F.cross_entropy, opt, device="cpu").memory_format == "channels_last"
    assert model.get_parameter("conv2.weight").is_contiguous(memory_format=torch.channels_last)
    model, opt = begin(Mnist_Logistic)
    assert Trainer(model, F.cross_entropy, opt, device="cpu").memory_format == "contiguous"
    with pytest.raises(ConfigurationError) as error:
        Trainer(model, F.cross_entropy, opt, memory_format="nhwc")  # type: ignore[arg-type]
    assert str(error.value) == "'nhwc' is not a memory format; use auto, channels_last or contiguous"


def test_channels_last_trains_to_the_same_figures() -> None:
    loaders = get_data(images(650, 0), images(130, 1), 64)
    rows = []
    for memory_format in ("contiguous", "channels_last"):
        model, opt = begin(Mnist_CNN, lr=0.01)
        trainer = Trainer(model, F.cross_entropy, opt, device="cpu", memory_format=memory_format)
        rows.append(trainer.fit(1, *loaders)[0])
    assert rows[0].train_loss == pytest.approx(rows[1].train_loss, rel=1e-4)
    assert rows[0].valid_loss == pytest.approx(rows[1].valid_loss, rel=1e-4)


def test_evaluate_and_predict_count_each_sample_once() -> None:
    model, opt = begin(Mnist_Logistic)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    data = images(131, 1)
    _, dl = get_data(data, data, 32)
    found, predictions = trainer.evaluate(dl), trainer.predict(dl)
    labels = data.tensors[1].numpy()
    with torch.no_grad():
        out = model(data.tensors[0])
    assert found.samples == 131
    assert found.accuracy == accuracy_score(labels, out.argmax(1).numpy())
    assert found.loss == pytest.approx(log_loss(labels, out.double().softmax(1).numpy(), labels=list(range(10))), rel=1e-6)
    assert torch.equal(predictions.labels, data.tensors[1])
    assert torch.allclose(predictions.logits, out, atol=1e-6)
    for method in (trainer.evaluate, trainer.predict):
        with pytest.raises(DataError, match=r"^the loader gave no batch: "):
            method([])


def test_training_batches_alone_are_augmented_as_stored() -> None:
    seen: list[torch.Tensor] = []

    def darken(x: torch.Tensor) -> torch.Tensor:
        assert torch.is_grad_enabled()
        seen.append(x)
        return x // 2

    stored = torch.randint(256, (70, 784), dtype=torch.uint8)
    train, valid = TensorDataset(stored, torch.zeros(70).long()), TensorDataset(stored[:9], torch.zeros(9).long())
    model, opt = begin(lambda: nn.Sequential(Lambda(lambda x: x / 255), nn.Linear(784, 10)), lr=1e-12)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", augment=darken)
    (row,) = trainer.fit(1, *get_data(train, valid, 32))
    assert [len(x) for x in seen] == [32, 32, 6]
    assert torch.equal(torch.cat(seen).float().sum(1).sort().values, stored.float().sum(1).sort().values)
    with torch.no_grad():
        assert row.train_loss == pytest.approx(F.cross_entropy(model(stored // 2), train.tensors[1]).item(), rel=1e-5)
        assert row.valid_loss == pytest.approx(F.cross_entropy(model(stored[:9]), valid.tensors[1]).item(), rel=1e-5)


def test_a_loss_that_is_a_module_trains_and_evaluates_with_the_model() -> None:
    modes = []

    class Watched(nn.CrossEntropyLoss):
        def forward(self, out: torch.Tensor, yb: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return super().forward(out, yb)

    model, opt = begin(Mnist_Logistic)
    Trainer(model, Watched(), opt, device="cpu").fit(2, *get_data(images(40, 0), images(8, 1), 32))
    assert modes == [True, True, False] * 2


def test_schedules_by_epoch_are_stepped_after_each_and_a_plateau_by_the_validation_loss() -> None:
    loaders = get_data(images(70, 0), images(8, 1), 32)
    model, opt = begin(Mnist_Logistic)
    rates: list[float] = []

    class Rates(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            rates.append(trainer.opt.param_groups[0]["lr"])

    by_epoch = EpochSchedule(StepLR(opt, 1, 0.5))
    Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[by_epoch, Rates()]).fit(3, *loaders)
    assert rates == [0.1] * 3 + [0.05] * 3 + [0.025] * 3

    model, opt = begin(Mnist_Logistic, lr=0.5)
    plateau = ReduceLROnPlateau(opt, factor=0.1, patience=0)
    history = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[EpochSchedule(plateau)]).fit(6, *loaders)
    _, other = begin(Mnist_Logistic, lr=0.5)
    reference = ReduceLROnPlateau(other, factor=0.1, patience=0)
    for row in history:
        reference.step(row.valid_loss)
    assert opt.param_groups[0]["lr"] == other.param_groups[0]["lr"] < 0.5


def test_the_schedule_is_stepped_after_every_batch() -> None:
    model, opt = begin(Mnist_Logistic)
    rates = []

    class Rates(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            rates.append(trainer.opt.param_groups[0]["lr"])

    schedule = OneCycleLR(opt, 0.1, total_steps=6)
    loaders = get_data(images(70, 0), images(8, 1), 32)
    Trainer(model, F.cross_entropy, opt, device="cpu", schedule=schedule, callbacks=[Rates()]).fit(2, *loaders)
    _, other = begin(Mnist_Logistic)
    reference = OneCycleLR(other, 0.1, total_steps=6)
    wanted = []
    for _ in range(6):
        other.step()
        reference.step()
        wanted.append(other.param_groups[0]["lr"])
    assert rates == wanted


class Recorder(Callback):
    """Every moment of a fit with what a callback may read at it."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.seen.append(("start", trainer.epochs, trainer.batches))

    def on_batch_end(self, trainer: Trainer) -> None:
        self.seen.append(("batch", trainer.epoch, trainer.batch, trainer.running_loss > 0))

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.seen.append(("epoch", row.epoch))

    def on_fit_end(self, trainer: Trainer) -> None:
        self.seen.append(("end",))


def test_callbacks_see_four_moments() -> None:
    model, opt = begin(Mnist_Logistic)
    recorder = Recorder()
    loaders = get_data(images(70, 0), images(8, 1), 64)
    Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[recorder]).fit(2, *loaders)
    epochs = [("batch", 1, 1, True), ("batch", 1, 2, True), ("epoch", 1), ("batch", 2, 1, True), ("batch", 2, 2, True)]
    assert recorder.seen == [("start", 2, 2), *epochs, ("epoch", 2), ("end",)]


def test_a_stream_has_no_number_of_batches() -> None:
    class Stream(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter([data[i] for i in range(len(data))])

    data = images(70, 0)
    model, opt = begin(Mnist_Logistic)
    recorder = Recorder()
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[recorder])
    (row,) = trainer.fit(1, *get_data(Stream(), Stream(), 64))
    assert recorder.seen[0] == ("start", 1, None)
    assert trainer.evaluate(get_data(data, data, 64)[1]).accuracy == row.valid_accuracy


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    model, opt = begin(Mnist_Logistic, lr=1e38)
    loaders = get_data(images(130, 0), images(8, 1), 64)
    with pytest.raises(TrainingError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu").fit(1, *loaders)
    assert str(error.value) == (
        "the training loss of epoch 1 is nan at learning rate 1e+38; "
        "lower the learning rate, or look for values in the data that are not finite"
    )


@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "xpu"])
def test_a_device_that_is_not_there_is_an_error(device: str) -> None:
    kind, count = device.split(":")[0], torch.cuda.device_count() if device.startswith("cuda") else 0
    if kind == "mps" and torch.backends.mps.is_available():
        count = 1
    model, opt = begin(Mnist_Logistic)
    with pytest.raises(ConfigurationError) as error:
        Trainer(model, F.cross_entropy, opt, device=device)
    assert str(error.value) == (
        f"device {device} was asked for and PyTorch {torch.__version__} finds {count} {kind} devices here; "
        "use --device auto or cpu"
    )


def test_a_word_that_is_no_device_is_an_error() -> None:
    model, opt = begin(Mnist_Logistic)
    with pytest.raises(ConfigurationError) as error:
        Trainer(model, F.cross_entropy, opt, device="gpu")
    assert str(error.value) == "'gpu' is not a device; use auto, cpu, cuda, cuda:0 or mps"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_to_the_figures_of_the_cpu() -> None:
    loaders = get_data(images(650, 0), images(130, 1), 64)
    rows = []
    for device in ("cpu", "cuda"):
        model, opt = begin(Mnist_CNN, lr=0.01)
        trainer = Trainer(model, F.cross_entropy, opt, device=device)
        rows.append(trainer.fit(2, *loaders)[-1])
        assert next(model.parameters()).device.type == device
        assert trainer.predict(loaders[1]).logits.device.type == "cpu"
    assert rows[0].train_loss == pytest.approx(rows[1].train_loss, rel=1e-3)
    assert rows[0].valid_loss == pytest.approx(rows[1].valid_loss, rel=1e-3)
