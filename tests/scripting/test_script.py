"""A run written as a script: the script is run without tinyclsf, and has to end with the run's very weights."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from tinyclsf.augment.geometry import random_crop
from tinyclsf.augment.named import AUGMENTATIONS
from tinyclsf.cli.app import main
from tinyclsf.errors import ConfigurationError, PluginError, TinyclsfError
from tinyclsf.plugin import ScriptReader
from tinyclsf.scripting import script
from tinyclsf.scripting.script import write_script

DIGITS = ("--data", "digits", "-d", "train_size=640", "--epochs", "2")
RUNS: dict[str, tuple[str, ...]] = {
    "plain": ("mnist-logistic", *DIGITS),
    "cnn": ("mnist-cnn", *DIGITS, "--seed", "3", "-d", "seed=5"),
    "every-extra": (
        *("mlp", *DIGITS, "-m", "batch_norm=true", "--augment", "alternating-flip,crop,affine,cutout", "--accumulate", "3"),
        *("--clip-norm", "0.5", "--ema-decay", "0.9", "--schedule", "cosine", "--label-smoothing", "0.1"),
        *("--class-weights", "balanced"),
        *("--optimizer", "adamw", "--weight-decay", "0.1", "--lr", "0.001"),
    ),
    "mixed": (
        *("torch-clsf", *DIGITS, "--augment", "mixup,cutmix", "--schedule", "plateau", "--plateau-patience", "0"),
        *("--loss", "mse", "--epochs", "5", "--patience", "1", "--lr", "0.02"),
    ),
    "weighed": ("linear", "-d", "train_size=100", "--epochs", "2", "--augment", "mixup", "--class-weights", "balanced"),
    "step": ("mnist-cnn-sequential", *DIGITS, "--schedule", "step", "--gamma", "0.5", "-d", "normalize=stats"),
    "half": (
        *("linear", *DIGITS, "--schedule", "exponential", "-d", "normalize=half", "--precision", "bfloat16"),
        *("--class-weights", "balanced"),
    ),
    "fine-tuned": (
        *("mlp", "-m", "batch_norm=true", "-d", "train_size=640", "--epochs", "4", "--batch-size", "64"),
        *("--freeze", "backbone,batch-norm", "--unfreeze-after", "1"),
        *("--backbone-lr", "0.5", "--decayed", "weights", "--optimizer", "adamw", "--weight-decay", "0.1", "--augment", "crop"),
    ),
    "resnet": ("torchvision", "--data", "digits", "-d", "train_size=64", "--epochs", "1"),
    "last-of-one": ("torch-clsf", "-d", "train_size=129", "--epochs", "1", "--batch-size", "64"),  # its trial draws nothing
    "single-step": ("mnist-cnn", "-d", "train_size=64", "--epochs", "1"),  # of a one-cycle schedule
    "fraction": ("mnist-cnn", *DIGITS, "-d", "fraction=0.5"),
    "pictures": ("torch-clsf", "--data", "image-folder", "--epochs", "2", "-d", "size=12", "--batch-size", "4"),
    "padded": ("linear", "--data", "image-folder", "--epochs", "1", "-d", "size=9", "-d", "fit=pad"),
    "stretched": (
        *("linear", "--data", "image-folder", "--epochs", "1", "-d", "size=9", "-d", "fit=stretch"),
        *("-d", "mean=0.6,0.5,0.3", "-d", "std=0.3,0.2,0.1", "--augment", "trivialaugment"),
    ),
    "parts": ("linear", "--data", "image-folder", "--epochs", "2", "-d", "size=9", "-d", "channels=1", "--batch-size", "4"),
    "odd": (
        *("linear", "--data", "image-folder", "--epochs", "1", "-d", "size=9", "--batch-size", "4"),
        *("--augment", "resized-crop,jitter,grey,rotate,erase,blur,trivialaugment,randaugment"),
    ),
}
LONG = ("resnet", "mnist", "cnn", "step", "half", "parts", "padded", "last-of-one", "weighed", "single-step", "stretched")
MNIST = ("mnist-logistic", "--data", "mnist", "--epochs", "1", "--batch-size", "5000")
# Runs each script as a program of its own, where tinyclsf cannot be imported.
DRIVER = """
import contextlib, io, json, runpy, sys
import torch

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tinyclsf", "tinyclsf_plugins"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
torch.set_num_threads(int(sys.argv[1]))
for path in sys.argv[2:]:
    sys.argv = [path, path.replace(".py", ".pt")]
    with open(path.replace(".py", ".txt"), "w") as file, contextlib.redirect_stdout(file):
        runpy.run_path(path, run_name="__main__")
"""


def write_pictures(folder: Path, modes: tuple[str, ...] = ("RGB", "L", "RGBA", "P", "CMYK", "LA")) -> Path:
    """Ten pictures of two classes each, of different sizes, modes and endings, one of them turned by its EXIF data."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name / "more").mkdir(parents=True)
        for number in range(10):
            mode = modes[number % len(modes)]
            pixels = random.integers(0, 256, (12 + number, 30 - number, 4), dtype=np.uint8)
            picture = Image.fromarray(pixels, "RGBA").convert(mode if mode == "LA" else "RGB").convert(mode)
            if mode == "RGBA":
                picture = Image.fromarray(pixels, "RGBA")
            inside = folder / name / ("more" if number == 7 else "")
            if mode in ("RGB", "L", "CMYK"):
                exif = Image.Exif()
                exif[0x0112] = 1 + number
                picture.save(inside / f"{number}.JPG", format="JPEG", exif=exif)
            else:
                picture.save(inside / f"{number}.png")
        (folder / name / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, each with its script beside it, which has been run; long ones only where the stress mark asks for them."""
    root = tmp_path_factory.mktemp("script")
    photos = write_pictures(root / "photos")
    for part in ("Training", "val", "Testing"):
        write_pictures(root / "parted" / part, ("RGB", "L"))
    odd = write_pictures(root / "strange", ("L",))
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100).save(photos / "cat" / "deep.png")
    Image.new("L", (20, 20)).save(odd / "cat" / ".hidden.png")  # which the short reader would take for one of them
    folders = {"pictures": photos, "padded": photos, "stretched": photos, "parts": root / "parted", "odd": odd}
    mnist = os.environ.get("TINYCLSF_DATA")
    names = [*RUNS, "mnist"] if mnist and Path(mnist, "MNIST", "raw", "train-images-idx3-ubyte").exists() else [*RUNS]
    if "not stress" in request.config.option.markexpr:
        names = [name for name in names if name not in LONG]
    for name in names:
        more = ("--data-dir", str(folders[name])) if name in folders else ()
        assert (
            main(
                [
                    "fit",
                    *RUNS.get(name, MNIST),
                    *more,
                    "--device",
                    "cpu",
                    "--runs",
                    str(root),
                    "--run",
                    name,
                    "--progress",
                    "none",
                ]
            )
            == 0
        )
        write_script(root / name, root / f"{name}.py")
    scripts = [str(root / f"{name}.py") for name in names]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(torch.get_num_threads()), *scripts], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
    return root


def check_same(root: Path, name: str) -> None:
    """The script's weights are the run's, and it printed the run's accuracy."""
    found = torch.load(root / f"{name}.pt")
    wanted = safetensors.torch.load_file(root / name / "model.safetensors")
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert torch.equal(found[key], tensor), key
    lines = (root / f"{name}.txt").read_text().splitlines()
    scored = json.loads((root / name / "state.json").read_text())["held_out"]
    assert lines[-1].startswith(f"{scored['split']} accuracy {100 * scored['accuracy']:.2f} %")
    rows = [json.loads(line) for line in (root / name / "metrics.jsonl").read_text().splitlines()]
    assert [re.sub(r"/\d+", "", line.partition(",")[0]) for line in lines[:-1]] == [
        f"epoch {row['epoch']}: train loss {row['train_loss']:.4f}" for row in rows
    ]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.stress] * (name in LONG)) for name in RUNS])
def test_a_script_ends_with_the_very_weights_of_its_run(runs: Path, name: str) -> None:
    check_same(runs, name)


def test_a_run_from_before_averages_were_warmed_up_is_written_as_it_was(runs: Path, changed: Callable[..., Path]) -> None:
    assert "AveragedModel(model, multi_avg_fn=follow)" in (runs / "every-extra.py").read_text()
    folder = changed("every-extra")
    config = json.loads((folder / "config.json").read_text())
    del config["settings"]["ema_warmup"]
    (folder / "config.json").write_text(json.dumps(config))
    assert "AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))" in write_script(folder).text


def test_a_frozen_backbone_that_was_computed_once_is_told(runs: Path, changed: Callable[..., Path]) -> None:
    assert "agree only about" not in (runs / "fine-tuned.py").read_text()
    folder = changed("fine-tuned")
    config = json.loads((folder / "config.json").read_text())
    for name, value in (("unfreeze_after", None), ("augment", "none")):
        config["settings"][name]["value"] = value
    (folder / "config.json").write_text(json.dumps(config))
    wanted = "the run computed its frozen backbone once, the script in every epoch, so figures will agree only about"
    assert wanted in write_script(folder).notes


def test_patience_ended_the_run_that_has_it(runs: Path) -> None:
    assert len((runs / "mixed.txt").read_text().splitlines()) - 1 < 5


def test_a_plain_run_is_a_plain_script(runs: Path) -> None:
    text = (runs / "plain.py").read_text()
    assert len(text.splitlines()) < 170  # of which the data are 40
    for extra in (
        "schedule",
        "augment",
        "average",
        "DEVICE",
        "channels_last",
        "ACCUMULATE",
        "PATIENCE",
        "npz",
        "softmax",
        "balanced",
    ):
        assert extra not in text
    assert "tinyclsf" not in text.replace("(tinyclsf 0.1.0, PyTorch", "")
    assert "Mnist_Logistic_Manual" not in text
    accuracy = json.loads((runs / "plain" / "state.json").read_text())["held_out"]["accuracy"]
    assert text.startswith(
        f'"""Train mnist-logistic on digits, in plain PyTorch.\n\nMade from the run plain (tinyclsf 0.1.0, '
        f"PyTorch {torch.__version__}), which reached a test accuracy of {100 * accuracy:.2f} %.\n"
    )


def test_a_run_that_went_on_is_not_said_to_have_the_accuracy_of_earlier_weights(changed: Callable[..., Path]) -> None:
    folder = changed("plain")
    (folder / "state.json").unlink()
    assert "Made from the run plain (tinyclsf 0.1.0, PyTorch " in write_script(folder).text
    assert ", which has not been scored." in write_script(folder).text


def test_data_without_a_short_reader_go_into_a_file_beside_the_script(runs: Path) -> None:
    assert {path.name for path in runs.glob("*.npz")} == {"fraction.npz", "odd.npz"}
    written = write_script(runs / "fraction", runs / "again.py")
    assert (written.files, written.data) == ((runs / "again.py", runs / "again.npz"), "from again.npz beside the script")
    with np.load(runs / "again.npz") as arrays:
        assert {key: arrays[key].shape[0] for key in arrays} == {
            **dict.fromkeys(("train_x", "train_y"), 320),
            **dict.fromkeys(("valid_x", "valid_y", "test_x", "test_y"), 360),
        }
    with pytest.raises(ConfigurationError) as caught:
        write_script(runs / "fraction")
    assert str(caught.value) == (
        "the images of data set digits with these options go into an .npz file beside the script; give --out FILE.py"
    )


def test_scripts_are_formatted_and_have_no_unused_name(runs: Path) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not here: it comes with the extra dev")
    scripts = [str(path) for path in sorted(runs.glob("*.py"))]
    options = ["--isolated", "--line-length", "128", *scripts]
    for command in (["check", "--select", "E,F,I"], ["format", "--check", "--diff"]):
        done = subprocess.run([ruff, *command, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.fixture
def changed(runs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy a run and change its config.json."""

    def change(name: str, **settings: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(runs / name, folder)
        config = json.loads((folder / "config.json").read_text())
        config["callbacks"] = settings.pop("callbacks", [])
        config["commands"] += settings.pop("commands", [])
        config["data"]["options"] |= settings.pop("options", {})
        config["data"]["content"] |= settings.pop("content", {})
        config["settings"] |= {key: {"value": value, "source": "default"} for key, value in settings.items()}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return change


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": 2}, "the run was trained by several processes, which a plain script cannot repeat"),
        (
            {"precision": "float16"},
            "the run was trained in float16, with losses scaled as it went; a plain script cannot repeat that",
        ),
    ],
)
def test_what_no_script_can_repeat_is_refused(changed: Callable[..., Path], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TinyclsfError) as caught:
        write_script(changed("plain", **settings))
    assert str(caught.value) == message


def test_images_that_do_not_fit_into_memory_are_refused(changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "free_memory", lambda: 1000)
    with pytest.raises(TinyclsfError) as caught:
        write_script(changed("plain"))
    assert str(caught.value) == (
        "the images of the run need 1.0 MiB and half of the free memory is 0.5 KiB; a script has all of them in memory, so "
        "train with a smaller size, or close other programs"
    )


def test_what_makes_a_script_differ_is_told_in_it(changed: Callable[..., Path]) -> None:
    callbacks = [{"name": "csv", "package": "tinyclsf"}, {"name": "freeze", "package": "other"}]
    written = write_script(changed("plain", device="cuda:1", precision="tf32", compile=True, epochs=9, callbacks=callbacks))
    assert written.notes == (
        "the run was trained on cuda:1, where sums vary; figures will agree only about",
        "the run's model was compiled and the script's is not, so figures will agree only about",
        "the run was stopped after 2 of 9 epochs; the script trains all of them",
        "the script leaves out the callbacks of the run (freeze); what they did is not in it",
    )
    heading = " ".join(written.text.partition("    python")[0].split())
    assert heading.endswith(" ".join(f"Note: {note}." for note in written.notes))
    assert "exactly the same weights" not in written.text
    for line in ('DEVICE = "cuda:1"', "    model = make_model().to(DEVICE)", "        xb, yb = xb.to(DEVICE), yb.to(DEVICE)"):
        assert line in written.text.splitlines()
    training, evaluation = written.text.split("def train_epoch")[1].split("def evaluate")
    assert 'torch.set_float32_matmul_precision("high")  # products of matrices round to TF32' in training
    assert 'torch.set_float32_matmul_precision("highest")' in evaluation


def test_a_script_takes_the_numbers_of_augmentations_from_their_table(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AUGMENTATIONS, "crop", lambda side: partial(random_crop, padding=side - 1))
    assert "    x = random_crop(x, padding=27)" in write_script(runs / "every-extra").text.splitlines()


def test_a_run_that_patience_ended_is_whole(runs: Path) -> None:
    assert write_script(runs / "mixed").notes == ()


def test_a_run_with_patience_that_was_stopped_is_not(changed: Callable[..., Path]) -> None:
    folder = changed("mixed")
    (folder / "state.json").unlink()
    done = len((folder / "metrics.jsonl").read_text().splitlines())
    assert write_script(folder).notes == (f"the run was stopped after {done} of 5 epochs; the script trains all of them",)


def test_a_persons_own_program_is_kept(changed: Callable[..., Path], tmp_path: Path) -> None:
    own, run = tmp_path / "train.py", changed("plain")
    own.write_text("print('my own homework')\n")
    with pytest.raises(ConfigurationError) as caught:
        write_script(run, own)
    assert str(caught.value) == f"{own} is there already and was not made from a run; choose another name, or move it away"
    assert own.read_text() == "print('my own homework')\n"
    own.write_text("")
    for _ in range(2):
        write_script(run, own)
    assert own.read_text() == write_script(run).text


def test_a_schedule_that_was_stretched_is_told_of(changed: Callable[..., Path]) -> None:
    resumed = "tinyclsf fit --resume every-extra"
    assert write_script(changed("plain", commands=[f"{resumed} --epochs 9"])).notes == ()  # its rate stays
    for number, last in enumerate((f"{resumed} --epochs 9", "tinyclsf.train(resume='every-extra', epochs=9)")):
        folder = changed("every-extra", commands=[resumed, last])
        assert write_script(folder.rename(folder.with_name(f"stretched-{number}"))).notes == (
            "the run went on to more epochs than it was begun with, which changed its schedule on the way; "
            "the script has the later one from the start",
        )


def test_data_that_changed_or_went_away_are_told_of(changed: Callable[..., Path], tmp_path: Path) -> None:
    other = changed("plain", content={"train_checksum": "12345678"})
    (note,) = write_script(other).notes
    assert note.startswith(f"the data is not what {other} was trained with: train checksum was 12345678 and is ")
    gone = changed("pictures", options={"data_dir": str(tmp_path / "gone")})
    assert write_script(gone).notes == (
        f"there is no {tmp_path / 'gone'} any more, so the script's way to read the data was not tried",
    )


@pytest.mark.stress
def test_real_mnist_is_read_by_torchvision(runs: Path, mnist_dir: Path) -> None:
    check_same(runs, "mnist")
    written = write_script(runs / "mnist")
    assert (written.notes, written.data) == ((), f"MNIST in {mnist_dir}, read by torchvision")


PLUGIN = """
import torch
from torch import nn
from tinyclsf.plugin import ConfigurationError, Images, Preprocess, Splits, recipe

WIDTH = 6


def dots():
    x = torch.randint(256, (40, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    parts = [Images(x[at : at + 20], x[at : at + 20, 0, 0, 0].long() // 128) for at in (0, 20)]
    return Splits(*parts, None, ("dark", 'so "bright"'), (1, 4, 4), Preprocess(10.0, 100.0))


@recipe(epochs=2, batch_size=5, optimizer="sgd", lr=0.1, momentum=0.9, nesterov=True)
class Net(nn.Sequential):
    def __init__(self, image_shape, num_classes, *, width: int = WIDTH):
        if width < 1:
            raise ConfigurationError("too narrow")
        super().__init__(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Dropout(), nn.Linear(width, num_classes))
        self.register_buffer("middle", torch.zeros(image_shape))
        self.lr_shares = {"1.bias": 3.0}

    def look_at(self, x):
        self.middle.copy_(x.mean(0))

    def forward(self, x):
        return super().forward(x - self.middle)


def evaluate(image_shape, num_classes):
    return Net(image_shape, num_classes) if num_classes > 1 else None


def homesick(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes, bias=__name__ == "dotty"))
"""


def test_other_peoples_plugins_are_written_out(
    install: Callable[..., None], cli: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"net": "dotty:Net", "evaluate": "dotty:evaluate", "homesick": "dotty:homesick"}
    install("dots", PLUGIN, module="dotty", datasets={"dots": "dotty:dots"}, models=models)
    for model, options in {"net": ("-m", "width=3"), "evaluate": (), "homesick": ()}.items():
        words = (model, "--data", "dots", *options, "--run", model, "--device", "cpu", "--progress", "none")
        assert cli("fit", *words).code == 0
    written = write_script("runs/net", "net.py")
    assert written.files == (Path("net.py"), Path("net.npz"))
    assert "network=Net((1, 4, 4), 2, width=3)" in written.text
    assert "narrow" not in written.text
    monkeypatch.setattr(sys, "argv", ["net.py", "net.pt"])
    runpy.run_path("net.py", run_name="__main__")
    assert "% of the best weights" in capsys.readouterr().out
    found, wanted = torch.load("net.pt"), safetensors.torch.load_file("runs/net/model.safetensors")
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())
    assert found.keys() == wanted.keys()

    assert "network=Net((1, 4, 4), 2)" in write_script("runs/evaluate", "evaluate.py").text  # the class alone does it
    with pytest.raises(ConfigurationError) as caught:
        write_script("runs/homesick", "homesick.py")
    assert str(caught.value) == "the source of model homesick makes another model when it stands alone"


SPEAKING = """
import torch
from torch import nn
from tinyclsf.plugin import Callback, Images, Preprocess, ScriptReader, Splits, scripted

SIDE = 4


def draw(seed):
    x = torch.randint(256, (20, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return x, x[:, 0, 0, 0].long() // 128


def read(content, *, seed, **others):
    code = f'''
from speaking import draw
from torch.utils.data import TensorDataset
from unused import nothing

SEED_OF_DATA = {seed}
STEP = SEED_OF_DATA + 1


def load_data():
    # All {content["train"]} of them.
    return TensorDataset(*draw(SEED_OF_DATA)), TensorDataset(*draw(STEP))
'''
    return ScriptReader(code, "dots, drawn by the script")


@scripted("speaking:read")
def dots(*, seed: int = 0):
    train, valid = Images(*draw(seed)), Images(*draw(seed + 1))
    return Splits(train, valid, None, ("dark", "bright"), (1, SIDE, SIDE), Preprocess(0.0, 255.0))


def make(image_shape, num_classes, *, bias):
    return f"from torch import nn\\nnn.Sequential(nn.Flatten(), nn.Linear(16, {num_classes}, bias={bias}))"


@scripted("speaking:make")
def homesick(image_shape, num_classes, *, bias: bool = False):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes, bias=bias and __name__ == "speaking"))


class Watcher(Callback):
    watches = True

    def __init__(self, folder, model_name):
        pass
"""


def test_a_plugin_says_how_a_script_does_without_it(
    install: Callable[..., None], cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"datasets": {"dots": "speaking:dots"}, "models": {"homesick": "speaking:homesick"}}
    install("spoken", SPEAKING, module="speaking", **names, callbacks={"watcher": "speaking:Watcher"})
    words = ("homesick", "--data", "dots", "-d", "seed=5", "-m", "bias=true", "--callback", "watcher", "--device", "cpu")
    assert cli("fit", *words, "--run", "first", "--epochs", "2").code == 0
    written = write_script("runs/first", "first.py")
    assert written._replace(text="") == ("", (Path("first.py"),), "dots, drawn by the script", ())
    assert (
        """
# 1. The data

SEED_OF_DATA = 5
STEP = SEED_OF_DATA + 1
SIDE = 4


def draw(seed):
    x = torch.randint"""
        in written.text
    )
    assert "    # All 20 of them." in written.text
    assert "network=nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=True))" in written.text
    assert "speaking" not in written.text
    assert "unused" not in written.text
    monkeypatch.setattr(sys, "argv", ["first.py", "first.pt"])
    runpy.run_path("first.py", run_name="__main__")
    found, wanted = torch.load("first.pt"), safetensors.torch.load_file("runs/first/model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())

    speaking = sys.modules["speaking"]
    plugin = "dataset 'dots' of package spoken (speaking:dots) failed in"
    for function, said, message in (
        ("lost:read", None, f"{plugin} lost:read: ModuleNotFoundError: No module named 'lost'"),
        ("speaking:read", 1, f"{plugin} speaking:read: TypeError: it returned int; wanted ScriptReader or None"),
        ("speaking:read", ScriptReader("x =", ""), f"{plugin} the code of speaking:read: SyntaxError: invalid syntax"),
    ):
        monkeypatch.setattr(speaking.dots, "script", function)
        monkeypatch.setattr(speaking, "read", partial(_say, said))
        with pytest.raises(PluginError) as caught:
            write_script("runs/first", "again.py")
        assert str(caught.value).startswith(message)
    # What it reads is held against the run's images.
    for wrong in (
        None,
        ScriptReader("from torch.nn import load_data", ""),
        ScriptReader("def load_data():\n    return []", ""),
    ):
        monkeypatch.setattr(speaking, "read", partial(_say, wrong))
        assert write_script("runs/first", "again.py").data == "from again.npz beside the script"


def _say(said: object, content: object, **options: object) -> object:
    return said


CLASH = """
from torch import nn

SEED = 7

def net(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, SEED), nn.ReLU(), nn.Linear(SEED, num_classes))
"""


def test_a_plugins_constant_takes_no_settings_place(install: Callable[..., None], cli: Any) -> None:
    install("clash", CLASH, module="clash", models={"net": "clash:net"})
    assert cli("fit", "net", "-d", "train_size=64", "--epochs", "1", "--run", "first").code == 0
    with pytest.raises(ConfigurationError) as caught:
        write_script("runs/first")
    message = (
        "SEED means different things in the data, the model and the training loop, and a script is one file; "
        "rename it in your plugin"
    )
    assert str(caught.value) == message
