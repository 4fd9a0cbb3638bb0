"""`tinyclsf export`: what it prints, the lines that it prints for use, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from PIL import Image

from tests.support.commands import Cli
from tests.support.runs import write_model
from tinyclsf import Classifier, Preprocess, load_model
from tinyclsf.pictures.picture_source import picture_source
from tinyclsf.registry.plugins import find, load, own_version
from tinyclsf.runs.folder import write_config

DATA = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def squares(*, classes: int = 3):
    y = torch.arange(24) % classes
    data = Images((y * 20).to(torch.uint8).view(24, 1, 1, 1).expand(24, 1, 5, 5).contiguous(), y)
    return Splits(data, data, None, tuple(f"class {at}" for at in range(classes)), (1, 5, 5), Preprocess())
"""
USAGE = f"""import tinyclsf, torch
{picture_source(5, 1, "crop")}

images = read_picture("photo.jpg")[None]  # yours go here
model = tinyclsf.load_exported('runs/first/export.safetensors')
logits = model(torch.from_numpy(images))
classes = model.classifier.classes
print([classes[index] for index in logits.argmax(1)])"""


@pytest.fixture
def make_run(cli: Cli, install: Callable[..., None]) -> Callable[..., Path]:
    """Make the run first in the current folder."""
    install("squares", DATA, module="squares", datasets={"squares": "squares:squares"})

    def make(classes: int = 3) -> Path:
        network = load(find("model", "linear"))((1, 5, 5), classes)
        model = Classifier(Preprocess(), network, [f"class {at}" for at in range(classes)], (1, 5, 5))
        data = {"name": "squares", "options": {"classes": classes}}
        return write_model(Path("runs", "first"), model, "linear", {"data": data})

    return make


def test_what_goes_in_and_comes_out_and_how_to_use_it(
    cli: Cli, make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    result = cli("export", "first", "--to", "safetensors")
    assert (result.code, result.err) == (0, "")
    path = run / "export.safetensors"
    rows, _, rest = result.out.partition("\nin Python\n")
    assert rows.splitlines() == [
        "input    images: uint8 (n, 1, 5, 5), pixels 0..255",
        "output   logits: float32 (n, 3)",
        "classes  class 0, class 1 and class 2; the file's metadata holds them",
        "checked  on 24 valid images: largest difference 0.0e+00 of 1.0e-04 allowed, all classes equal",
    ]
    *usage, last = rest.splitlines()
    assert last == f"{path}: safetensors, {path.stat().st_size / 1e6:.2f} MB"
    assert dedent("\n".join(usage)) == USAGE
    Image.new("L", (7, 9), 100).save("photo.jpg")
    found: dict[str, Any] = {}
    exec(USAGE, found)
    assert torch.equal(found["logits"], load_model(run)(torch.full((1, 1, 5, 5), 100)))
    assert capsys.readouterr().out == f"['class {found['logits'].argmax()}']\n"


def test_the_document(cli: Cli, make_run: Callable[..., Path]) -> None:
    make_run()
    result = cli("export", "first", "--to", "safetensors", "--json")
    assert (result.code, result.err) == (0, "")
    assert result.document == {
        "version": 1,
        "command": "export",
        "run": "runs/first",
        "warnings": [],
        "path": "runs/first/export.safetensors",
        "format": "safetensors",
        "bytes": os.path.getsize("runs/first/export.safetensors"),
        "opset": None,
        "input": {"name": "images", "type": "uint8", "shape": ["n", 1, 5, 5], "range": [0, 255]},
        "output": {"name": "logits", "type": "float32", "shape": ["n", 3]},
        "classes": ["class 0", "class 1", "class 2"],
        "checked": {"images": 24, "split": "valid", "max_difference": 0.0, "tolerance": 1e-4, "same_classes": 24},
        "usage": USAGE,
        "versions": {"tinyclsf": own_version(), "torch": torch.__version__},
    }


def test_many_classes_are_cut_short_and_lost_data_is_told(cli: Cli, make_run: Callable[..., Path]) -> None:
    run = make_run(classes=11)
    write_config(run, {"data": {"name": "circles", "options": {}}})
    result = cli("export", "runs/first", "--to", "safetensors", "--out", "it's.safetensors")
    assert result.code == 0
    assert result.err == (
        "warning: the data of runs/first cannot be read, so the export is checked on random images: "
        "there is no dataset 'circles'; 'tinyclsf list datasets' shows all\n"
    )
    lines = result.out.splitlines()
    assert lines[2].endswith("class 8, class 9 and 1 more; the file's metadata holds them")
    assert lines[3].startswith("checked  on 256 random images: ")
    assert lines[-1].startswith("it's.safetensors: safetensors, ")
    Image.new("L", (5, 5)).save("photo.jpg")
    exec(dedent("\n".join(lines[5:-1])), {})


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["first", "--to", "coreml"], 2, "invalid value for '--to': 'coreml' is not one of 'onnx', 'pt2', 'safetensors'"),
        (["second"], 2, "there is no run 'second' in runs; 'tinyclsf runs' shows all"),
        (["first", "--to", "pt2", "--out", "runs"], 2, "runs does not end in .pt2, as files of pt2 do; give another name"),
        (
            ["first", "--to", "pt2", "--out", "gone/m.pt2"],
            7,
            "cannot write gone/m.pt2: No such file or directory; give a name in a folder that can be written to",
        ),
    ],
)
def test_what_is_refused(cli: Cli, make_run: Callable[..., Path], args: list[str], code: int, message: str) -> None:
    make_run()
    result = cli("export", *args)
    assert (result.code, result.out, result.err) == (code, "", f"error: {message}\n")


@pytest.mark.stress
def test_the_lines_that_use_a_file_fit_the_page(cli: Cli, make_run: Callable[..., Path]) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not here: pip install 'tinyclsf[onnx]'")
    make_run()
    lines = cli("export", "first").out.splitlines()
    assert max(map(len, lines)) <= 100
    assert '  logits = model.run(["logits"], {"images": images})[0]' in lines
