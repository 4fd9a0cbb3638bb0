"""All that a plugin needs to import; each name is fetched when it is first used, so that a command need not wait for PyTorch.

A data set is a callable with keyword-only options that returns `Splits`. A model is a callable
`(image_shape, num_classes, **options)` that returns an `nn.Module` whose outputs are logits (n, num_classes). A callback is a
callable `(folder, model_name, **options)` that returns a `Callback`. A command is a click command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinyclsf.machine.names_when_used import names_when_used

if TYPE_CHECKING:
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
    from tinyclsf.preparation import Preparation as Preparation, prepared as prepared
    from tinyclsf.progress.telling import tell_progress as tell_progress
    from tinyclsf.recipes import recipe as recipe
    from tinyclsf.registry.scripted import ScriptReader as ScriptReader, as_source as as_source, scripted as scripted
    from tinyclsf.runs.config_file import read_run_config as read_run_config
    from tinyclsf.runs.lines import LineEachEpoch as LineEachEpoch
    from tinyclsf.runs.listing import RunSummary as RunSummary, find_run as find_run, list_runs as list_runs
    from tinyclsf.runs.state_dicts import load_weights as load_weights, read_state_dict as read_state_dict
    from tinyclsf.runs.trained_run import TrainedRun as TrainedRun, load_run as load_run, load_splits as load_splits
    from tinyclsf.splitting import stratified as stratified
    from tinyclsf.trainer import Callback as Callback, Trainer as Trainer

__getattr__, __dir__, __all__ = names_when_used(
    __name__,
    {
        "batches.loaders": "loader",
        "data": "Images Splits begin_reading",
        "errors": "ConfigurationError DataError DataWarning ModelFileError did_you_mean join_names printable shape_as_text",
        "machine.storage": "storing",
        "metrics": "Epoch best_of",
        "modules": "Fit Lambda Preprocess",
        "pictures.folders": "FolderContent is_named_as_picture pictures_in read_folder",
        "pictures.kept": "KeptPictures keep_pictures",
        "pictures.picture": "PictureError read_picture",
        "pictures.picture_source": "picture_source",
        "preparation": "Preparation prepared",
        "progress.telling": "tell_progress",
        "recipes": "recipe",
        "registry.scripted": "ScriptReader as_source scripted",
        "runs.config_file": "read_run_config",
        "runs.lines": "LineEachEpoch",
        "runs.listing": "RunSummary find_run list_runs",
        "runs.state_dicts": "load_weights read_state_dict",
        "runs.trained_run": "TrainedRun load_run load_splits",
        "splitting": "stratified",
        "trainer": "Callback Trainer",
    },
)
