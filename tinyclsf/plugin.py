"""All that a plugin needs to import.

A data set is a callable with keyword-only options that returns `Splits`. A model is a callable
`(image_shape, num_classes, **options)` that returns an `nn.Module` whose outputs are logits (n, num_classes). A callback is a
callable `(folder, model_name, **options)` that returns a `Callback`.
"""

from tinyclsf.augment.geometry import random_affine
from tinyclsf.batches.loaders import loader
from tinyclsf.data import Images, Splits
from tinyclsf.errors import (
    ConfigurationError,
    DataError,
    DataWarning,
    ModelFileError,
    did_you_mean,
    join_names,
    printable,
    shape_as_text,
)
from tinyclsf.machine.storage import storing
from tinyclsf.metrics import Epoch, best_of
from tinyclsf.modules import Fit, Lambda, Preprocess
from tinyclsf.pictures.decoding import Decoding, decode_pictures, processor_count
from tinyclsf.pictures.folders import FolderContent, is_named_as_picture, pictures_in, read_folder
from tinyclsf.pictures.picture import PictureError, read_picture
from tinyclsf.pictures.picture_source import picture_source
from tinyclsf.preparation import Preparation, prepared, stratified
from tinyclsf.progress.telling import tell_progress
from tinyclsf.recipes import recipe
from tinyclsf.registry.scripted import ScriptReader, as_source, scripted
from tinyclsf.runs.config_file import read_run_config
from tinyclsf.runs.lines import LineEachEpoch
from tinyclsf.runs.state_dicts import load_weights, read_state_dict
from tinyclsf.trainer import Callback, Trainer

__all__ = [
    "Callback",
    "ConfigurationError",
    "DataError",
    "DataWarning",
    "Decoding",
    "Epoch",
    "Fit",
    "FolderContent",
    "Images",
    "Lambda",
    "LineEachEpoch",
    "ModelFileError",
    "PictureError",
    "Preparation",
    "Preprocess",
    "ScriptReader",
    "Splits",
    "Trainer",
    "as_source",
    "best_of",
    "decode_pictures",
    "did_you_mean",
    "is_named_as_picture",
    "join_names",
    "load_weights",
    "loader",
    "picture_source",
    "pictures_in",
    "prepared",
    "printable",
    "processor_count",
    "random_affine",
    "read_folder",
    "read_picture",
    "read_run_config",
    "read_state_dict",
    "recipe",
    "scripted",
    "shape_as_text",
    "storing",
    "stratified",
    "tell_progress",
]
