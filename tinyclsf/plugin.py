"""All that a plugin needs to import.

A dataset is a callable with keyword-only options that returns `Splits`; a model is a callable
`(image_shape, num_classes, **options)` that returns an `nn.Module` whose outputs are logits (n, num_classes); a callback is a
callable `(folder, model_name, **options)` that returns a `Callback`.
"""

from tinyclsf.augment import random_affine
from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError, DataWarning, ModelFileError, did_you_mean
from tinyclsf.machine.storage import storing
from tinyclsf.metrics import Epoch
from tinyclsf.modules import Lambda, Preprocess
from tinyclsf.preparation import Preparation, prepared, stratified
from tinyclsf.recipes import recipe
from tinyclsf.registry.scripted import ScriptReader, as_source, scripted
from tinyclsf.runs.lines import LineEachEpoch
from tinyclsf.trainer import Callback, Trainer

__all__ = [
    "Callback",
    "ConfigurationError",
    "DataError",
    "DataWarning",
    "Epoch",
    "Images",
    "Lambda",
    "LineEachEpoch",
    "ModelFileError",
    "Preparation",
    "Preprocess",
    "ScriptReader",
    "Splits",
    "Trainer",
    "as_source",
    "did_you_mean",
    "prepared",
    "random_affine",
    "recipe",
    "scripted",
    "storing",
    "stratified",
]
