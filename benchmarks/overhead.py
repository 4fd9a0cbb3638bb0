"""What a step of `Trainer` costs over a bare hand-written loop, with table, bar, JSONL and a checkpoint each epoch on.

Epochs of training and validation, in one process, in the order Trainer, bare, bare, Trainer: what else the machine does meets
both. The figure is the median over pairs of neighbouring epochs, of several processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from loops import MODELS, bare
from pairs import mnist_as_floats
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import TensorDataset

from tinyclsf import Epoch, Trainer, get_data
from tinyclsf.progress.display import Progress
from tinyclsf.runs.keeping import Checkpoints, history_lines
from tinyclsf.trainer import Callback

LIMITS = {"Mnist_CNN": 0.05, "Mnist_Logistic": 0.15}
BATCH_SIZE = 64


class Pairs(Callback):
    """Times the Trainer's epochs, and those of another loop that it runs in between: two after the first, third, ..."""

    def __init__(self, other: Callable[[], object]) -> None:
        self.other = other
        self.trainer_seconds: list[float] = []
        self.other_seconds: list[float] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.trainer_seconds.append(time.perf_counter() - self._start)
        for _ in range(2 * (row.epoch % 2)):
            start = time.perf_counter()
            self.other()
            self.other_seconds.append(time.perf_counter() - start)
        self._start = time.perf_counter()


@contextlib.contextmanager
def watched_trainer(model: nn.Module, opt: torch.optim.Optimizer) -> Iterator[tuple[Trainer, Progress]]:
    """A Trainer as a run has it on a terminal, which is drawn to nowhere: bar and table, JSONL, a checkpoint each epoch."""
    os.environ.update(FORCE_COLOR="1", TERM="xterm-256color")
    with (
        TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        Progress("bar") as progress,
    ):
        callbacks = [history_lines(Path(folder, "metrics.jsonl")), Checkpoints(Path(folder))]
        yield Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=callbacks), progress


def sgd(model: nn.Module) -> SGD:
    """The optimizer of every way that is compared."""
    return SGD(model.parameters(), lr=0.1, momentum=0.9)


def measure(name: str, epochs: int) -> None:
    """Train two models in turn; print the seconds of the epochs of each, but for the first."""
    x_train, y_train, x_valid, y_valid = mnist_as_floats()
    train_ds, valid_ds = TensorDataset(x_train, y_train), TensorDataset(x_valid, y_valid)
    torch.manual_seed(0)
    ours = MODELS[name]()
    torch.manual_seed(0)
    theirs = MODELS[name]()
    opt = sgd(theirs)
    pairs = Pairs(lambda: bare(theirs, opt, train_ds, valid_ds))
    with watched_trainer(ours, sgd(ours)) as (trainer, progress):
        trainer.callbacks.append(pairs)
        trainer.fit(epochs, *get_data(train_ds, valid_ds, BATCH_SIZE), progress=progress)
    print(json.dumps([pairs.trainer_seconds[1:], pairs.other_seconds[1:]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, help="only this one")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="processes for each model (default 5)")
    parser.add_argument("--epochs", type=int, default=8, metavar="N", help="epochs of each way in a process, even (default 8)")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs < 2 or options.epochs % 2:
        parser.error(f"--epochs is {options.epochs}; wanted an even number: the first of each way only warms up")
    if options.measure:
        measure(options.model, options.epochs)
        return
    for name in [options.model] if options.model else MODELS:
        report(name, options.rounds, options.epochs)


def report(name: str, rounds: int, epochs: int) -> None:
    """Run the processes for a model, one after the other, and print what they found."""
    found: list[tuple[list[float], list[float]]] = []
    for _ in range(rounds):
        command = [sys.executable, __file__, "--measure", "--model", name, "--epochs", str(epochs)]
        found.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
    ratios = [[ours / theirs for ours, theirs in zip(*seconds, strict=True)] for seconds in found]
    each = [statistics.median(process) - 1 for process in ratios]
    overhead = statistics.median(chain.from_iterable(ratios)) - 1
    trainer, other = (statistics.median(second for seconds in found for second in seconds[way]) for way in (0, 1))
    steps = -(-len(mnist_as_floats()[0]) // BATCH_SIZE)
    print(f"an epoch of {name}, training and validation (torch {torch.__version__}, {torch.get_num_threads()} threads)")
    print(f"  {'bare loop':<40} {other:6.3f} s, {other / steps * 1000:.3f} ms a step")
    print(f"  {'Trainer, all on':<40} {trainer:6.3f} s, {trainer / steps * 1000:.3f} ms a step")
    spread = f"{min(each):.1%} to {max(each):.1%} in {rounds} processes of {epochs - 1} pairs"
    held = "held" if overhead <= LIMITS[name] else "NOT held"
    print(f"  {'overhead, median of pairs':<40} {overhead:6.1%}  ({spread}); at most {LIMITS[name]:.0%}: {held}")


if __name__ == "__main__":
    main()
