"""Exported files: what goes in and comes out is that of the model by hand, and a file that is not is never kept."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.support.resources import longest_file
from tests.support.runs import write_model
from tinyclsf.deployment import export
from tinyclsf.deployment.export import Export, export_model
from tinyclsf.deployment.exported_files import blaming_the_file, load_exported
from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError, PluginError, StorageError, TinyclsfError
from tinyclsf.history import History
from tinyclsf.modules import Classifier, Fit, Preprocess
from tinyclsf.pictures.picture import read_picture
from tinyclsf.registry.plugins import find, load, own_version
from tinyclsf.runs.config_file import ConfigFile
from tinyclsf.runs.models import save_model
from tinyclsf.runs.trained_run import TrainedRun, load_run

KIT = """
import logging
import warnings

import torch
from torch import nn
from tinyclsf.plugin import DataError, Images, Preprocess, Splits

def images(n):
    x = (torch.arange(n * 98).view(n, 2, 7, 7) * 37 % 256) / 255
    return Images(x, torch.arange(n) * 3 // n)

def unit(*, there: bool = True, size: int = 20):
    if not there:
        raise DataError("pictures/ is not there; bring it back")
    return Splits(images(9), images(9), images(size), ("cat", "dog", "emu"), (2, 7, 7), Preprocess(0.5, 0.25), white=1.0)

class Stubborn(nn.Module):
    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.linear = nn.Linear(98, num_classes)

    def forward(self, x):
        return self.linear(x.flatten(1)) if x.sum() > 0 else self.linear(-x.flatten(1))

class TwoFaced(Stubborn):
    def forward(self, x):
        return self.linear(x.flatten(1)) + 0.5 * torch.compiler.is_exporting()

class Loud(Stubborn):
    def forward(self, x):
        if torch.compiler.is_exporting():
            print("traced")
            warnings.warn("traced")
            logging.getLogger("loud").warning("traced")
        return self.linear(x.flatten(1))
"""
MODELS = {"stubborn": "kit:Stubborn", "two-faced": "kit:TwoFaced", "loud": "kit:Loud"}
CLASSES, SHAPE = ("cat", "dog", "emu"), (2, 7, 7)

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(install: Callable[..., None], tmp_path: Path) -> MakeRun:
    """Make a run's folder with a model that has just begun."""
    install("kit", KIT, module="kit", datasets={"unit": "kit:unit"}, models=MODELS)

    def make(model: str = "mnist-cnn", **data: Any) -> Path:
        torch.manual_seed(0)
        network = load(find("model", model))(SHAPE, 3)
        classifier = Classifier(Preprocess(0.5, 0.25), network, CLASSES, SHAPE, white=1.0)
        return write_model(tmp_path / "run", classifier, model, {"data": {"name": "unit", "options": data}})

    return make


def by_hand(run: Path, pixels: Tensor) -> Tensor:
    """The logits of the tutorial's network for pixels of 0..255, from the run's weights alone."""
    state = load_file(run / "model.safetensors")
    x = (pixels / 255 - 0.5) / 0.25
    for layer in ("conv1", "conv2", "conv3"):
        weight, bias = state[f"network.{layer}.weight"], state[f"network.{layer}.bias"]
        x = nn.functional.conv2d(x, weight, bias, stride=2, padding=1).relu()
    return x.mean((2, 3))


def check_used_as_it_says(exported: Export, run: Path) -> None:
    """The lines that show how to use a file give the model's logits."""
    *begun, model = exported.usage.partition("# yours go here")
    found: dict[str, Any] = {}
    exec("".join(begun), found)
    found["images"] += 7
    exec(model, found)
    right = by_hand(run, torch.full((8, *SHAPE), 7, dtype=torch.uint8))
    torch.testing.assert_close(torch.as_tensor(found["logits"]), right, rtol=1e-5, atol=1e-5)


def check_exported(exported: Export, run: Path, path: Path) -> None:
    assert (exported.path, exported.bytes, exported.classes) == (path, path.stat().st_size, CLASSES)
    assert exported.input == {"name": "images", "type": "uint8", "shape": ["n", 2, 7, 7], "range": [0, 255]}
    assert exported.output == {"name": "logits", "type": "float32", "shape": ["n", 3]}
    checked = exported.checked
    assert (checked.images, checked.split, checked.same_classes) == (20, "test", 20)
    assert 0 <= checked.max_difference < 1e-6
    assert checked.tolerance == 1e-4
    assert (exported.versions["tinyclsf"], exported.versions["torch"]) == (own_version(), torch.__version__)
    assert sorted(each.name for each in run.iterdir()) == sorted(
        {"config.json", "model.json", "model.safetensors", path.name} if path.parent == run else set()
    )
    assert str(Path(torch.__file__).parent.parent).encode() not in path.read_bytes()
    check_used_as_it_says(exported, run)


PIXELS = torch.arange(98 * 4).view(4, *SHAPE).mul(61).remainder(256).to(torch.uint8)
CARD = {
    "format": 1,
    "classes": list(CLASSES),
    "image_shape": list(SHAPE),
    "white": 1.0,
    "fit": "crop",
    "plugin": {"name": "mnist-cnn", "options": {}},
    "input": "images: uint8 (n, 2, 7, 7), pixels 0..255",
    "output": "logits (n, 3), one for each class in the order of classes",
    "tinyclsf": own_version(),
}


def test_onnx(make_run: MakeRun, capfd: pytest.CaptureFixture[str]) -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not here: pip install 'tinyclsf[onnx]'")
    import onnxruntime  # type: ignore[import-untyped]

    run = make_run()
    exported = export_model(run)
    assert capfd.readouterr() == ("", "")
    check_exported(exported, run, run / "model.onnx")
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    for pixels in PIXELS[:1], PIXELS:
        logits = session.run(["logits"], {"images": pixels.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(logits), by_hand(run, pixels), rtol=1e-5, atol=1e-5)
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("images", ["n", 2, 7, 7])]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [("logits", ["n", 3])]
    notes = session.get_modelmeta().custom_metadata_map
    assert {key: value if isinstance(CARD[key], str) else json.loads(value) for key, value in notes.items()} == CARD
    assert exported.opset is not None
    assert set(exported.versions) == {"tinyclsf", "torch", "onnx", "onnxruntime", "onnxscript"}


def test_pt2(make_run: MakeRun, capfd: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    exported = export_model(str(run), "pt2")
    assert capfd.readouterr() == ("", "")
    check_exported(exported, run, run / "model.pt2")
    notes = {"card.json": ""}
    module = torch.export.load(run / "model.pt2", extra_files=notes).module()
    for pixels in PIXELS[:1], PIXELS:
        logits = module(pixels)
        assert not logits.requires_grad
        torch.testing.assert_close(logits, by_hand(run, pixels), rtol=1e-5, atol=1e-5)
    assert json.loads(notes["card.json"]) == CARD
    assert (exported.opset, set(exported.versions)) == (None, {"tinyclsf", "torch"})


def test_safetensors_of_an_opened_run(make_run: MakeRun) -> None:
    run = make_run()
    trained = load_run(run)
    trained.model.train()
    exported = export_model(trained, to="safetensors")
    assert trained.model.training
    assert all(weight.requires_grad for weight in trained.model.parameters())
    check_exported(exported, run, run / "export.safetensors")
    with safe_open(exported.path, "pt") as file:
        assert json.loads(file.metadata()["card"]) == CARD
    found = load_exported(str(exported.path))
    assert (found.training, found.classifier.classes) == (False, CLASSES)
    torch.testing.assert_close(found(PIXELS), by_hand(run, PIXELS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("to", "fit"), [("safetensors", "crop"), ("pt2", "pad"), ("onnx", "stretch")])
def test_the_usage_sees_a_picture_as_training_did_and_names_its_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str, fit: Fit
) -> None:
    if to == "onnx":
        pytest.importorskip("onnxscript", reason="onnxscript is not here: pip install 'tinyclsf[onnx]'")
    torch.manual_seed(0)
    network = load(find("model", "linear"))((3, 8, 8), 2)
    classifier = Classifier(Preprocess(), network, CLASSES[:2], (3, 8, 8), fit=fit)
    run = write_model(tmp_path / "run", classifier, "linear", {"data": {"name": "none", "options": {}}})
    with pytest.warns(DataWarning):
        usage = export_model(run, to).usage
    runtime = {"onnx": "json, onnxruntime", "pt2": "json, torch", "safetensors": "tinyclsf, torch"}[to]
    assert [line for line in usage.splitlines() if "import" in line] == [
        *(f"import {runtime}", "from pathlib import Path", "import numpy as np", "from PIL import Image, ImageOps")
    ]
    monkeypatch.chdir(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6
    colours = np.random.default_rng(0).integers(0, 256, (5, 3, 4), dtype=np.uint8)
    Image.fromarray(colours[..., :3]).resize((90, 150), Image.Resampling.BICUBIC).save("photo.jpg", exif=turned)
    Image.fromarray(colours).save("clear.png")
    Image.fromarray(colours[..., 0].astype(np.uint16) * 200).save("deep.png")
    Image.fromarray(colours[..., 0].astype(np.float32) / 255).save("float.tiff")
    for name in ("photo.jpg", "clear.png", "deep.png", "float.tiff"):
        found: dict[str, Any] = {}
        exec(usage.replace("photo.jpg", name), found)
        images = read_picture(name, 8, 3, fit)[None]
        np.testing.assert_array_equal(found["images"], images)
        with torch.no_grad():
            expected = CLASSES[classifier(torch.from_numpy(images)).argmax()]
        assert capsys.readouterr().out == f"['{expected}']\n"


@pytest.mark.parametrize(("to", "size", "checked"), [("safetensors", 300, 256), ("pt2", 1, 1)])
def test_a_sample_of_the_part_is_the_check(make_run: MakeRun, to: str, size: int, checked: int) -> None:
    assert export_model(make_run(size=size), to).checked[:2] == (checked, "test")


def test_without_the_data_random_images_are_the_check(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(there=False)
    with pytest.warns(DataWarning) as warned:
        exported = export_model(run, "safetensors", tmp_path / "elsewhere.safetensors")
    assert [str(each.message) for each in warned] == [
        f"the data of {run} cannot be read, so the export is checked on random images: pictures/ is not there; bring it back"
    ]
    assert exported.checked == (256, None, 0.0, 1e-4, 256)


def refusal(kind: type[TinyclsfError], run: Path, to: str, out: Path | None = None) -> str:
    """The whole message of `export_model`, with RUN for the run's folder; it writes nothing."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    before = files()
    with pytest.raises(kind) as error:
        export_model(run, to, out)
    assert files() == before
    return str(error.value).replace(str(run), "RUN")


@pytest.mark.parametrize(
    ("kind", "to", "out", "message"),
    [
        (ConfigurationError, "coreml", None, "there is no export format 'coreml'; choose one of onnx, pt2, safetensors"),
        (ConfigurationError, "pt2", "m.onnx", "RUN/m.onnx does not end in .pt2, as files of pt2 do; give another name"),
        (
            ConfigurationError,
            "safetensors",
            "model.safetensors",
            "RUN/model.safetensors holds the weights of a run, which an export does not write over; give another name",
        ),
        (
            StorageError,
            "pt2",
            "gone/m.pt2",
            "cannot write RUN/gone/m.pt2: No such file or directory; give a name in a folder that can be written to",
        ),
        (
            StorageError,
            "pt2",
            "model.json/m.pt2",
            "cannot write RUN/model.json/m.pt2: Not a directory; give a name in a folder that can be written to",
        ),
        (
            StorageError,
            "safetensors",
            f"{'a' * 300}/model.safetensors",  # looking into it fails, as where it may not be searched
            f"cannot write RUN/{'a' * 300}/model.safetensors: File name too long; "
            "give a name in a folder that can be written to",
        ),
        (StorageError, "pt2", "folder.pt2", "cannot write RUN/folder.pt2: it is a folder; give the name of a file"),
    ],
)
def test_places_that_are_refused_before_the_work(
    make_run: MakeRun, kind: type[TinyclsfError], to: str, out: str | None, message: str
) -> None:
    run = make_run()
    (run / "model.safetensors").write_bytes(b"the work would begin with these")
    (run / "folder.pt2").mkdir()
    assert refusal(kind, run, to, None if out is None else run / out) == message


def test_onnx_needs_its_packages(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert refusal(ConfigurationError, make_run(), "onnx") == (
        "an export to onnx needs the packages onnx, onnxruntime and onnxscript; pip install 'tinyclsf[onnx]'"
    )


def test_onnx_does_not_hold_large_models(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not here: pip install 'tinyclsf[onnx]'")
    monkeypatch.setattr("tinyclsf.deployment.exported_files._ONNX_LIMIT", 1000)
    assert refusal(ModelFileError, make_run(), "onnx") == (
        "the model has 0.0 GB and an ONNX file holds at most 2 GB; export to pt2 instead"
    )


def test_weights_that_are_not_numbers(make_run: MakeRun) -> None:
    run = make_run()
    state = load_file(run / "model.safetensors")
    state["network.conv1.bias"][0] = torch.nan
    save_file(state, run / "model.safetensors")
    assert refusal(ModelFileError, run, "safetensors") == (
        "RUN/model.safetensors has values in network.conv1.bias that are not finite numbers, so the model is of no use; "
        "train it again"
    )


def test_a_network_that_cannot_be_exported_is_named(make_run: MakeRun) -> None:
    message = refusal(PluginError, make_run("stubborn"), "pt2")
    start, end = "model 'stubborn' cannot be exported to pt2: ", "; export to safetensors, or change its code"
    assert message.startswith(start)
    assert message.endswith(end)
    assert "data-dependent" in message
    assert "\n" not in message
    assert len(message) < 400


def test_what_is_said_in_tracing_stays_inside(
    make_run: MakeRun, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert export_model(make_run("loud"), "pt2").checked.images == 20
    assert capfd.readouterr() == ("", "")
    assert "traced" not in caplog.text


def test_a_file_that_differs_from_the_model_is_not_kept(make_run: MakeRun) -> None:
    run = make_run("two-faced")
    (run / "model.pt2").write_bytes(b"old")
    assert refusal(ModelFileError, run, "pt2") == (
        "the pt2 file gives logits that differ from the model's by up to 5.0e-01, and 1.5e-04 is allowed; "
        "it is not kept, so choose another format"
    )


def test_a_file_that_gives_no_numbers_is_not_kept(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    nothing = torch.full((1, 1), torch.nan)
    monkeypatch.setitem(export._LOADERS, "pt2", lambda path: lambda images: nothing.expand(len(images), 3))
    assert refusal(ModelFileError, run, "pt2").startswith("the pt2 file gives logits that differ from the model's by up to nan")
    assert not (run / "model.pt2").exists()


def test_a_full_disk_leaves_the_old_file_whole(make_run: MakeRun) -> None:
    run = make_run()
    (run / "export.safetensors").write_bytes(b"old")
    with longest_file(1000):
        message = refusal(StorageError, run, "safetensors")
    assert message.endswith("/export.safetensors: File too large; what was there before is unchanged")


def test_files_that_were_not_exported(make_run: MakeRun, tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(ModelFileError) as error:
            load_exported(path)
        return str(error.value).replace(str(tmp_path), "HERE")

    run = make_run()
    assert refused(tmp_path / "gone").startswith("cannot read HERE/gone: No such file or directory")
    assert refused(run / "model.safetensors") == (
        "HERE/run/model.safetensors has no card in its header; wanted a file of 'tinyclsf export RUN --to safetensors'"
    )
    assert refused(run / "model.json").startswith("HERE/run/model.json is not a whole safetensors file (")
    path = tmp_path / "other.safetensors"
    card = {**CARD, "plugin": {"name": "mnist-cn", "options": {}}}
    save_file(load_file(run / "model.safetensors"), path, {"card": json.dumps(card)})
    assert refused(path) == (
        "HERE/other.safetensors needs a model plugin as it was trained with: "
        "there is no model 'mnist-cn'; 'tinyclsf list models' shows all"
    )
    save_file({}, path, {"card": json.dumps(CARD)})
    assert refused(path).startswith("HERE/other.safetensors does not fit its network: Error(s) in loading")


def test_what_went_wrong_in_the_first_place_is_said_and_logging_goes_on() -> None:
    def fail() -> None:
        assert logging.root.manager.disable == logging.CRITICAL
        try:
            raise ValueError("no such operator.\nmany lines more")
        except ValueError as reason:
            raise RuntimeError("step 3 of 9 failed") from reason

    with pytest.raises(ModelFileError) as error, blaming_the_file("pt2"):
        fail()
    assert logging.root.manager.disable == logging.NOTSET
    assert str(error.value) == (
        "the pt2 file that was made cannot be used: ValueError: no such operator; it is not kept, so choose another format"
    )


def test_weights_alone_are_of_no_use_without_a_plugin(tmp_path: Path) -> None:
    classifier = Classifier(Preprocess(), nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), CLASSES[:2], (1, 2, 2))
    save_model(classifier, tmp_path / "run")
    run = TrainedRun(tmp_path / "run", ConfigFile(), History(), classifier)
    with pytest.raises(ConfigurationError) as error:
        export_model(run, "safetensors")
    assert str(error.value) == (
        f"the model of {tmp_path / 'run'} was given in Python, and a safetensors export needs a model plugin; "
        "export it to onnx or pt2"
    )
