"""An epoch of training and validation on MNIST: the tutorial's loop, `fit` and `Trainer`, on the tutorial's two models.

`python benchmarks/loops.py cuda` runs it on a GPU: there the first two move each batch with a WrappedDataLoader,
as the tutorial does.
"""

import contextlib
import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tutorial_loop
from pairs import compare, mnist_as_floats
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tinyclsf import Trainer, WrappedDataLoader, fit, get_data
from tinyclsf.callbacks import JsonLines
from tinyclsf.cli.console import Watch
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN
from tinyclsf_plugins.models.mnist_logistic import Mnist_Logistic


def main(device: str) -> None:
    x_train, y_train, x_valid, y_valid = mnist_as_floats()
    train_ds, valid_ds = TensorDataset(x_train, y_train), TensorDataset(x_valid, y_valid)
    plain = DataLoader(train_ds, 64, shuffle=True), DataLoader(valid_ds, 128)
    ours = get_data(train_ds, valid_ds, 64)

    def moved(dls):
        return dls if device == "cpu" else [WrappedDataLoader(dl, lambda x, y: (x.to(device), y.to(device))) for dl in dls]

    ended = {}

    def begin(make):
        torch.manual_seed(0)
        model = make().to(device)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def tutorial(make):
        model, opt = begin(make)
        with contextlib.redirect_stdout(io.StringIO()):
            tutorial_loop.fit(1, model, F.cross_entropy, opt, *moved(plain))
        ended["tutorial"] = list(model.parameters())

    def our_fit(make):
        model, opt = begin(make)
        with contextlib.redirect_stdout(io.StringIO()):
            fit(1, model, F.cross_entropy, opt, *moved(ours))
        ended["fit"] = list(model.parameters())

    def trainer(make):
        model, opt = begin(make)
        with TemporaryDirectory() as folder, Watch("bar") as watch:
            callbacks = [JsonLines(Path(folder, "metrics.jsonl")), watch]
            Trainer(model, F.cross_entropy, opt, device=device, callbacks=callbacks).fit(1, *ours)

    for make in (Mnist_Logistic, Mnist_CNN):
        ways = {
            "the tutorial's loop": lambda make=make: tutorial(make),
            "fit": lambda make=make: our_fit(make),
            "Trainer, with progress bar and metrics": lambda make=make: trainer(make),
        }
        compare(f"an epoch of {make.__name__}", ways)
        same = all(torch.equal(a, b) for a, b in zip(ended["tutorial"], ended["fit"], strict=True))
        print(f"  parameters of fit and of the tutorial's loop are {'equal bit for bit' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
