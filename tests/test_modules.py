"""The layers that training and prediction share: a function, the scaling, and the classifier made of both."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tinyclsf import Classifier, Lambda, Preprocess

PIXELS = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def test_lambda_is_a_function_as_a_layer() -> None:
    x = torch.randn(2, 3, 4)
    model = nn.Sequential(Lambda(lambda x: x.flatten(1)), nn.Linear(12, 5))
    assert torch.equal(model[0](x), x.flatten(1))
    assert model(x).shape == (2, 5)
    assert list(model[0].parameters()) == []


def test_default_scaling_of_bytes_is_division_by_255() -> None:
    assert torch.equal(Preprocess()(PIXELS), PIXELS.float() / 255)


@pytest.mark.parametrize("mean", [100.0, [100.0], [10.0, 20.0, 30.0]])
@pytest.mark.parametrize("std", [2.0, [1.0, 2.0, 4.0]])
def test_scaling_of_each_channel(mean: float | list[float], std: float | list[float]) -> None:
    x = torch.randint(256, (2, 3, 4, 5), dtype=torch.uint8)
    means, stds = ([float(v)] * 3 if isinstance(v, float) else v * (3 // len(v)) for v in (mean, std))
    right = torch.stack([(x[:, c].float() - means[c]) / stds[c] for c in range(3)], dim=1)
    assert torch.equal(Preprocess(mean, std)(x), right)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float16, torch.float32, torch.float64])
def test_any_number_type_becomes_float32_and_the_input_stays(dtype: torch.dtype) -> None:
    x = torch.randint(100, (2, 1, 3, 3)).to(dtype)
    before = x.clone()
    out = Preprocess(3.0, 7.0)(x)
    assert out.dtype == torch.float32
    assert torch.allclose(out, (x.float() - 3) / 7)
    assert torch.equal(x, before)


def test_scaling_is_saved_and_loaded_but_not_trained() -> None:
    state = Preprocess([1.0, 2.0], [3.0, 4.0]).state_dict()
    assert {key: value.flatten().tolist() for key, value in state.items()} == {"mean": [1.0, 2.0], "std": [3.0, 4.0]}
    other = Preprocess([0.0, 0.0], [1.0, 1.0])
    other.load_state_dict(state)
    x = torch.rand(1, 2, 2, 2)
    assert torch.equal(other(x), Preprocess([1.0, 2.0], [3.0, 4.0])(x))
    assert list(other.parameters()) == []


def test_classifier_is_scaling_then_network() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    model = Classifier(Preprocess(), network, ["cat", "dog"], [1, 16, 16])
    assert list(model.state_dict()) == ["preprocess.mean", "preprocess.std", "network.1.weight", "network.1.bias"]
    assert (model.classes, model.image_shape) == (("cat", "dog"), (1, 16, 16))
    right: Tensor = network(PIXELS.float() / 255)
    assert torch.equal(model(PIXELS), right)
