"""What was asked for, by flags, a config file or a call: names found, settings checked, nothing imported yet.

Neither torch nor NumPy is imported here, so that a misspelt name is answered at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tinyclsf.errors import ConfigurationError, did_you_mean
from tinyclsf.machine.arguments import as_path, check_type
from tinyclsf.machine.shell import shell_text
from tinyclsf.registry.choices import VALUES, Choices, checked
from tinyclsf.registry.options import Setting
from tinyclsf.registry.plugins import Plugin, find, given_plugin
from tinyclsf.runs.config_file import ConfigFile, Named, read_config_file, read_run_config

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Unpack

    from tinyclsf.data import Splits
    from tinyclsf.trainer import Callback

    ModelFactory = Callable[..., nn.Module]
    DataFactory = Callable[..., Splits]

DATA = "digits"
PYTHON = "Python"  # where a choice comes from that is neither a flag's nor a file's


class Asked(Choices, total=False):
    """The keyword arguments of `train` and `Experiment.of`: the data, the options of plugins, and every setting of training.

    `data` is a name, `Splits`, or a function that returns them. `data_dir` is the folder of its files. Options are given by
    name, those of callbacks by NAME.KEY. `callbacks` are plugin names or callbacks. What you leave out comes from the
    `config.json` given as `config`. `pretrained` is short for the model's option of that name.
    """

    data: str | Splits | DataFactory | None
    data_dir: str | Path | None
    model_options: Mapping[str, Any]
    data_options: Mapping[str, Any]
    callbacks: Sequence[str | Callback]
    callback_options: Mapping[str, Any]
    config: str | Path | None
    pretrained: bool


_NO_SETTINGS = set(Asked.__annotations__) - set(VALUES)


@dataclass(frozen=True)
class Request:
    """What was asked for, and nothing that follows from it.

    `model_source` and `data_source` say where the names came from, as each of `settings` does. `config` is the file that the
    rest is taken from, `resumed` the folder of the run that goes on.
    """

    model: Plugin
    model_source: str
    data: Plugin
    data_source: str
    data_dir: str | Path | None
    model_options: Mapping[str, Any]
    data_options: Mapping[str, Any]
    callbacks: Sequence[str | Callback]
    callback_options: Mapping[str, Any]
    settings: Mapping[str, Setting]
    config: ConfigFile
    resumed: Path | None

    def with_(self, *, model: str | ModelFactory | None = None, **asked: Unpack[Asked]) -> Request:
        """The request with other choices; options are added to those that were given, another plugin begins with its own."""
        _check_types(asked)
        if "config" in asked:
            raise ConfigurationError("an experiment is not taken from another config file; describe a new one with config")
        now: dict[str, Any] = {name: asked[name] for name in ("callbacks", "data_dir") if name in asked}
        asked = _with_pretrained(asked)
        callbacks, data = asked.get("callbacks"), asked.get("data")
        found = self.data if data is None else _find_data(data)
        other = data is not None and not (isinstance(data, str) and found.name == self.data.name)
        before = {
            "model_options": self.model_options if model is None else {},
            "data_options": {} if other else self.data_options,
            "callback_options": {
                key: value
                for key, value in self.callback_options.items()
                if callbacks is None or key.rpartition(".")[0] in callbacks
            },
        }
        for name, kept in before.items():
            given: Mapping[str, Any] = asked.get(name, {})  # type: ignore[assignment]  # as `Asked` says
            now[name] = {**kept, **given}
        if model is not None:
            now |= {"model": _find_model(model), "model_source": PYTHON}
        if other:
            now = {"data_dir": None, **now, "data": found, "data_source": PYTHON}
        return replace(self, **now, settings={**self.settings, **_settings_of(asked, lambda name: PYTHON)})


def make_request(
    model: str | ModelFactory | None = None,
    *,
    resume: Path | None = None,
    source_of: Callable[[str], str] = lambda name: PYTHON,
    **asked: Unpack[Asked],
) -> Request:
    """Put a request together; what is left out comes from a config file, the model's recipe or a default.

    model: a name, or what makes a network.
    resume: the folder of a run that is to go on.
    source_of: says where an argument comes from, its flag or Python.
    asked: all else, by the names of `Asked`.
    Raises: ConfigurationError for a name that is not there, a choice that cannot be, or a config file that cannot be used.
    """
    _check_types(asked)
    asked = _with_pretrained(asked)
    settings = _settings_of(asked, source_of)
    path = asked.get("config")
    if resume is not None:
        config = read_run_config(resume)
    else:
        config = ConfigFile() if path is None else read_config_file(as_path("config", path))
    named = _named(config, "model", Setting(model, source_of("model")))
    if named.value is None:
        missing = "missing argument 'MODEL'"
        raise ConfigurationError(
            missing if config.path is None else f"{missing}, and config file {config} names no model",
            tip="name a model, such as mnist-cnn; 'tinyclsf list models' shows all",
        )
    data = _named(config, "data", Setting(asked.get("data"), source_of("data")))
    if data.value is None:
        data = Setting(DATA, "default")
    return Request(
        model=_find_model(named.value),
        model_source=named.source,
        data=_find_data(data.value),
        data_source=data.source,
        data_dir=asked.get("data_dir"),
        model_options=asked.get("model_options", {}),
        data_options=asked.get("data_options", {}),
        callbacks=asked.get("callbacks", ()),
        callback_options=asked.get("callback_options", {}),
        settings=settings,
        config=config,
        resumed=resume,
    )


def _check_types(asked: Mapping[str, Any]) -> None:
    for name in ("model_options", "data_options", "callback_options"):
        check_type(name, asked.get(name, {}), Mapping, wanted="a dictionary of options")
    check_type("callbacks", asked.get("callbacks", ()), list, tuple, wanted="a list of names and callbacks")
    for each in asked.get("callbacks", ()):
        if not isinstance(each, str) and (isinstance(each, type) or not hasattr(each, "on_fit_start")):
            raise ConfigurationError(f"a callback is of type {type(each).__name__}; wanted a name or a Callback")
    if asked.get("data_dir") is not None:
        as_path("data_dir", asked["data_dir"])


def _with_pretrained(asked: Asked) -> Asked:
    if "pretrained" not in asked:
        return asked
    return {**asked, "model_options": {**asked.get("model_options", {}), "pretrained": asked["pretrained"]}}


def _named(config: ConfigFile, what: Literal["model", "data"], given: Setting) -> Setting:
    """The model or data that was given, else the name that a config file has for it."""
    found: Named | None = getattr(config, what)
    if given.value is not None or found is None:
        return given
    if found.given_in_python:
        raise ConfigurationError(f"{what} {found.name} of config file {config} was given in Python; give it to train() again")
    return Setting(found.name, "config")


def _settings_of(asked: Mapping[str, Any], source_of: Callable[[str], str]) -> dict[str, Setting]:
    choices = {name: value for name, value in asked.items() if name not in _NO_SETTINGS}
    for name in choices:
        if name not in VALUES:
            tip = did_you_mean(name, [*VALUES, *_NO_SETTINGS])
            raise ConfigurationError(f"there is no setting '{name}'; choose one of {', '.join(VALUES)}", tip=tip)
    return {name: Setting(checked(name, value), source_of(name)) for name, value in choices.items()}


def _find_model(model: str | ModelFactory) -> Plugin:
    """A model by its name, or a callable of (image_shape, num_classes) as if it were a plugin."""
    if isinstance(model, str):
        return find("model", model)
    if not callable(model) or (hasattr(model, "forward") and not isinstance(model, type)):
        raise ConfigurationError(
            f"model is of type {type(model).__name__}; wanted a name, or what makes a network of (image_shape, num_classes)"
        )
    return given_plugin("model", model)


def _find_data(data: str | Splits | DataFactory) -> Plugin:
    if isinstance(data, str):
        try:
            return find("dataset", data)
        except ConfigurationError as error:
            if os.path.isdir(data):
                error.tip = f"did you mean --data image-folder --data-dir {shell_text(data)}?"
            elif data.endswith((".csv", ".parquet")):
                error.tip = f"did you mean --data image-table -d table={shell_text(data)}?"
            raise
    if hasattr(data, "train") and hasattr(data, "valid"):
        return given_plugin("dataset", lambda: data, name="splits")
    if not callable(data):
        raise ConfigurationError(f"data is of type {type(data).__name__}; wanted a name, Splits, or what returns Splits")
    return given_plugin("dataset", data)
