"""All that a plugin needs to import; each name is fetched when it is first used, so that a command need not wait for PyTorch.

A data set is a callable with keyword-only options that returns `Splits`. A model is a callable
`(image_shape, num_classes, **options)` that returns an `nn.Module` whose outputs are logits (n, num_classes). A callback is a
callable `(folder, model_name, **options)` that returns a `Callback`. A command is a click command.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyclsf.augment.geometry import random_affine as random_affine
    from tinyclsf.batches.loaders import loader as loader
    from tinyclsf.data import Images as Images, Splits as Splits, begin_reading as begin_reading
    from tinyclsf.errors import (
        ConfigurationError as ConfigurationError,
        DataError as DataError,
        DataWarning as DataWarning,
        ModelFileError as ModelFileError,
        did_you_mean as did_you_mean,
        join_names as join_names,
        printable as printable,
        shape_as_text as shape_as_text,
    )
    from tinyclsf.machine.storage import storing as storing
    from tinyclsf.metrics import Epoch as Epoch, best_of as best_of
    from tinyclsf.modules import Fit as Fit, Lambda as Lambda, Preprocess as Preprocess
    from tinyclsf.pictures.folders import (
        FolderContent as FolderContent,
        is_named_as_picture as is_named_as_picture,
        pictures_in as pictures_in,
        read_folder as read_folder,
    )
    from tinyclsf.pictures.kept import KeptPictures as KeptPictures, keep_pictures as keep_pictures
    from tinyclsf.pictures.picture import PictureError as PictureError, read_picture as read_picture
    from tinyclsf.pictures.picture_source import picture_source as picture_source
    from tinyclsf.preparation import Preparation as Preparation, prepared as prepared, stratified as stratified
    from tinyclsf.progress.telling import tell_progress as tell_progress
    from tinyclsf.recipes import recipe as recipe
    from tinyclsf.registry.scripted import ScriptReader as ScriptReader, as_source as as_source, scripted as scripted
    from tinyclsf.runs.config_file import read_run_config as read_run_config
    from tinyclsf.runs.lines import LineEachEpoch as LineEachEpoch
    from tinyclsf.runs.listing import RunSummary as RunSummary, find_run as find_run, list_runs as list_runs
    from tinyclsf.runs.state_dicts import load_weights as load_weights, read_state_dict as read_state_dict
    from tinyclsf.runs.trained_run import TrainedRun as TrainedRun, load_run as load_run, load_splits as load_splits
    from tinyclsf.trainer import Callback as Callback, Trainer as Trainer

_HOME = {
    "Callback": "trainer",
    "ConfigurationError": "errors",
    "DataError": "errors",
    "DataWarning": "errors",
    "Epoch": "metrics",
    "Fit": "modules",
    "FolderContent": "pictures.folders",
    "Images": "data",
    "KeptPictures": "pictures.kept",
    "Lambda": "modules",
    "LineEachEpoch": "runs.lines",
    "ModelFileError": "errors",
    "PictureError": "pictures.picture",
    "Preparation": "preparation",
    "Preprocess": "modules",
    "RunSummary": "runs.listing",
    "ScriptReader": "registry.scripted",
    "Splits": "data",
    "TrainedRun": "runs.trained_run",
    "Trainer": "trainer",
    "as_source": "registry.scripted",
    "begin_reading": "data",
    "best_of": "metrics",
    "did_you_mean": "errors",
    "find_run": "runs.listing",
    "is_named_as_picture": "pictures.folders",
    "join_names": "errors",
    "keep_pictures": "pictures.kept",
    "list_runs": "runs.listing",
    "load_run": "runs.trained_run",
    "load_splits": "runs.trained_run",
    "load_weights": "runs.state_dicts",
    "loader": "batches.loaders",
    "picture_source": "pictures.picture_source",
    "pictures_in": "pictures.folders",
    "prepared": "preparation",
    "printable": "errors",
    "random_affine": "augment.geometry",
    "read_folder": "pictures.folders",
    "read_picture": "pictures.picture",
    "read_run_config": "runs.config_file",
    "read_state_dict": "runs.state_dicts",
    "recipe": "recipes",
    "scripted": "registry.scripted",
    "shape_as_text": "errors",
    "storing": "machine.storage",
    "stratified": "preparation",
    "tell_progress": "progress.telling",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tinyclsf.plugin' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"tinyclsf.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
