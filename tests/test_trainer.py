"""`Trainer` against `fit`, PyTorch's own schedules and scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import IterableDataset, TensorDataset

from tinyclsf import Epoch, Trainer, fit, get_data
from tinyclsf.callbacks import Callback
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
