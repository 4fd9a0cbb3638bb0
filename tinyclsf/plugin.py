"""All that a plugin needs to import.

A dataset is a callable with keyword-only options that returns `Splits`; a model is a callable
`(image_shape, num_classes, **options)` that returns an `nn.Module` whose outputs are logits (n, num_classes); a callback is a
callable `(folder, model_name, **options)` that returns a `Callback`.
"""

from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, DataError, DataWarning, ModelFileError, did_you_mean
from tinyclsf.machine.storage import storing
from tinyclsf.metrics import Epoch
from tinyclsf.modules import Lambda, Preprocess
from tinyclsf.preparation import Preparation, prepared
from tinyclsf.recipes import recipe
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
    "Splits",
    "Trainer",
    "did_you_mean",
    "prepared",
    "recipe",
    "storing",
]
