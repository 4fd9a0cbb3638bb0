"""A run that was trained, opened again: its settings, its history, its model, and its data or other data for it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch.utils.data import ConcatDataset, Dataset, IterableDataset

from tinyclsf.batches.loaders import loader
from tinyclsf.data import Splits, differences, fingerprint
from tinyclsf.errors import ConfigurationError, DataError, DataWarning, ModelFileError, join_names, shape_as_text
from tinyclsf.history import History
from tinyclsf.loop.evaluation import Predictions, Tta, predict, with_tta
from tinyclsf.machine.arguments import as_path, check_type
from tinyclsf.machine.devices import choose_device, choose_memory_format, place
from tinyclsf.machine.storage import StrPath
from tinyclsf.machine.torch_errors import translated
from tinyclsf.metrics import Score, measured
from tinyclsf.modules import Classifier
from tinyclsf.preparation import SPLITTING
from tinyclsf.progress.telling import counted
from tinyclsf.recipes import make_loss
from tinyclsf.registry.components import build_splits, load_component
from tinyclsf.registry.plugins import find
from tinyclsf.runs.config_file import ConfigFile, Named, read_run_config
from tinyclsf.runs.ending import read_ending
from tinyclsf.runs.epochs import read_history
from tinyclsf.runs.folder import CONFIG, read_predictions
from tinyclsf.runs.listing import describe_run
from tinyclsf.runs.models import Card, load_model
from tinyclsf.training import LossFunc

SPLITS = ("train", "valid", "test", "all")
_WAYS_ON = (  # in a notebook, where a run is mostly called so
    ("classes and mistakes", "tinyclsf.assess(run.predictions, run.model.classes)"),
    ("a page to hand in", "tinyclsf.write_report(run.folder)"),
    ("pictures of yours", 'tinyclsf.predict_files(run.model, "photos")'),
)


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """A run folder with its `config.json`, its epochs, and the model with its best weights, on the CPU in evaluation mode."""

    folder: Path
    config: ConfigFile
    history: History
    model: Classifier

    @property
    def held_out(self) -> Score:
        """How good the model is on held-out images.

        Raises: ModelFileError if the run has not been scored yet, or its file is broken.
        """
        ending = read_ending(self.folder)
        if ending is None or ending.held_out is None:
            raise ModelFileError(f"run {self.folder} has no scores yet; it has them once its training is done")
        return ending.held_out

    @property
    def predictions(self) -> Predictions:
        """The model's predictions for the split of `held_out`, in its order.

        Raises: ModelFileError if there are none yet, or the file is broken.
        """
        _ = self.held_out  # raises if there is no score: a file that is there is of earlier weights then
        return read_predictions(self.folder)[1]

    def __repr__(self) -> str:
        run = describe_run(self.folder)
        what = f"{run.model} on {run.data}, {run.state} after epoch {len(self.history)}"
        if run.held_out is not None:
            low, high = (f"{100 * end:.2f}" for end in run.held_out.interval)
            what += f", {run.held_out.split} accuracy {100 * run.held_out.accuracy:.2f} % ({low} to {high})"
        return f"<TrainedRun {self.folder}: {what}>"

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, paragraph, table
        from tinyclsf.drawing.style import as_html

        run = describe_run(self.folder)
        pieces = [paragraph(f"{run.model} on {run.data}, {run.state} after epoch {len(self.history)}")]
        if (score := run.held_out) is not None:
            rows = [(f"{score.split} accuracy", measured(score.accuracy, score.interval))]
            pieces.append(table((), [*rows, (f"{score.split} loss", f"{score.loss:.4f}"), ("images", f"{score.images:,}")]))
        pieces += [as_html(self.history.plot())] if self.history else []
        return page(f"run {run.name}", *pieces, table(("go on with", ""), _WAYS_ON, names=2))

    def setting(self, name: str, default: Any = None) -> Any:
        """The value of a setting in this run, such as `lr` or `batch_size`; the default if the run does not have it."""
        return self.config.in_force[name].value if name in self.config.in_force else default

    @property
    def data(self) -> Named:
        """The data set that the run was trained on, with its options.

        Raises: ModelFileError if the run does not say.
        """
        return data_of_run(self.folder, self.config)

    @property
    def loss_func(self) -> LossFunc:
        """The loss that the run was validated with.

        Raises: ModelFileError if there is no such loss.
        """
        return loss_of_run(self.folder, self.config)


def load_run(folder: StrPath) -> TrainedRun:
    """Open the folder of a run.

    Raises: ModelFileError if it has no trained model yet, or a file is missing or broken; PluginError if its plugin fails.
    """
    path = as_path("folder", folder)
    config = read_run_config(path)
    return TrainedRun(path, config, read_history(path), load_model(path))


def data_of_run(folder: Path, config: ConfigFile) -> Named:
    """The data set that a run was trained on, with its options.

    Raises: ModelFileError if the run does not say.
    """
    if config.data is None:
        raise ModelFileError(f"{folder / CONFIG} does not say what data the run had; wanted data with name and options")
    return config.data


def loss_of_run(folder: Path, config: ConfigFile) -> LossFunc:
    """The loss that a run was validated with, by its settings.

    Raises: ModelFileError if there is no such loss.
    """
    try:
        return make_loss(config.settings.get("loss", "cross-entropy"))
    except ConfigurationError as error:
        raise ModelFileError(f"{folder / CONFIG}: {error}", tip=error.tip) from error


def load_splits(
    run: TrainedRun, *, data: str | None = None, data_dir: StrPath | None = None, options: Mapping[str, Any] | None = None
) -> Splits:
    """Read the data of a run, or another data set with the same classes and image shape; options are values, or text.

    A DataWarning says if the run's data has changed, or is split in another way.
    Raises: ModelFileError if the run does not say what data it had; ConfigurationError for an option that is not valid;
    DataError if the data cannot be read or does not fit the model; PluginError if the plugin fails.
    """
    check_type("run", run, TrainedRun, wanted="a TrainedRun, as load_run gives it")
    check_type("data", data, str, type(None), wanted="the name of a data set")
    check_type("options", options, Mapping, type(None), wanted="a dictionary of options")
    place = None if data_dir is None else as_path("data_dir", data_dir)
    return splits_for(run.model, run.folder, run.config, data=data, data_dir=place, options=options or {})


def splits_for(
    model: Classifier | Card,
    folder: Path,
    config: ConfigFile,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Splits:
    """What `load_splits` gives, for the model of a run, of which the card is enough.

    Raises: the errors of `load_splits`.
    """
    was = data_of_run(folder, config)
    if data is None and was.given_in_python:
        raise ModelFileError(f"the data of {folder} was given in Python, so it cannot be read again; give other data")
    own = data in (None, was.name)
    saved, wanted = (was.options, {}) if own else ({}, {"fit": model.fit})  # pictures become square as in training
    component = load_component(find("dataset", data or was.name), options, saved=saved, wanted=wanted, data_dir=data_dir)
    splits = build_splits(component)
    _check_suits(model, splits, component.plugin.name)
    otherwise = [name for name in SPLITTING if name in options and component.values.get(name) != saved.get(name)]
    if own and data_dir is None and otherwise:
        found = f"{join_names(otherwise)} split the data in another way than {folder} did"
        warnings.warn(f"{found}, so images that it was trained on may be among those that score it", DataWarning, stacklevel=3)
    if data is None and data_dir is None and not options and (changed := how_changed(folder, config, splits)):
        warnings.warn(changed, DataWarning, stacklevel=3)
    return splits


def how_changed(folder: Path, config: ConfigFile, splits: Splits) -> str | None:
    """How data differs from what a run was trained with, in a sentence; None where it is the same, or the run does not say."""
    was, now = config.content, fingerprint(splits)
    if was is None or not (differing := differences(was, now)):
        return None
    return f"the data is not what {folder} was trained with: {differing}"


def choose_split(splits: Splits, name: str | None) -> tuple[str, Dataset[Any]]:
    """A split by its name, "all" for the splits joined; None is the one that models are scored on.

    Raises: ConfigurationError if the data has no such split.
    """
    if name is None:
        return splits.held_out
    if name not in SPLITS:
        raise ConfigurationError(f"there is no split '{name}'; choose one of {', '.join(SPLITS)}")
    if name == "all":
        datasets = splits.by_name.values()
        if any(isinstance(each, IterableDataset) for each in datasets):
            raise ConfigurationError(
                "a split of the data is a stream, which cannot be joined with others; choose --split train, valid or test"
            )
        return name, ConcatDataset(datasets)
    if name not in splits.by_name:
        raise ConfigurationError(f"the data has no {name} split; choose --split valid")
    return name, splits.by_name[name]


def paths_of(dataset: Dataset[Any]) -> list[str] | None:
    """The files that the images of a split came from, in its order, or None where they are no files."""
    if isinstance(dataset, ConcatDataset):
        each = [paths_of(split) for split in dataset.datasets]
        return None if None in each else [path for paths in each for path in paths or ()]
    paths = getattr(dataset, "paths", None)
    return None if paths is None else list(paths)


def predictions_for(run: TrainedRun, dataset: Dataset[Any], *, device: str = "auto", tta: Tta = "none") -> Predictions:
    """The run's predictions for the images of a data set, in its order, as fitting makes them.

    - `tta`: "flip" for the mean probabilities of each image and its mirror image.
    Raises: TrainingError if the memory is too small; ConfigurationError if there is no such device or tta.
    """
    model = with_tta(run.model, tta)
    chosen = choose_device(device)
    batch_size = 2 * run.setting("batch_size", 64)
    batches, total = loader(dataset, batch_size), len(dataset) if isinstance(dataset, Sized) else None
    advice = "close other programs, or give another device"
    with translated(lambda: f"predicting, with batches of {batch_size}", advice=advice):
        place(run.model, chosen, choose_memory_format("auto", run.model, chosen))
        return predict(model, batches if total is None else counted(batches, "predicting images", total), chosen)


def _check_suits(model: Classifier | Card, splits: Splits, data: str) -> None:
    if splits.classes != model.classes:
        missing = [name for name in model.classes if name not in splits.classes]
        unknown = [name for name in splits.classes if name not in model.classes]
        differing = [f"lacks {', '.join(missing)}"] if missing else []
        differing += [f"has {', '.join(unknown)}, which the model does not know"] if unknown else []
        found = " and ".join(differing) or "has them in another order"
        raise DataError(f"data set {data} does not have the model's {len(model.classes)} classes: it {found}")
    if tuple(splits.image_shape) != tuple(model.image_shape):
        found, wanted = map(shape_as_text, (splits.image_shape, model.image_shape))
        raise DataError(f"data set {data} has images of {found} and the model takes {wanted}; give -d options that make it so")
    if splits.white != model.white:
        raise DataError(
            f"data set {data} stores white as {splits.white:g} and the model takes {model.white:g}; scale its images to that"
        )
