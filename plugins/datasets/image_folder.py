"""Your own pictures, one folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tinyclsf.plugin import ConfigurationError, Fit, Preparation, Splits, prepared, printable, scripted
from tinyclsf_plugins.datasets.picture_files import find_pictures
from tinyclsf_plugins.datasets.picture_splits import picture_splits, refuse_another_split


@scripted("tinyclsf_plugins.datasets.image_folder_script:reader")
@prepared
def image_folder(
    prepare: Preparation,
    *,
    data_dir: Path | None = None,
    size: int = 64,
    channels: Literal[1, 3] = 3,
    fit: Fit = "crop",
    cache: Literal["auto", "off"] | Path = "auto",
    skip_bad: bool = False,
) -> Splits:
    """Pictures in data_dir/CLASS, or in data_dir/train/CLASS with valid (or val) and test beside train.

    Training, Validation and Testing are such names too. Each picture becomes a square of `size`: fit="crop" takes its middle,
    "pad" puts the whole picture on black, "stretch" changes its proportions. Without a folder named valid a fifth of the
    training pictures is for validation, or as many as you ask for; split="tail" takes the last ones of each class by name. The
    files are decoded once: their pixels are kept in $TINYCLSF_CACHE, else ~/.cache/tinyclsf/pictures, or in the folder `cache`;
    cache=off keeps them in memory only.
    skip_bad=true leaves out pictures that cannot be read.
    Shapes: x (n, channels, size, size) uint8 in 0..255; y (n,) int64, the index of the class in the sorted folder names.
    Raises: DataError if the folders have another layout, or a picture cannot be read; ConfigurationError without data_dir,
    if size is below 1, or if you ask for a split that has a folder.
    """
    data_dir = check_options(data_dir=data_dir)
    pictures = find_pictures(data_dir)
    refuse_another_split(prepare, pictures, f"{printable(data_dir)} has a folder", "take the folder away")
    return picture_splits(prepare, pictures, (channels, size, size), fit, cache=cache, skip_bad=skip_bad)


def check_options(*, data_dir: Path | None, **others: object) -> Path:
    """Require data_dir before anything is read, so that the current folder is never read by mistake."""
    if data_dir is None:
        raise ConfigurationError("data set image-folder reads your own pictures; give their folder as --data-dir FOLDER")
    return data_dir


image_folder.check_options = check_options  # type: ignore[attr-defined]
image_folder.former_options = ("in_memory",)  # type: ignore[attr-defined]
