"""Saved models come back bit for bit, and every broken file is named for what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tinyclsf import Classifier, Preprocess, load_model, save_model
from tinyclsf.errors import ModelFileError, PluginError, StorageError
from tinyclsf.registry.plugins import find, load
from tinyclsf.runs.models import read_weights, save_weights, weights_epoch

SHAPE, CLASSES = (2, 9, 9), ("cat", "dög", "emu")
CNN = {"name": "mnist-cnn", "package": "tinyclsf", "package_version": "0", "options": {}}


def network() -> nn.Module:
    built: nn.Module = load(find("model", "mnist-cnn"))(SHAPE, len(CLASSES))
    return built


def classifier() -> Classifier:
    model = Classifier(Preprocess([100.0, 50.0], [255.0, 7.0]), network(), CLASSES, SHAPE, white=0.5, fit="pad")
    return model.to(memory_format=torch.channels_last)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with a saved model."""
    save_model(classifier(), tmp_path, plugin=CNN)
    return tmp_path


def edit_card(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def refusal(folder: Path, network: nn.Module | None = None) -> str:
    """The whole message of `load_model`, with FOLDER for the folder."""
    with pytest.raises(ModelFileError) as error:
        load_model(folder, network)
    assert error.value.exit_code == 4
    return str(error.value).replace(str(folder), "FOLDER")


def test_the_folder_is_made_unless_a_file_is_in_its_way(tmp_path: Path) -> None:
    save_model(classifier(), tmp_path / "new" / "model")
    assert load_model(tmp_path / "new" / "model", network()).classes == CLASSES
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as error:
        save_model(classifier(), tmp_path / "file")
    assert str(error.value) == f"cannot write {tmp_path / 'file'}: File exists; what was there before is unchanged"


@pytest.mark.parametrize("given", [False, True], ids=["plugin", "network"])
def test_a_model_comes_back_bit_for_bit(tmp_path: Path, given: bool) -> None:
    model = classifier().train()
    save_model(model, tmp_path, plugin=None if given else CNN)
    found = load_model(str(tmp_path), network() if given else None)
    assert not found.training
    assert (found.classes, found.image_shape, found.white, found.fit) == (CLASSES, SHAPE, 0.5, "pad")
    right = model.state_dict()
    assert list(found.state_dict()) == list(right)
    assert all(torch.equal(value, right[key]) for key, value in found.state_dict().items())
    x = torch.randint(256, (5, *SHAPE), dtype=torch.uint8)
    assert torch.equal(found.to(memory_format=torch.channels_last)(x), model.eval()(x))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_weights_that_are_tied_are_saved_and_stay_tied(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
        layers[2].weight = layers[1].weight
        return layers

    model = Classifier(Preprocess(), tied(), "abcd", (1, 2, 2))
    save_model(model, tmp_path)
    found = load_model(tmp_path, tied())
    x = torch.rand(3, 1, 2, 2)
    assert torch.equal(found(x), model(x))
    assert found.network.get_parameter("1.weight") is found.network.get_parameter("2.weight")


def test_options_of_the_plugin_are_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def factory(
        image_shape: tuple[int, ...], num_classes: int, *, width: int = 1, skip: bool = False, end: int | None = 3
    ) -> Any:
        seen.append((image_shape, num_classes, width, skip, end))
        return network()

    seen: list[object] = []
    monkeypatch.setattr("tinyclsf.runs.models.load", lambda plugin: factory)
    edit_card(folder, plugin={**CNN, "options": {"width": 32, "skip": True, "end": None}})
    load_model(folder)
    assert seen == [(SHAPE, 3, 32, True, None)]


def test_notes_are_in_the_header(tmp_path: Path) -> None:
    save_weights(nn.Linear(1, 1), tmp_path / "w", notes={"epoch": "3"})
    raw = (tmp_path / "w").read_bytes()
    assert json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"] == {"epoch": "3"}
    assert weights_epoch(tmp_path / "w") == 3


@pytest.mark.parametrize("notes", [None, {"card": "{}"}, {"epoch": "the last"}])
def test_weights_of_no_known_epoch(tmp_path: Path, notes: dict[str, str] | None) -> None:
    save_weights(nn.Linear(1, 1), tmp_path / "w", notes=notes)
    assert weights_epoch(tmp_path / "w") is None


@pytest.mark.parametrize("read", [read_weights, weights_epoch])
def test_a_file_that_holds_no_weights(tmp_path: Path, read: Callable[[Path], object]) -> None:
    torn = tmp_path / "torn"
    torn.write_bytes(b"torn")
    for path, message in (
        (tmp_path / "gone", "cannot read FOLDER/gone: No such file or directory; wanted the weights of a trained model"),
        (tmp_path, "cannot read FOLDER: Is a directory; wanted the weights of a trained model"),
        (torn, "FOLDER/torn is not a whole safetensors file ("),
    ):
        with pytest.raises(ModelFileError) as error:
            read(path)
        assert str(error.value).replace(str(tmp_path), "FOLDER").startswith(message)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone") == (
        "cannot read FOLDER/model.json: No such file or directory; wanted a run folder with a trained model"
    )
    assert refusal(tmp_path) == (
        "cannot read FOLDER/model.json: No such file or directory; wanted a run folder with a trained model"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "FOLDER/model.json is not JSON (Expecting value: line 1 column 1 (char 0)); the file is broken or not a model's"),
        (
            b'{"format": 1',
            "FOLDER/model.json is not JSON (Expecting ',' delimiter: line 1 column 13 (char 12)); "
            "the file is broken or not a model's",
        ),
        (b"[1, 2]", "FOLDER/model.json holds a list; wanted an object; the file is broken or not a model's"),
        (b'{"format": 1}', "FOLDER/model.json lacks format, classes, image_shape, white or plugin; it is not a model's"),
    ],
)
def test_a_card_that_is_none(folder: Path, content: bytes, message: str) -> None:
    (folder / "model.json").write_bytes(content)
    assert refusal(folder) == message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"[" * 100_000], ids=["bytes", "deep"])
def test_a_card_that_is_no_text_at_all(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    assert refusal(folder).startswith("FOLDER/model.json is not JSON (")


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 3},
        {"classes": []},
        {"classes": ["cat", 3, "emu"]},
        {"image_shape": None},
        {"image_shape": []},
        {"image_shape": [1, 8, "8"]},
        {"image_shape": [1, 8, 0]},
        {"white": "255"},
        {"white": True},
        {"white": 0},
        {"white": float("nan")},
        {"plugin": "mnist-cnn"},
        {"plugin": {"name": "mnist-cnn"}},
        {"plugin": {"name": 3, "options": {}}},
        {"fit": "middle"},
        {"fit": None},
    ],
    ids=str,
)
def test_a_card_of_odd_values(folder: Path, changes: dict[str, Any]) -> None:
    wanted = {"classes": "a list of texts", "image_shape": "channels, height and width", "white": "a number above 0"}
    wanted |= {"plugin": "an object with name and options, or null", "fit": "one of crop|pad|stretch"}
    edit_card(folder, **changes)
    [(name, value)] = changes.items()
    assert refusal(folder) == f"FOLDER/model.json: {name} is {json.dumps(value)}; wanted {wanted[name]}; the file is broken"


def test_a_card_from_before_there_were_ways_to_fit_is_of_crops(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_text())
    assert card.pop("fit") == "pad"
    (folder / "model.json").write_text(json.dumps(card))
    assert load_model(folder, network()).fit == "crop"


def test_a_white_that_is_a_whole_number_beyond_64_bits(folder: Path) -> None:
    edit_card(folder, white=2**70)
    white = load_model(folder, network()).white
    assert (white, type(white)) == (2.0**70, float)  # a tensor can be multiplied by that, and not by the whole number


def test_a_card_for_images_that_no_memory_holds(folder: Path) -> None:
    edit_card(folder, image_shape=[3, 2**20, 2**20])
    sentence = "FOLDER/model.json is for images of 3x1048576x1048576, which are too large; the file is broken"
    assert refusal(folder) == sentence


def test_a_card_of_a_newer_format(folder: Path) -> None:
    edit_card(folder, format=2, plugin=["something", "new"])
    assert refusal(folder) == "FOLDER/model.json has format 2 and this tinyclsf reads 1; upgrade tinyclsf"


def test_neither_plugin_nor_network(folder: Path) -> None:
    edit_card(folder, plugin=None)
    assert refusal(folder) == "FOLDER/model.json names no model plugin; hand load_model the network that was trained"
    assert load_model(folder, network()).classes == CLASSES


@pytest.mark.parametrize(
    ("plugin", "reason", "tip"),
    [
        ({"name": "mnist-cn"}, "there is no model 'mnist-cn'; 'tinyclsf list models' shows all", "did you mean 'mnist-cnn'?"),
        ({"options": {"width": 3}}, "model mnist-cnn has no option 'width'; it takes manual", None),
    ],
)
def test_a_plugin_that_is_not_what_it_was(folder: Path, plugin: dict[str, Any], reason: str, tip: str | None) -> None:
    edit_card(folder, plugin={**CNN, **plugin})
    with pytest.raises(ModelFileError) as error:
        load_model(folder)
    assert str(error.value) == f"{folder / 'model.json'} needs a model plugin as it was trained with: {reason}"
    assert (error.value.tip, error.value.exit_code) == (tip, 4)


def test_a_plugin_that_fails_is_blamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def factory(image_shape: tuple[int, ...], num_classes: int, *, manual: bool = False) -> nn.Module:
        raise IndexError("tuple index out of range")

    monkeypatch.setattr("tinyclsf.runs.models.load", lambda plugin: factory)
    with pytest.raises(PluginError) as error:
        load_model(folder)
    assert str(error.value) == (
        "model 'mnist-cnn' of package tinyclsf (tinyclsf_plugins.models.mnist_cnn:mnist_cnn) "
        "failed for 3 classes of images (2, 9, 9): IndexError: tuple index out of range"
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
def test_weights_cut_off(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(safetensors.SafetensorError) as theirs:  # in words that change with the library's version
        safetensors.torch.load(path.read_bytes())
    assert refusal(folder) == f"FOLDER/model.safetensors is not a whole safetensors file ({theirs.value}); save the model again"


@pytest.mark.stress
def test_no_flipped_bit_in_the_header_is_anything_but_a_model_file_error(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for bit in range(0, 8 * (8 + int.from_bytes(whole[:8], "little")), 29):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        assert refusal(folder).startswith("FOLDER/model.safetensors ")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_folder_in_place_of_a_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    wanted = {"model.json": "a run folder with a trained model", "model.safetensors": "the weights of a trained model"}[name]
    assert refusal(folder) == f"cannot read FOLDER/{name}: Is a directory; wanted {wanted}"


def test_weights_that_are_missing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == (
        "cannot read FOLDER/model.safetensors: No such file or directory; wanted the weights of a trained model"
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda state: state.pop("network.conv1.bias"), 'Missing key(s) in state_dict: "network.conv1.bias".'),
        (lambda state: state.pop("preprocess.mean"), 'Missing key(s) in state_dict: "preprocess.mean".'),
        (lambda state: state.update(extra=torch.zeros(1)), 'Unexpected key(s) in state_dict: "extra".'),
        (
            lambda state: state.update({"network.conv1.bias": torch.zeros(4)}),
            "size mismatch for network.conv1.bias: copying a param with shape torch.Size([4]) from checkpoint, "
            "the shape in current model is torch.Size([16]).",
        ),
    ],
    ids=["missing", "no scaling", "extra", "shape"],
)
def test_weights_of_another_network(folder: Path, change: Callable[[dict[str, torch.Tensor]], object], found: str) -> None:
    edit_weights(folder, change)
    assert refusal(folder) == (
        f"FOLDER/model.safetensors does not fit its network: Error(s) in loading state_dict for Classifier: {found}"
    )


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_weights_of_another_kind_of_number(folder: Path, dtype: torch.dtype) -> None:
    edit_weights(folder, lambda state: state.update({"network.conv1.bias": torch.zeros(16, dtype=dtype)}))
    assert refusal(folder) == (
        f"FOLDER/model.safetensors has {dtype} in network.conv1.bias; wanted torch.float32; train it again"
    )


def test_weights_that_float32_does_not_hold_are_refused(folder: Path) -> None:
    edit_weights(folder, lambda state: state.update({"network.conv1.bias": torch.full((16,), 1e300, dtype=torch.float64)}))
    assert "values in network.conv1.bias that are not finite numbers" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    edit_weights(folder, lambda state: state["network.conv1.bias"][1].fill_(value))
    assert refusal(folder) == (
        "FOLDER/model.safetensors has values in network.conv1.bias that are not finite numbers, "
        "so the model is of no use; train it again"
    )
