"""An epoch of training and validation on MNIST: a bare loop, the Trainer, and other libraries in the way that each documents.

Each way runs in a process of its own, as a person would run it, on the CPU; the ways take turns, round after round. All train
with SGD 0.1, momentum 0.9, in batches of 64 of the same tensors, and give the loss and accuracy of each epoch's validation
(the bare loop computes the loss alone). The others read a DataLoader over a TensorDataset and show no progress; the Trainer
has bar and table, JSONL and a checkpoint each epoch on. Bare loop and Trainer use channels_last where the model has
convolutions; nothing is compiled. `pip install -r benchmarks/requirements.txt` installs the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from loops import MODELS, bare
from overhead import sgd, watched_trainer
from pairs import mnist_as_floats
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tinyclsf import Epoch, Trainer, accuracy, get_data
from tinyclsf.trainer import Callback


class Job(NamedTuple):
    """What each way is given; it calls `lap` at the end of every epoch and returns the last validation accuracy."""

    name: str
    model: nn.Module
    train: TensorDataset
    valid: TensorDataset
    epochs: int
    lap: Callable[[], None]

    def loaders(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """PyTorch's ordinary loaders."""
        return DataLoader(self.train, 64, shuffle=True), DataLoader(self.valid, 128)


def with_bare_loop(job: Job) -> float:
    opt = sgd(job.model)
    for _ in range(job.epochs):
        bare(job.model, opt, job.train, job.valid)
        job.lap()
    x, y = job.valid.tensors
    with torch.no_grad():
        return float(accuracy(job.model(x), y))


def with_trainer(job: Job) -> float:
    class Lap(Callback):
        def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
            job.lap()

    with watched_trainer(job.model, sgd(job.model)) as trainer:
        trainer.callbacks.append(Lap())
        history = trainer.fit(job.epochs, *get_data(job.train, job.valid, 64))
    return history[-1].valid_accuracy or 0.0


def with_accelerate(job: Job) -> float:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, opt, train_dl, valid_dl = accelerator.prepare(job.model, sgd(job.model), *job.loaders())
    for _ in range(job.epochs):
        model.train()
        for xb, yb in train_dl:
            loss = F.cross_entropy(model(xb), yb)
            accelerator.backward(loss)
            opt.step()
            opt.zero_grad()
        model.eval()
        total, correct, count = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0
        for xb, yb in valid_dl:
            with torch.no_grad():
                out = model(xb)
            out, yb = accelerator.gather_for_metrics((out, yb))
            total += F.cross_entropy(out, yb, reduction="sum")
            correct += (out.argmax(dim=-1) == yb).sum()
            count += len(yb)
        figures = {"loss": total.item() / count, "accuracy": correct.item() / count}
        job.lap()
    return figures["accuracy"]


def with_skorch(job: Job) -> float:
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback as SkorchCallback
    from skorch.helper import predefined_split

    class Lap(SkorchCallback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            job.lap()

    net = NeuralNetClassifier(
        job.model,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.1,
        max_epochs=job.epochs,
        batch_size=64,
        iterator_train__shuffle=True,
        iterator_valid__batch_size=128,
        train_split=predefined_split(job.valid),
        classes=list(range(10)),
        callbacks=[Lap()],
        callbacks__print_log=None,
    )
    net.fit(job.train, y=None)
    return float(net.history[-1, "valid_acc"])


def with_lightning(job: Job) -> float:
    import lightning as L

    class Classifier(L.LightningModule):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            xb, yb = batch
            return F.cross_entropy(self.model(xb), yb)

        def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
            xb, yb = batch
            out = self.model(xb)
            figures = {"valid_loss": F.cross_entropy(out, yb), "valid_accuracy": (out.argmax(dim=1) == yb).float().mean()}
            self.log_dict(figures, batch_size=len(xb))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self.model)

        def on_train_epoch_end(self) -> None:  # it comes after the validation
            job.lap()

    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=job.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Classifier(job.model), *job.loaders())
    return float(trainer.callback_metrics["valid_accuracy"])


def with_fastai(job: Job) -> float:
    from fastai.callback import progress  # noqa: F401  # it adds no_bar to Learner
    from fastai.callback.core import Callback as FastaiCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import SGD

    class Lap(FastaiCallback):
        order = 100  # after the figures are recorded

        def after_epoch(self) -> None:
            job.lap()

    dls = DataLoaders(*job.loaders(), device=torch.device("cpu"))
    learn = Learner(dls, job.model, loss_func=F.cross_entropy, opt_func=partial(SGD, mom=0.9), metrics=accuracy, cbs=Lap())
    with learn.no_bar(), learn.no_logging():
        learn.fit(job.epochs, lr=0.1)
    return float(learn.recorder.values[-1][-1])


def with_ignite(job: Job) -> float:
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy, Loss

    train_dl, valid_dl = job.loaders()
    trainer = create_supervised_trainer(job.model, sgd(job.model), F.cross_entropy)
    evaluator = create_supervised_evaluator(job.model, metrics={"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)})

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        evaluator.run(valid_dl)
        job.lap()

    trainer.run(train_dl, max_epochs=job.epochs)
    return float(evaluator.state.metrics["accuracy"])


def with_keras(job: Job) -> float:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras import layers

    def convolution(filters: int) -> keras.Layer:
        return layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")

    # Keras has models of its own: the same layers, with the first weights that Keras gives them.
    network = {
        "Mnist_Logistic": [layers.Dense(10)],
        "Mnist_CNN": [layers.Reshape((28, 28, 1)), *map(convolution, (16, 16, 10)), layers.GlobalAveragePooling2D()],
    }[job.name]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((784,)), *network])
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    lap = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: job.lap())
    train_dl, valid_dl = job.loaders()
    history = model.fit(train_dl, validation_data=valid_dl, epochs=job.epochs, verbose=0, callbacks=[lap])
    return float(history.history["val_accuracy"][-1])


WAYS: dict[str, Callable[[Job], float]] = {
    "bare": with_bare_loop,
    "trainer": with_trainer,
    "accelerate": with_accelerate,
    "skorch": with_skorch,
    "lightning": with_lightning,
    "fastai": with_fastai,
    "ignite": with_ignite,
    "keras": with_keras,
}
DISTRIBUTIONS = {"bare": "torch", "trainer": "tinyclsf", "ignite": "pytorch-ignite"}  # where it is not the way's name


def measure(way: str, name: str, epochs: int) -> None:
    """Train for some epochs; print the median seconds of all but the first, and the validation accuracy of the last."""
    x_train, y_train, x_valid, y_valid = mnist_as_floats()
    torch.manual_seed(0)
    laps = [time.perf_counter()]
    job = Job(
        name,
        MODELS[name](),
        TensorDataset(x_train, y_train),
        TensorDataset(x_valid, y_valid),
        epochs,
        lambda: laps.append(time.perf_counter()),
    )
    reached = WAYS[way](job)
    seconds = [end - start for start, end in pairwise(laps[1:])]
    print(statistics.median(seconds), reached)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME[,NAME]", default=",".join(WAYS), help=f"some of {', '.join(WAYS)}")
    parser.add_argument("--model", choices=MODELS, help="only this one")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="processes for each way (default 5)")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="epochs in each process (default 4)")
    parser.add_argument("--measure", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs < 2:
        parser.error(f"--epochs is {options.epochs}; wanted at least 2: the first only warms up")
    if unknown := set(options.only.split(",")) - set(WAYS):
        parser.error(f"--only has {', '.join(sorted(unknown))}; wanted some of {', '.join(WAYS)}")
    if options.measure:
        measure(options.measure, options.model, options.epochs)
        return
    for name in [options.model] if options.model else MODELS:
        report(name, options.only.split(","), options.rounds, options.epochs)


def report(name: str, ways: list[str], rounds: int, epochs: int) -> None:
    """Run the processes for a model, way after way, and print the table."""
    versions = {way: installed(DISTRIBUTIONS.get(way, way)) for way in ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways if versions[way]}
    reached: dict[str, list[float]] = {way: [] for way in seconds}
    for _ in range(rounds):
        for way in seconds:
            command = [sys.executable, __file__, "--measure", way, "--model", name, "--epochs", str(epochs)]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
            if done.returncode:
                sys.exit(f"{way} failed:\n{done.stderr}")
            epoch, share = map(float, done.stdout.splitlines()[-1].split())
            seconds[way].append(epoch)
            reached[way].append(share)
    print(f"an epoch of {name} (median of {rounds}; torch {torch.__version__}, {torch.get_num_threads()} threads)")
    for way in ways:
        if way not in seconds:
            print(f"  {way:<10} is not installed")
            continue
        times = seconds[way]
        line = f"  {way:<10} {versions[way]:<12} {statistics.median(times):6.3f} s  ({min(times):.3f} to {max(times):.3f})"
        if "trainer" in seconds:
            ratio = statistics.median(a / b for a, b in zip(times, seconds["trainer"], strict=True))
            line += f"  {ratio:5.2f} times as slow as the Trainer"
        print(f"{line}  valid accuracy {statistics.median(reached[way]):.2%} after {epochs} epochs")


def installed(distribution: str) -> str | None:
    """The version that is installed, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
