"""The models that come along: each trains, comes back from a file, says which images it takes, and equals its reference."""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models  # type: ignore[import-untyped]

import tinyclsf
from tests.support.commands import Install
from tinyclsf import Classifier, Preprocess, Trainer, load_model, save_model
from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError
from tinyclsf.finetuning import parameter_groups
from tinyclsf.preparation import Preparation
from tinyclsf.recipes import Recipe
from tinyclsf.registry.components import load_component
from tinyclsf.registry.options import as_text, read_options
from tinyclsf.registry.plugins import find, load, plugins
from tinyclsf.registry.signatures import options_of
from tinyclsf_plugins.models.cifar_net import CifarNet, Net
from tinyclsf_plugins.models.cifar_speed import CifarSpeed
from tinyclsf_plugins.models.lenet import LeNet, MyModel
from tinyclsf_plugins.models.linear import Linear_Model_v0, LinearClassifier
from tinyclsf_plugins.models.mlp import MLP, Linear_Model_v1
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN, Mnist_CNN_Manual
from tinyclsf_plugins.models.mnist_cnn_sequential import mnist_cnn_sequential
from tinyclsf_plugins.models.mnist_logistic import Mnist_Logistic, Mnist_Logistic_Manual
from tinyclsf_plugins.models.torch_clsf import TorchClsfMixedModel, TorchClsfModel
from tinyclsf_plugins.models.torchvision import data_options, torchvision
from tinyclsf_plugins.models.vgg import VGG

Shape = tuple[int, int, int]
Make = Callable[[Shape, int], nn.Module]
CLASSES = ("cat", "dog", "emu")
CASES: list[tuple[str, dict[str, str]]] = [
    ("cifar-net", {}),
    ("cifar-speed", {}),
    ("lenet", {}),
    ("lenet", {"padding": "2"}),
    ("linear", {}),
    ("mlp", {}),
    ("mlp", {"batch_norm": "true"}),
    ("mnist-cnn", {}),
    ("mnist-cnn", {"manual": "true"}),
    ("mnist-cnn-sequential", {}),
    ("mnist-logistic", {}),
    ("mnist-logistic", {"manual": "true"}),
    ("timm", {"arch": "test_resnet"}),
    ("torch-clsf", {}),
    ("torch-clsf", {"mixed": "true"}),
    ("torch-clsf", {"dropout": "0.0", "input_dropout": "0.25"}),
    ("torchvision", {"arch": "resnet18"}),
    ("torchvision", {"arch": "mnasnet0_5"}),
    ("vgg", {"depth": "11"}),
    ("vgg", {"depth": "11", "batch_norm": "true"}),
]
each_model = pytest.mark.parametrize(("name", "texts"), CASES, ids=[" ".join([name, *texts]) for name, texts in CASES])


def values_of(name: str, texts: dict[str, str]) -> dict[str, Any]:
    """A model's options by name, read from text."""
    return read_options("model", name, options_of("model", name, load(find("model", name))), texts)


def build(name: str, texts: dict[str, str]) -> tuple[nn.Module, Shape]:
    """A model for images that are not square and have neither one nor three channels."""
    shape = (2, 32, 34) if name in ("vgg", "torchvision", "timm") else (2, 17, 22)
    factory = load(find("model", name))
    torch.manual_seed(0)
    network: nn.Module = factory(shape, len(CLASSES), **values_of(name, texts))
    return network, shape


def images(shape: Shape, n: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(n) % len(CLASSES)


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    for theirs, ours in zip(source.parameters(), target.parameters(), strict=True):
        assert ours.shape == theirs.shape
        ours.data.copy_(theirs.data)


def test_every_model_that_comes_along_is_tried() -> None:
    assert {name for name, _ in CASES} == {plugin.name for plugin in plugins("model") if plugin.package == "tinyclsf"}


@each_model
@pytest.mark.usefixtures("narrow_vgg")
def test_a_step_lowers_the_loss_and_the_outputs_are_as_documented(name: str, texts: dict[str, str]) -> None:
    network, shape = build(name, texts)
    x, y = images(shape)

    def loss() -> Tensor:
        torch.manual_seed(1)  # the same dropout again
        return F.cross_entropy(network(x), y)

    assert network.training
    before = loss()
    before.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    torch.optim.SGD(network.parameters(), lr=0.001).step()
    with torch.no_grad():
        assert loss() < before
        out = network.eval()(x)
    assert "to logits (n, num_classes)" in (inspect.getdoc(load(find("model", name))) or "")
    assert (out.shape, out.dtype) == ((len(x), len(CLASSES)), torch.float32)
    assert not torch.allclose(out.sum(dim=1), torch.ones(len(x)), atol=0.01)


@each_model
@pytest.mark.usefixtures("narrow_vgg")
def test_a_model_is_built_again_from_its_folder(name: str, texts: dict[str, str], tmp_path: Path) -> None:
    network, shape = build(name, texts)
    model = Classifier(Preprocess(), network, CLASSES, shape).eval()
    save_model(model, tmp_path, plugin={"name": name, "options": values_of(name, texts)})
    x, _ = images(shape)
    assert torch.equal(load_model(tmp_path)(x), model(x))


def test_what_a_network_begins_with_is_not_told_of_when_it_is_loaded(tmp_path: Path, install: Install) -> None:
    code = "import warnings\nfrom torch import nn\nfrom tinyclsf.plugin import DataWarning\n"
    code += (
        "def net(image_shape, num_classes):\n    warnings.warn(DataWarning('new layer'))\n    return nn.Linear(4, num_classes)"
    )
    install("begins", code, module="begins", models={"begins": "begins:net"})
    model = Classifier(Preprocess(), nn.Linear(4, 2), CLASSES[:2], (1, 1, 4)).eval()
    save_model(model, tmp_path, plugin={"name": "begins", "options": {}})
    assert torch.equal(load_model(tmp_path)(torch.ones(1, 1, 1, 4)), model(torch.ones(1, 1, 1, 4)))


@each_model
def test_options_and_recipe(name: str, texts: dict[str, str]) -> None:
    factory = load(find("model", name))
    values = values_of(name, texts)
    assert {key: as_text(value) for key, value in values.items()} == texts
    defaults = {key: option.default for key, option in options_of("model", name, factory).items()}
    assert values_of(name, {key: as_text(value) for key, value in defaults.items()}) == defaults
    assert type(load_component(find("model", name), {}).recipe) is Recipe


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_what_starts_from_weights_is_fine_tuned(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = load(find("model", name))
    monkeypatch.delattr(factory, "check_options")  # which would look for the file
    recipes = [load_component(find("model", name), given).recipe for given in ({}, {"weights": "w.pt"}, {"pretrained": True})]
    wanted = (0.05, "flip,resized-crop", "backbone,batch-norm", 3)
    for found in recipes[1:]:
        assert found is not None
        assert (found.backbone_lr, found.augment, found.freeze, found.unfreeze_after) == wanted
    assert recipes[0] is not None
    assert recipes[0].backbone_lr == 1


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("name", ["lenet", "linear", "mlp", "torch-clsf", "vgg"])
def test_softmax_gives_the_shares_of_the_same_logits(name: str) -> None:
    logits, shape = build(name, {})
    shares, _ = build(name, {"softmax": "true"})
    x, _ = images(shape)
    out = shares.eval()(x)
    assert torch.equal(out, logits.eval()(x).softmax(dim=1))
    assert torch.allclose(out.sum(dim=1), torch.ones(len(x)))


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize(("name", "texts"), [("torch-clsf", {}), ("torch-clsf", {"mixed": "true"}), ("vgg", {})])
def test_dropout_is_for_training_alone(name: str, texts: dict[str, str]) -> None:
    network, shape = build(name, texts)
    x, _ = images(shape)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize(
    ("name", "options", "smallest"),
    [
        ("cifar-net", {}, 16),
        ("cifar-speed", {}, 9),
        ("lenet", {}, 16),
        ("lenet", {"padding": 2}, 4),
        ("torch-clsf", {}, 4),
        ("vgg", {}, 32),
    ],
)
@pytest.mark.parametrize("side", [1, 2], ids=["height", "width"])
def test_the_smallest_images(name: str, options: dict[str, Any], smallest: int, side: int) -> None:
    factory = partial(load(find("model", name)), **options)
    shape, below = [3, smallest + 9, smallest + 9], [3, smallest + 9, smallest + 9]
    shape[side], below[side] = smallest, smallest - 1
    with torch.device("meta"):
        assert factory(tuple(shape), 4)(torch.zeros(2, *shape)).shape == (2, 4)
    with pytest.raises(ConfigurationError) as error:
        factory(tuple(below), 4)
    assert str(error.value) == (
        f"{name} needs images of at least {smallest}x{smallest}; "
        f"these are 3x{below[1]}x{below[2]} (channels x height x width): use larger images"
    )


@pytest.mark.parametrize("name", ["linear", "mlp", "mnist-cnn", "mnist-cnn-sequential", "mnist-logistic"])
def test_models_for_images_of_any_size(name: str) -> None:
    assert load(find("model", name))((3, 1, 1), 4)(torch.zeros(2, 3, 1, 1)).shape == (2, 4)


def test_cifar_speed_whitens_the_images_that_it_looks_at() -> None:
    draw = torch.Generator().manual_seed(0)
    x = F.avg_pool2d(torch.randn(200, 3, 17, 17, generator=draw), 2, 1) * torch.tensor([1.0, 0.5, 2]).view(3, 1, 1)
    network = CifarSpeed((3, 16, 16), 10)

    def outputs() -> Tensor:
        return F.conv2d(x, network.filters).transpose(0, 1).flatten(1)

    def moments() -> Tensor:
        return outputs()[:12] @ outputs()[:12].T / outputs().shape[1]

    assert not torch.allclose(moments(), torch.eye(12), atol=0.1)
    network.look_at(x)
    # A direction in which the patches hardly vary stays smaller, as what it has is mostly noise.
    assert torch.allclose(moments(), torch.eye(12), atol=0.05)
    assert torch.allclose(outputs()[12:], -outputs()[:12], atol=1e-5)


def test_cifar_speed_begins_as_the_identity_and_moves_its_biases_faster() -> None:
    network = CifarSpeed((3, 16, 16), 10, width=32)
    x = torch.randn(2, 24, 8, 8)
    assert torch.equal(network.stages[0][0](x)[:, :24], x)  # type: ignore[index]
    groups = parameter_groups(network, 0.5, decayed="weights")
    assert [(len(group["params"]), group["lr"], group.get("weight_decay")) for group in groups] == [(7, 0.5, None), (6, 32, 0)]
    assert [each.shape for each in groups[1]["params"]] == [(width,) for width in (32, 32, 64, 64, 64, 64)]


def test_cifar_speed_goes_on_as_if_it_had_not_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    small: Any = {"model_options": {"width": 8}, "data_options": {"train_size": 100}, "schedule": "none", "progress": False}
    whole = tinyclsf.train("cifar-speed", epochs=2, batch_size=50, run="whole", **small)
    tinyclsf.train("cifar-speed", epochs=1, batch_size=50, run="part", **small)
    more = tinyclsf.train(resume="part", epochs=2, progress=False)
    for name, tensor in load_model(whole.folder).state_dict().items():
        assert torch.equal(load_model(more.folder).state_dict()[name], tensor), name
    assert not torch.equal(whole.model.network.filters, CifarSpeed((1, 28, 28), 10).filters)  # type: ignore[arg-type]


@pytest.mark.stress
@pytest.mark.skipif(shutil.which("c++") is None, reason="nothing can be compiled without a C++ compiler")
def test_cifar_speed_learns_where_bfloat16_is_compiled() -> None:
    network, draw = CifarSpeed((3, 12, 12), 10, width=8), torch.Generator().manual_seed(0)
    batches = [(torch.randn(16, 3, 12, 12, generator=draw), torch.arange(16) % 10)]
    opt = torch.optim.SGD(network.parameters(), 0.1)
    trainer = Trainer(network, F.cross_entropy, opt, device="cpu", precision="bfloat16", compile=True)
    [first, *_, last] = trainer.fit(10, batches, batches, progress=False)  # it ends where a loss is nan
    assert last.train_loss < first.train_loss


def test_at_the_smallest_size_one_pixel_is_left() -> None:
    assert CifarNet((3, 16, 16)).fc1.in_features == 16
    assert TorchClsfModel((3, 4, 4)).fc1.in_features == 64
    assert LeNet((1, 16, 16)).fc.in_features == LeNet((1, 4, 4), padding=2).fc.in_features == 16
    with torch.device("meta"):
        assert VGG((3, 32, 32)).features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 1, 1)


def test_a_model_that_does_not_fit_the_data_ends_in_exit_code_2(cli: Any, tmp_path: Path) -> None:
    result = cli("fit", "vgg", "-d", "train_size=100", "--progress", "none")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: vgg needs images of at least 32x32; these are 1x28x28 (channels x height x width): use larger images\n"
    )
    assert list((tmp_path / "runs").iterdir()) == []


GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def cnn() -> list[nn.Module]:
    first, second = (nn.Conv2d(channels, 16, kernel_size=3, stride=2, padding=1) for channels in (1, 16))
    third = nn.Conv2d(16, 10, kernel_size=3, stride=2, padding=1)
    return [first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU(), nn.AvgPool2d(4), nn.Flatten()]


def convolutions(*channels: int, size: int, padding: int) -> list[nn.Module]:
    """A convolution, a ReLU and a 2x2 pooling from each number of channels to the next; then flat."""
    each = ([nn.Conv2d(*pair, size, padding=padding), nn.ReLU(), nn.MaxPool2d(2)] for pair in pairwise(channels))
    return [*chain(*each), nn.Flatten()]


def perceptron(*units: int, batch_norm: bool = False) -> list[nn.Module]:
    """Linear layers from each number of units to the next, with ReLU between."""
    hidden = ([nn.Linear(*pair), *[nn.BatchNorm1d(pair[1])] * batch_norm, nn.ReLU()] for pair in pairwise(units[:-1]))
    return [nn.Flatten(), *chain(*hidden), nn.Linear(units[-2], units[-1])]


def lenet(padding: int, inputs: int) -> list[nn.Module]:
    return [*convolutions(1, 6, 16, size=5, padding=padding), nn.Linear(inputs, 10)]


def torch_clsf(before: list[nn.Module], after: list[nn.Module]) -> list[nn.Module]:
    convs = convolutions(3, 32, 64, size=3, padding=1)
    return [*convs, *before, nn.Linear(64 * 8 * 8, 100), nn.ReLU(), *after, nn.Linear(100, 10)]


# What carries a note's name, its options and number of parameters, and the note's layers; then two of ours.
WRITTEN_OUT: list[tuple[str, dict[str, Any], Shape, int, Callable[[], list[nn.Module]]]] = [
    ("mnist-logistic", {}, GREY, 7_850, lambda: perceptron(784, 10)),
    ("mnist-cnn", {}, GREY, 3_930, cnn),
    ("mnist-cnn-sequential", {}, GREY, 3_930, cnn),
    (
        *("cifar-net", {}, COLOUR, 62_006),
        lambda: [*convolutions(3, 6, 16, size=5, padding=0), *perceptron(16 * 5 * 5, 120, 84, 10)],
    ),
    ("lenet", {}, GREY, 5_142, lambda: lenet(0, 16 * 4 * 4)),
    ("linear", {}, GREY, 7_850, lambda: perceptron(784, 10)),
    ("mlp", {}, GREY, 109_386, lambda: perceptron(784, 128, 64, 10)),
    ("mlp", {"batch_norm": True}, GREY, 109_770, lambda: perceptron(784, 128, 64, 10, batch_norm=True)),
    ("torch-clsf", {}, COLOUR, 430_102, lambda: torch_clsf([], [nn.Dropout(0.5)])),
    ("torch-clsf", {"mixed": True}, COLOUR, 430_102, lambda: torch_clsf([], [nn.Dropout(0.5)])),
    ("lenet", {"padding": 2}, GREY, 10_422, lambda: lenet(2, 16 * 7 * 7)),
    (
        *("torch-clsf", {"dropout": 0.1, "input_dropout": 0.25}, COLOUR, 430_102),
        lambda: torch_clsf([nn.Dropout(0.25)], [nn.Dropout(0.1)]),
    ),
    (
        *("torch-clsf", {"dropout": 0.1, "input_dropout": 0.25, "mixed": True}, COLOUR, 430_102),
        lambda: torch_clsf([nn.Dropout(0.25)], [nn.Dropout(0.1)]),
    ),
]


@pytest.mark.parametrize(("name", "options", "shape", "parameters", "layers"), WRITTEN_OUT)
def test_a_network_is_the_notes_layer_by_layer(
    name: str, options: dict[str, Any], shape: Shape, parameters: int, layers: Callable[[], list[nn.Module]]
) -> None:
    note, ours = nn.Sequential(*layers()), load(find("model", name))(shape, 10, **options)
    copy_in_order(note, ours)
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters
    x, _ = images(shape)
    for training in (True, False):  # with one seed both drop the same values
        torch.manual_seed(0)
        wanted = note.train(training)(x)
        torch.manual_seed(0)
        torch.testing.assert_close(ours.train(training)(x), wanted)


def test_the_notes_class_names_are_those_of_the_networks() -> None:
    assert (MyModel, Linear_Model_v0, Linear_Model_v1, Net) == (LeNet, LinearClassifier, MLP, CifarNet)


def test_runs_of_torch_clsf_from_before_its_dropout_options_find_their_weights() -> None:
    layers = {False: ("conv1", "conv2", "fc1", "fc2"), True: ("block1.0", "block2.0", "head.2", "head.4")}
    for mixed, names in layers.items():
        state = load(find("model", "torch-clsf"))(COLOUR, 10, mixed=mixed).state_dict()
        assert list(state) == [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("option", ["dropout", "input_dropout"])
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_to_drop_that_cannot_be(mixed: bool, option: str, share: float) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(find("model", "torch-clsf"))(COLOUR, 10, mixed=mixed, **{option: share})
    assert str(error.value) == f"{option} is {share}; wanted 0 or more and less than 1"


@pytest.mark.parametrize(
    ("plain", "other"),
    [(Mnist_CNN, Mnist_CNN_Manual), (Mnist_CNN, mnist_cnn_sequential), (TorchClsfModel, TorchClsfMixedModel)],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 21)])
def test_two_ways_to_write_a_network_compute_the_same(plain: Make, other: Make, shape: Shape) -> None:
    one, two = plain(shape, 5), other(shape, 5)
    copy_in_order(one, two)
    x, _ = images(shape)
    torch.testing.assert_close(two.eval()(x), one.eval()(x))


def test_logistic_regression_from_bare_parameters_computes_the_same() -> None:
    plain, manual = Mnist_Logistic((3, 5, 7), 4), Mnist_Logistic_Manual((3, 5, 7), 4)
    manual.weights.data.copy_(plain.lin.weight.data.T)
    manual.bias.data.copy_(plain.lin.bias.data)
    x, _ = images((3, 5, 7))
    torch.testing.assert_close(manual(x), plain(x))
    assert torch.equal(manual(x.flatten(1)), manual(x))


def test_bare_parameters_begin_as_the_tutorial_draws_them() -> None:
    torch.manual_seed(0)
    weights = Mnist_Logistic_Manual().weights
    torch.manual_seed(0)
    assert torch.equal(weights, torch.randn(784, 10) / 28)
    cnn = Mnist_CNN_Manual((16, 28, 28), 16)
    for weight, bias in ((cnn.weight1, cnn.bias1), (cnn.weight2, cnn.bias2), (cnn.weight3, cnn.bias3)):
        assert weight.std().item() * 12 == pytest.approx(1, abs=0.06)  # 16 channels of 3x3 pixels are 144, the square of 12
        assert not bias.any()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vgg_has_the_layers_and_state_dict_of_torchvisions(depth: Literal[11, 13, 16, 19], batch_norm: bool) -> None:
    with torch.device("meta"):
        ours = VGG((3, 224, 224), 1000, depth=depth, batch_norm=batch_norm)
        theirs = models.get_model(f"vgg{depth}_bn" if batch_norm else f"vgg{depth}")
    for block in ("features", "classifier"):
        assert str(getattr(ours, block)) == str(getattr(theirs, block))
    for source, target in ((ours, theirs), (theirs, ours)):
        assert list(source.state_dict()) == list(target.state_dict())
        target.load_state_dict(source.state_dict(), assign=True)


@pytest.mark.stress
def test_vgg_computes_what_torchvisions_does() -> None:
    ours = VGG((3, 32, 32), 10, depth=11, batch_norm=True).eval()
    with torch.device("meta"):
        theirs = models.vgg11_bn(num_classes=10).eval()
    theirs.load_state_dict(ours.state_dict(), assign=True)
    x = torch.randn(2, 3, 40, 32)
    assert torch.equal(ours(x), theirs(x))


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache and no way to fill it."""

    def urlopen(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.urlopen", urlopen)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    "arch", ["googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_32"]
)
def test_an_architecture_takes_the_channels_classes_and_size_of_the_images(arch: str) -> None:
    network = torchvision((1, 32, 32), 4, arch=arch)
    assert network.training
    out = network(torch.randn(2, 1, 32, 32))
    assert (type(out), out.shape) == (Tensor, (2, 4))
    assert not any(key.startswith("aux") for key in network.state_dict())


@pytest.mark.parametrize(
    ("arch", "shape", "reason"),
    [
        ("alexnet", (1, 28, 28), "Given input size: (192x2x2). Calculated output size: (192x0x0). Output size is too small"),
        ("vit_b_32", (3, 28, 28), "Input shape indivisible by patch size!"),
    ],
)
def test_an_architecture_that_cannot_take_the_images(arch: str, shape: Shape, reason: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        torchvision(shape, 4, arch=arch)
    assert str(error.value) == (
        f"{arch} cannot take images of {'x'.join(map(str, shape))} (channels x height x width): {reason}; "
        "use images of another size or another arch"
    )


@pytest.mark.parametrize(
    ("arch", "tip"),
    [
        ("resnet81", "did you mean 'resnet18'?"),
        ("ResNet18", "did you mean 'resnet18'?"),
        ("fcn_resnet50", "did you mean 'resnet50'?"),
        ("", None),
    ],
)
def test_an_unknown_architecture_is_answered_with_the_nearest(arch: str, tip: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        torchvision((3, 32, 32), 4, arch=arch)
    assert str(error.value) == f"torchvision has no classification model '{arch}'; wanted one such as resnet18"
    assert error.value.tip == tip


def saved(state: dict[str, Any], path: Path) -> Path:
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    return path


@pytest.mark.parametrize("name", ["rgb.pth", "rgb.safetensors"])
def test_weights_of_another_data_set_start_a_network_for_grey_images(tmp_path: Path, name: str) -> None:
    theirs = models.resnet18(num_classes=7)
    path = saved(theirs.state_dict(), tmp_path / name)
    with pytest.warns(DataWarning) as warned:
        ours = torchvision((1, 33, 32), 4, weights=path)
    assert [str(each.message) for each in warned] == [
        f"{path} is for 7 classes and these images have 4, so the last layer is newly initialised"
    ]
    assert torch.equal(ours.state_dict()["conv1.weight"][:, 0], theirs.conv1.weight.sum(dim=1))
    assert ours.get_parameter("fc.weight").shape == (4, 512)
    assert ours.get_parameter("fc.weight").any()
    theirs.fc, ours.fc = nn.Identity(), nn.Identity()
    grey = torch.rand(2, 1, 33, 32)
    torch.testing.assert_close(ours.eval()(grey), theirs.eval()(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_weights_that_fit_are_loaded_whole(tmp_path: Path) -> None:
    theirs = models.resnet18(num_classes=4).eval()
    ours = torchvision((3, 32, 32), 4, weights=saved(theirs.state_dict(), tmp_path / "whole.pth")).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(ours(x), theirs(x))


def test_old_names_and_second_heads_in_torchvisions_own_files(tmp_path: Path) -> None:
    dense = models.densenet121(num_classes=4).state_dict()
    old = {re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", key): value for key, value in dense.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    found = torchvision((3, 32, 32), 4, arch="densenet121", weights=saved(old, tmp_path / "dense.pth")).state_dict()
    assert all(torch.equal(found[key], value) for key, value in dense.items())
    with torch.device("meta"):
        names = models.googlenet(num_classes=4, aux_logits=True, init_weights=False).state_dict()
    state = {key: torch.full_like(value, 0.5, device="cpu", dtype=torch.float32) for key, value in names.items()}
    assert "aux1.fc1.weight" in state
    found = torchvision((3, 32, 32), 4, arch="googlenet", weights=saved(state, tmp_path / "inception.pth")).state_dict()
    assert found["fc.weight"].eq(0.5).all()


SQUEEZE = models.squeezenet1_1(num_classes=4).state_dict()


class Hostile:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("hostile"),)


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        (
            "other.pth",
            {key: value for key, value in SQUEEZE.items() if "12" not in key and key != "classifier.1.bias"}
            | {"features.0.bias": torch.ones(63), "features.99": torch.ones(1), "head": torch.ones(1)},
            "FILE does not fit the network, in tensors: 7 missing (features.12.squeeze.weight, features.12.squeeze.bias, "
            "features.12.expand1x1.weight and 4 more); 2 unexpected (head and features.99); 1 of another shape "
            "(features.0.bias); choose the architecture and the image size that it was saved from",
        ),
        (
            "channels.safetensors",
            SQUEEZE | {"features.0.weight": torch.ones(64, 4, 3, 3)},
            "FILE is for images of 4 channels and these have 3; only weights for 3 channels can be turned into weights for 1",
        ),
        (
            "checkpoint.pt",
            {"epoch": 3, "model": SQUEEZE, "opt": {}, "lr": 0.1},
            "FILE holds 4 values that are no plain tensors (epoch, model, opt and 1 more); "
            "wanted a state dict: save model.state_dict() alone",
        ),
        (
            "odd.pth",
            {"a": torch.ones(1, device="meta"), "b": torch.ones(1, dtype=torch.complex64)},
            "FILE holds 2 values that are no plain tensors (a and b); wanted a state dict: save model.state_dict() alone",
        ),
        ("list.pth", [1.0], "FILE holds a list; wanted a state dict: save model.state_dict() alone"),
        (
            "hostile.pth",
            {"features.0.weight": Hostile()},
            "FILE cannot be read as a state dict (UnpicklingError): it is broken or holds more than tensors; "
            "save model.state_dict() again",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[-12:] else "",
)
def test_weights_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, state: Any, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(state, tmp_path / name)
    with pytest.raises(ModelFileError) as error:
        torchvision((3, 32, 32), 4, arch="squeezenet1_1", weights=path)
    assert str(error.value) == message.replace("FILE", str(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors", "empty.pth", "empty.safetensors"])
def test_weights_in_a_broken_file(tmp_path: Path, name: str) -> None:
    path = saved(SQUEEZE, tmp_path / name)
    os.truncate(path, 0 if name.startswith("empty") else path.stat().st_size // 2)
    with pytest.raises(ModelFileError) as error:
        torchvision((3, 32, 32), 4, arch="squeezenet1_1", weights=path)
    kind = type(error.value.__cause__).__name__  # whatever torch or safetensors raises
    assert str(error.value) == (
        f"{path} cannot be read as a state dict ({kind}): it is broken or holds more than tensors; "
        "save model.state_dict() again"
    )


def test_weights_that_are_missing_or_of_another_kind(tmp_path: Path) -> None:
    for name, reason in (("gone.pth", "No such file or directory"), ("folder.safetensors", "Is a directory")):
        path = tmp_path / name
        if name.startswith("folder"):
            path.mkdir()
        with pytest.raises(ModelFileError) as missing:
            torchvision((3, 32, 32), 4, arch="squeezenet1_1", weights=path)
        assert str(missing.value) == f"cannot read {path}: {reason}; wanted a state dict"
    with pytest.raises(ConfigurationError) as other:
        torchvision((3, 32, 32), 4, arch="squeezenet1_1", weights=Path("weights.onnx"))
    assert str(other.value) == "weights is 'weights.onnx'; wanted a .pt, .pth or .safetensors file"


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3", "efficientnet_v2_l", "resnet18", "vit_b_16"])
def test_pretrained_networks_of_torchvision_get_the_scaling_that_they_were_trained_with(arch: str) -> None:
    wanted = models.get_model_weights(arch).DEFAULT.transforms()
    x = torch.rand(2, 3, 8, 8)
    right = (x - torch.tensor(wanted.mean).view(-1, 1, 1)) / torch.tensor(wanted.std).view(-1, 1, 1)
    if arch in ("googlenet", "inception_v3"):
        network = models.get_model(arch, weights=None, transform_input=True, init_weights=False)
        right = network._transform_input(right)  # which torchvision switches on for pretrained weights
    options = data_options(arch=arch, pretrained=True)
    scaling = Preparation(normalize=options["normalize"]).scaling(iter([x]))
    torch.testing.assert_close(scaling(x * 255), right, rtol=1e-5, atol=1e-5)
