"""An epoch of training and validation on MNIST: the tutorial's loop, `fit` and `Trainer`, on the tutorial's two models.

Each way runs in a process of its own, as a person would run it: in one process they would share the state of the C library's
memory allocator, on which the time of a convolution depends. The ways take turns, round after round.
"""

import contextlib
import hashlib
import io
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tutorial_loop
from pairs import mnist_as_floats
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tinyclsf import Trainer, fit, get_data
from tinyclsf.progress.display import Progress
from tinyclsf.runs.keeping import history_lines
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN
from tinyclsf_plugins.models.mnist_logistic import Mnist_Logistic

MODELS = {"Mnist_Logistic": Mnist_Logistic, "Mnist_CNN": Mnist_CNN}
WAYS = ("the tutorial's loop", "bare loop, channels_last", "fit", "Trainer, with bar and metrics")
ROUNDS, EPOCHS = 5, 4


def bare(model, opt, train_ds, valid_ds):
    """The least that training and validating can be: no loader, no metrics, nothing shown."""
    (x, y), (x_valid, y_valid) = train_ds.tensors, valid_ds.tensors
    model.to(memory_format=torch.channels_last).train()
    for index in torch.randperm(len(x)).split(64):
        F.cross_entropy(model(x.index_select(0, index)), y.index_select(0, index)).backward()
        opt.step()
        opt.zero_grad()
    model.eval()
    with torch.no_grad():
        for index in torch.arange(len(x_valid)).split(128):
            F.cross_entropy(model(x_valid.index_select(0, index)), y_valid.index_select(0, index))


def measure(way: str, name: str) -> None:
    """Train for some epochs; print the median seconds of all but the first, and a digest of the parameters."""
    x_train, y_train, x_valid, y_valid = mnist_as_floats()
    train_ds, valid_ds = TensorDataset(x_train, y_train), TensorDataset(x_valid, y_valid)
    torch.manual_seed(0)
    model = MODELS[name]()
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    plain = DataLoader(train_ds, 64, shuffle=True), DataLoader(valid_ds, 128)
    ours = get_data(train_ds, valid_ds, 64)
    seconds = []
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), Progress("bar") as progress:
        trainer = Trainer(model, F.cross_entropy, opt, device="cpu", memory_format="auto" if "Trainer" in way else "contiguous")
        trainer.callbacks.append(history_lines(Path(folder, "metrics.jsonl")))
        epoch = {
            WAYS[0]: lambda: tutorial_loop.fit(1, model, F.cross_entropy, opt, *plain),
            WAYS[1]: lambda: bare(model, opt, train_ds, valid_ds),
            WAYS[2]: lambda: fit(1, model, F.cross_entropy, opt, *ours),
            WAYS[3]: lambda: trainer.fit(1, *ours, progress=progress),
        }[way]
        for _ in range(EPOCHS):
            start = time.perf_counter()
            epoch()
            seconds.append(time.perf_counter() - start)
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
    print(statistics.median(seconds[1:]), digest)


def main() -> None:
    for name in MODELS:
        seconds, digests = {way: [] for way in WAYS}, {}
        for _ in range(ROUNDS):
            for way in WAYS:
                command = [sys.executable, __file__, way, name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                epoch, digests[way] = done.stdout.split()
                seconds[way].append(float(epoch))
        print(f"an epoch of {name} (median of {ROUNDS}; torch {torch.__version__}, {torch.get_num_threads()} threads)")
        for way, times in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(seconds[WAYS[0]], times, strict=True))
            spread = f"{min(times):.3f} to {max(times):.3f}"
            print(f"  {way:<30} {statistics.median(times):6.3f} s  ({spread})  {ratio:5.2f} times as fast")
        same = digests["fit"] == digests["the tutorial's loop"]
        print(f"  parameters of fit and of the tutorial's loop are {'equal bit for bit' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    measure(*sys.argv[1:]) if len(sys.argv) > 1 else main()
