"""`tinyclsf summary`: the table and the document of models and of runs, and what cannot be."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import Cli
from tests.support.runs import write_model
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.registry.plugins import find, load

CIFAR_NET = """\
cifar-net: 3x32x32 to 10 classes
layer  type       output    parameters
conv1  Conv2d     6x28x28          456
pool   MaxPool2d  6x14x14            0
conv2  Conv2d     16x10x10       2,416
pool   MaxPool2d  16x5x5             0
fc1    Linear     120           48,120
fc2    Linear     84            10,164
fc3    Linear     10               850

parameters  62,006: 62,006 trainable, 0 non-trainable
memory      0.31 MB: input 0.01 MB, forward and backward pass 0.06 MB, parameters 0.24 MB
"""


def make_run(name: str) -> Path:
    """A run of a linear model that ends in a softmax, for 3 classes of 1x2x2."""
    network = load(find("model", "linear"))((1, 2, 2), 3, softmax=True)
    model = Classifier(Preprocess(), network, ["a", "b", "c"], (1, 2, 2))
    return write_model(Path("runs", name), model, "linear", {}, softmax=True)


def test_a_model_by_its_name(cli: Cli) -> None:
    result = cli("summary", "cifar-net", "--image-shape", "3,32,32")
    assert (result.code, result.out, result.err) == (0, CIFAR_NET, "")
    assert cli("summary", "cifar-net", "--image-shape", "3x32x32").out == CIFAR_NET


def test_the_document(cli: Cli) -> None:
    document = cli("summary", "linear", "--classes", "3", "-m", "softmax=true", "--json").document
    linear = {"name": "linear", "type": "Linear", "depth": 0, "output_shape": [3], "parameters": 2355, "is_container": False}
    assert document == {
        "version": 1,
        "command": "summary",
        "model": "linear",
        "run": None,
        "image_shape": [1, 28, 28],
        "classes": 3,
        "layers": [linear, {**linear, "name": "end", "type": "Softmax", "parameters": 0}],
        "parameters": {"total": 2355, "trainable": 2355, "non_trainable": 0},
        "bytes": {"input": 3136, "activations": 48, "parameters": 9420, "total": 12604},
        "warnings": [],
    }


def test_a_run_has_its_own_shape_classes_and_options(cli: Cli) -> None:
    folder = make_run("first")
    by_name, by_path = cli("summary", "first", "--json").document, cli("summary", str(folder), "--json").document
    assert by_name == by_path
    assert (by_name["model"], by_name["run"], by_name["image_shape"], by_name["classes"]) == (None, "runs/first", [1, 2, 2], 3)
    assert [(layer["type"], layer["parameters"]) for layer in by_name["layers"]] == [("Linear", 15), ("Softmax", 0)]
    assert cli("summary", "first").out.startswith("first: 1x2x2 to 3 classes\n")
    refused = cli("summary", "first", "--classes", "4", "-m", "softmax=false")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "error: runs/first is a run, whose model is as it was trained; leave out --classes and -m\n"


def test_a_name_of_both_is_the_models(cli: Cli) -> None:
    make_run("cifar-net")
    both = cli("summary", "cifar-net", "--image-shape", "3,32,32")
    assert (both.code, both.out) == (0, CIFAR_NET)
    assert both.err == "warning: cifar-net is a model and a run; this is the model, and runs/cifar-net is the run\n"
    assert cli("summary", "runs/cifar-net").out.startswith("runs/cifar-net: 1x2x2 to 3 classes\n")


def test_nested_layers_are_indented_within_a_hundred_characters(cli: Cli) -> None:
    out = cli("summary", "torchvision", "-m", "arch=mnasnet0_5").out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[2:6] == [
        "layers        Sequential         1280x1x1",
        "  0           Conv2d             16x14x14         144",
        "  1           BatchNorm2d        16x14x14          32",
        "  2           ReLU               16x14x14           0",
    ]


def test_images_that_a_model_refuses(cli: Cli) -> None:
    result = cli("summary", "vgg")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: vgg needs images of at least 32x32; these are 1x28x28 (channels x height x width): use larger images\n"
        "tip: a model may want other images: --image-shape 3,32,32, for one\n"
    )


def test_names_and_shapes_that_cannot_be(cli: Cli) -> None:
    make_run("overnight")
    result = cli("summary", "ovrnight")
    message = "there is no model and no run 'ovrnight'; 'tinyclsf list models' and 'tinyclsf runs' show all"
    assert (result.code, result.err) == (2, f"error: {message}\ntip: did you mean 'overnight'?\n")
    assert cli("summary", "vg").err.endswith("tip: did you mean 'vgg'?\n")
    for shape in ("28", "3,32", "3,32,0", "3,32,x", "3,-1,4", "", "3,,32,32"):
        result = cli("summary", "vgg", "--image-shape", shape)
        assert (result.code, result.err) == (
            2,
            f"error: invalid value for '--image-shape': '{shape}' is not CHANNELS,HEIGHT,WIDTH, such as 3,32,32\n",
        )
    assert cli("summary", "linear", "-m", "softmx=true").err == (
        "error: model linear has no option 'softmx'; it takes softmax\ntip: did you mean 'softmax'?\n"
    )


def test_images_beyond_all_memory(cli: Cli) -> None:
    result = cli("summary", "mnist-cnn", "--image-shape", "1,1000000,1000000")
    assert (result.code, result.out) == (6, "")
    assert result.err == "error: out of memory in the summary of mnist-cnn; give a smaller --image-shape\n"
