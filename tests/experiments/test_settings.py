"""Which setting wins: the flag, then the recipe, then the default of the optimizer; and where each came from."""

from __future__ import annotations

from typing import Any

import pytest

from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.experiments.settings import arguments_of, resolve
from tinyclsf.recipes import Recipe, optimizers
from tinyclsf.registry.options import Setting

OTHERS = {
    "class_weights": ("none", "default"),
    "augment": ("none", "default"),
    "accumulate": (1, "default"),
    "clip_norm": (None, "default"),
    "ema_decay": (None, "default"),
    "patience": (None, "default"),
    "freeze": ("none", "default"),
    "unfreeze_after": (None, "default"),
    "backbone_lr": (1.0, "default"),
    "decayed": ("all", "default"),
    "seed": (0, "default"),
    "precision": ("auto", "default"),
    "compile": (False, "default"),
    "checkpoint_every": (None, "default"),
    "device": ("auto", "default"),
}
SGD = Recipe(epochs=2, batch_size=32, optimizer="sgd", lr=0.1, momentum=0.9, schedule="one-cycle", loss="mse")


def given(**flags: Any) -> dict[str, Setting]:
    return {name: Setting(value, "--" + name.replace("_", "-")) for name, value in flags.items()}


def test_nothing_said_and_no_recipe() -> None:
    assert resolve(None, given()) == {
        "epochs": (5, "default"),
        "batch_size": (64, "default"),
        "loss": ("cross-entropy", "default"),
        "label_smoothing": (0.0, "default of cross-entropy"),
        "optimizer": ("adam", "default"),
        "lr": (0.001, "default of adam"),
        "weight_decay": (0, "default of adam"),
        "schedule": ("none", "default"),
        **OTHERS,
    }


def test_a_recipe_comes_before_defaults() -> None:
    assert resolve(SGD, given()) == {
        "epochs": (2, "recipe"),
        "batch_size": (32, "recipe"),
        "loss": ("mse", "recipe"),
        "optimizer": ("sgd", "recipe"),
        "lr": (0.1, "recipe"),
        "momentum": (0.9, "recipe"),
        "nesterov": (False, "default of sgd"),
        "weight_decay": (0, "default of sgd"),
        "schedule": ("one-cycle", "recipe"),
        **OTHERS,
        "class_weights": ("none", "recipe"),
        "augment": ("none", "recipe"),
        "accumulate": (1, "recipe"),
        "freeze": ("none", "recipe"),
        "backbone_lr": (1.0, "recipe"),
        "decayed": ("all", "recipe"),
    }


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("epochs", 9, "--epochs"),
        ("batch_size", 1, "--batch-size"),
        ("lr", 0.1, "--lr"),
        ("momentum", 0.0, "--momentum"),
        ("nesterov", True, "--nesterov"),
        ("weight_decay", 0.01, "--weight-decay"),
        ("schedule", "none", "--schedule"),
        ("augment", "flip,crop", "--augment"),
        ("seed", 7, "--seed"),
    ],
)
def test_a_flag_comes_before_the_recipe(name: str, value: Any, flag: str) -> None:
    found = resolve(SGD, given(**{name: value}))
    assert found.pop(name) == Setting(value, flag)
    rest = resolve(SGD, given())
    del rest[name]
    assert found == rest


def test_another_optimizer_drops_what_belonged_to_the_recipes() -> None:
    found = resolve(SGD, given(optimizer="rmsprop"))
    assert (found["optimizer"], found["epochs"]) == (("rmsprop", "--optimizer"), (2, "recipe"))
    assert (found["lr"], found["momentum"]) == ((0.01, "default of rmsprop"), (0, "default of rmsprop"))
    assert "momentum" not in resolve(SGD, given(optimizer="adam"))


def test_the_recipes_optimizer_by_name_keeps_its_values() -> None:
    found = resolve(SGD, given(optimizer="sgd"))
    assert (found["optimizer"], found["lr"]) == (("sgd", "--optimizer"), (0.1, "recipe"))


@pytest.mark.parametrize(
    ("optimizer", "name", "message"),
    [
        ("adam", "momentum", "optimizer adam does not use --momentum; leave it out"),
        ("adam", "nesterov", "optimizer adam does not use --nesterov; leave it out"),
        ("rprop", "weight_decay", "optimizer rprop does not use --weight-decay; leave it out"),
        ("sgd", "label_smoothing", "loss mse does not use --label-smoothing; leave it out"),
        ("sgd", "gamma", "schedule one-cycle does not use --gamma; leave it out"),
        ("sgd", "step_size", "schedule one-cycle does not use --step-size; leave it out"),
        ("sgd", "plateau_patience", "schedule one-cycle does not use --plateau-patience; leave it out"),
    ],
)
def test_an_option_that_is_not_used_is_an_error(optimizer: str, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        resolve(SGD, given(optimizer=optimizer, **{name: 0.5}))
    assert (str(error.value), error.value.tip) == (message, None)


@pytest.mark.parametrize(
    ("recipe", "flags"), [(SGD, {"class_weights": "balanced"}), (Recipe(class_weights="balanced"), {"loss": "mse"})]
)
def test_a_loss_without_class_weights_is_not_given_any(recipe: Recipe, flags: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        resolve(recipe, given(**flags))
    assert str(error.value) == "loss mse does not weigh classes; give --class-weights none, or --loss cross-entropy"
    assert resolve(recipe, given(loss="cross-entropy", class_weights="balanced"))["class_weights"].value == "balanced"


def test_a_schedules_own_options_go_with_it() -> None:
    decaying = Recipe(schedule="step", gamma=0.5, loss="cross-entropy", label_smoothing=0.1)
    found = resolve(decaying, given(step_size=3))
    assert (found["gamma"], found["step_size"]) == ((0.5, "recipe"), (3, "--step-size"))
    assert found["label_smoothing"] == (0.1, "recipe")
    found = resolve(decaying, given(schedule="exponential", loss="mse"))
    assert found["gamma"] == (0.9, "default of exponential")
    assert not {"step_size", "plateau_patience", "label_smoothing"} & set(found)
    assert arguments_of(found, "schedule") == {"gamma": 0.9}


def test_a_recipe_whose_optimizer_does_not_use_its_option_is_the_plugins_fault() -> None:
    wrong = Recipe(lr=0.1, momentum=0.9)
    with pytest.raises(PluginError) as error:
        resolve(wrong, given())
    assert str(error.value) == "the recipe of the model gives momentum, which its optimizer adam does not use; mend it"
    assert "momentum" not in resolve(wrong, given(optimizer="adamw"))


@pytest.mark.parametrize(
    ("name", "value", "known", "tip"),
    [
        ("loss", "crossentropy", "cross-entropy, mse", "did you mean 'cross-entropy'?"),
        ("schedule", "cosin", "cosine, exponential, none, one-cycle, plateau, step", "did you mean 'cosine'?"),
        ("optimizer", "sdg", ", ".join(sorted(optimizers())), "did you mean 'sgd'?"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name: str, value: str, known: str, tip: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        resolve(None, given(**{name: value}))
    assert (str(error.value), error.value.tip) == (f"there is no {name} '{value}'; choose one of {known}", tip)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, (("backbone", "recipe"), (3, "recipe"))),
        ({"unfreeze_after": 5}, (("backbone", "recipe"), (5, "--unfreeze-after"))),
        ({"freeze": "backbone"}, (("backbone", "--freeze"), (None, "default"))),
        ({"freeze": "backbone", "unfreeze_after": 1}, (("backbone", "--freeze"), (1, "--unfreeze-after"))),
        ({"freeze": "none"}, (("none", "--freeze"), (None, "default"))),
    ],
)
def test_who_says_what_is_frozen_says_for_how_long(flags: dict[str, Any], expected: Any) -> None:
    found = resolve(Recipe(freeze="backbone", unfreeze_after=3), given(**flags))
    assert (found["freeze"], found["unfreeze_after"]) == expected
