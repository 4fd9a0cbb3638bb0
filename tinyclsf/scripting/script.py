"""A run as a plain PyTorch script that trains the same model on the same data, without tinyclsf."""

from __future__ import annotations

import io
import itertools
import math
import os
import re
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from tinyclsf.augment.named import parse_augment
from tinyclsf.data import Images, Splits, differences, fingerprint
from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError, join_names
from tinyclsf.finetuning import freezes_backbone
from tinyclsf.machine.arguments import as_path
from tinyclsf.machine.memory import free_memory
from tinyclsf.machine.storage import write_text, write_whole
from tinyclsf.modules import Preprocess
from tinyclsf.pictures.cache import size_text
from tinyclsf.recipes import options_with_defaults
from tinyclsf.registry.components import load_component
from tinyclsf.registry.plugins import find
from tinyclsf.runs.config_file import Named
from tinyclsf.runs.ending import read_ending
from tinyclsf.runs.folder import CONFIG
from tinyclsf.runs.trained_run import TrainedRun, load_run, load_splits
from tinyclsf.scripting.data import Reader, reader_from_file, reader_of
from tinyclsf.scripting.hooks import only_watches
from tinyclsf.scripting.loop import loop_sources
from tinyclsf.scripting.model import model_sources
from tinyclsf.scripting.sources import Sources, import_lines

_CONSTANT = re.compile(r"\w+ = ")
# What a script is made of; what else a setting has belongs to its optimizer, schedule or loss.
_NEEDED = (
    *("epochs", "batch_size", "optimizer", "lr", "schedule", "loss", "augment", "accumulate", "clip_norm", "ema_decay"),
    *("patience", "seed", "precision", "compile", "device"),
)
_MADE_FROM, _HEAD = "Made from the run", 2000  # characters, within which a script says so
_EPOCHS = re.compile(r"--epochs\b|\bepochs=")  # in a command, or in a call of Python
_STRETCHED = {"cosine", "one-cycle"}  # schedules that depend on the number of epochs


class Script(NamedTuple):
    """A script, the files that were written, how it reads its data, and notes for the reader."""

    text: str
    files: tuple[Path, ...]
    data: str
    notes: tuple[str, ...]


def write_script(run_folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Script:
    """Write a run as a plain PyTorch script, to a file or, without `out`, only into the returned value.

    If the data needs more than a short reader, it goes into an .npz file beside the script. Where possible, it is checked that
    the script reads the same images and builds the same model as the run.
    Raises: ConfigurationError if no script can do what the run did, or the file is there and is no such script;
    ModelFileError, DataError or PluginError if a part of the run is missing; StorageError if a file cannot be written.
    """
    run_path, path = as_path("run_folder", run_folder), None if out is None else as_path("out", out)
    if path is not None:
        _check_replaceable(path)
    return _Writer(load_run(run_path), path).write()


def _check_replaceable(path: Path) -> None:
    """Keep a person's own program, which may well be called train.py."""
    if not path.is_file():
        return
    with path.open(errors="replace") as file:
        head = file.read(_HEAD)
    if head and _MADE_FROM not in head:
        raise ConfigurationError(f"{path} is there already and was not made from a run; choose another name, or move it away")


class _Writer:
    def __init__(self, run: TrainedRun, path: Path | None) -> None:
        self.run = run
        self.path = path
        self.notes: list[str] = []
        self.files: list[Path] = []
        self.settings = _settings_of(run)
        self.data, model, content = run.data, run.config.model, run.config.content
        if model is None or content is None:
            raise ModelFileError(f"{run.folder / CONFIG} does not say what model the run trained, or what was in its data")
        self.model: Named = model
        self.content: dict[str, Any] = content

    def write(self) -> Script:
        _check_possible(self.settings, self.content)
        self._note_differences()
        model = model_sources(self.run, self.model, self.settings["seed"])
        reader = self._reader()
        script = self._text(reader, model)
        if self.path is not None:
            self.files.insert(0, self.path)
            write_text(self.path, script)
        return Script(script, tuple(self.files), reader.how, tuple(self.notes))

    def _note_differences(self) -> None:
        if self.settings["device"] != "cpu":
            self.notes.append(
                f"the run was trained on {self.settings['device']}, where sums vary; figures will agree only about"
            )
        if self.settings["compile"]:
            self.notes.append("the run's model was compiled and the script's is not, so figures will agree only about")
        changes = self.settings["augment"] != "none" or self.settings.get("unfreeze_after") is not None
        if freezes_backbone(self.settings.get("freeze", "none")) and not changes:
            self.notes.append(
                "the run computed its frozen backbone once, the script in every epoch, so figures will agree only about"
            )
        done, epochs = len(self.run.history), self.settings["epochs"]
        ending = read_ending(self.run.folder)
        ended_early = self.settings["patience"] is not None and ending is not None and ending.state == "done"
        if done < epochs and not ended_early:
            self.notes.append(f"the run was stopped after {done} of {epochs} epochs; the script trains all of them")
        resumed_by = self.run.config.commands[1:]
        if self.settings["schedule"] in _STRETCHED and any(map(_EPOCHS.search, resumed_by)):
            self.notes.append(
                "the run went on to more epochs than it was begun with, which changed its schedule on the way; "
                "the script has the later one from the start"
            )
        others = [each.name for each in self.run.config.callbacks if not only_watches(each.name)]
        if others:
            self.notes.append(
                f"the script leaves out the callbacks of the run ({', '.join(others)}); what they did is not in it"
            )

    # Data

    def _reader(self) -> Reader:
        """A reader that gives the run's very images, as far as that can be tried."""
        component = load_component(find("dataset", self.data.name), {}, saved=self.data.options)
        reader = reader_of(component, self.content)
        if reader is not None and reader.place is not None and not reader.place.exists():
            self.notes.append(f"there is no {reader.place} any more, so the script's way to read the data was not tried")
            return reader
        found = None if reader is None else self._found_by(reader)
        if reader is not None and found is not None and not differences(self.content, found):
            return reader
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            splits = load_splits(self.run)
        now = fingerprint(splits)
        if differences(self.content, now):
            self.notes.append(str(caught[-1].message))  # which tells what has changed
        if reader is not None and found is not None and not differences(now, found):
            return reader
        return self._as_file(splits)

    def _found_by(self, reader: Reader) -> dict[str, Any] | None:
        """The fingerprint of what a reader reads; None where it fails."""
        names: dict[str, Any] = {"__name__": "script"}
        lines = ["from __future__ import annotations", *_imports(reader.sources), *reader.sources.definitions.values()]
        try:
            with torch.random.fork_rng(devices=[]):
                exec("\n".join(lines), names)
                read = [Images(*dataset.tensors) for dataset in names["load_data"]()]
            model = self.run.model
            test = read[2] if len(read) > 2 else None
            shape = cast("tuple[int, int, int]", tuple(model.image_shape))
            return fingerprint(Splits(read[0], read[1], test, model.classes, shape, cast(Preprocess, model.preprocess)))
        except Exception:  # what is odd about the data has many forms; all of them go into a file
            return None

    def _as_file(self, splits: Splits) -> Reader:
        name = self.data.name
        images = {split: each for split, each in splits.by_name.items() if isinstance(each, Images)}
        if len(images) < len(splits.by_name):
            raise ConfigurationError(
                f"data set {name} is not held in memory, and a script has all of its images there; "
                "give its plugin a reader with @scripted"
            )
        if self.path is None or self.path.suffix == ".npz":
            raise ConfigurationError(
                f"the images of data set {name} with these options go into an .npz file beside the script; give --out FILE.py"
            )
        content, file = io.BytesIO(), self.path.with_suffix(".npz")
        arrays: dict[str, Any] = {}
        for split, each in images.items():
            arrays |= {f"{split}_x": each.x.numpy(), f"{split}_y": each.y.numpy()}
        np.savez_compressed(content, **arrays)
        write_whole(file, lambda sink: sink.write(content.getvalue()))
        self.files.append(file)
        return reader_from_file(file.name, list(images))

    # Text

    def _text(self, reader: Reader, model: Sources) -> str:
        run = self.run
        held_out = "valid" if self.content.get("test") is None else "test"
        draws = {"import random": "random.seed(SEED)", "import numpy as np": "np.random.seed(SEED)"}
        seeds = [call for line, call in draws.items() if line in model.imports]
        # A cycle over a single step is no schedule.
        settings = self.settings | ({"schedule": "none"} if self._is_one_cycle_of_one_step() else {})
        constants, loop = loop_sources(settings, run.model, held_out, seeds)
        sections = {
            "1. The data": reader.sources.definitions,
            "2. The model": model.definitions,
            "3. Training": loop.definitions,
        }
        blocks = [self._heading(held_out), "from __future__ import annotations"]
        blocks += ["\n".join(_imports(reader.sources, model, loop)), "\n".join(constants.values())]
        seen = dict(constants)
        for title, definitions in sections.items():
            fresh = {name: code for name, code in definitions.items() if seen.get(name) != code}
            if twice := set(fresh) & set(seen):
                raise ConfigurationError(
                    f"{min(twice)} means different things in the data, the model and the training loop, "
                    "and a script is one file; rename it in your plugin"
                )
            seen |= fresh
            blocks += [f"# {title}", *fresh.values()]
        blocks.append('if __name__ == "__main__":\n    main()')
        return _joined(blocks) + "\n"

    def _is_one_cycle_of_one_step(self) -> bool:
        images, settings = self.content.get("train"), self.settings
        once = images is not None and images <= settings["batch_size"] * settings["accumulate"]
        return once and settings["schedule"] == "one-cycle" and bool(settings["epochs"] == 1)

    def _heading(self, held_out: str) -> str:
        run, config = self.run, self.run.config
        file = "train.py" if self.path is None else self.path.name
        versions = f"tinyclsf {config.versions.tinyclsf}, PyTorch {config.versions.torch}"
        lines = [f"Train {self.model.name} on {self.data.name}, in plain PyTorch.", ""]
        lines.append(f"{_MADE_FROM} {run.folder.name} ({versions}), {self._score(held_out)}.")
        count = "as many" if config.threads is None else config.threads
        threads = "1 thread" if count == 1 else f"{count} threads"
        if not self.notes:
            lines.append(f"On the CPU, with that PyTorch and {threads}, it ends with exactly the same weights as that run.")
        for note in self.notes:
            lines += textwrap.wrap(f"Note: {note}.", 120, break_long_words=False, break_on_hyphens=False)
        lines += [
            "",
            f"    python {file}             # train, and print the {held_out} accuracy",
            f"    python {file} weights.pt  # and save the weights",
        ]
        content = "\n".join(lines).replace("\\", "\\\\").replace('"', "'")  # so that nothing in it ends the docstring
        return f'"""{content}\n"""'

    def _score(self, held_out: str) -> str:
        ending = read_ending(self.run.folder)
        if ending is None or ending.held_out is None:
            return "which has not been scored"
        return f"which reached a {held_out} accuracy of {100 * ending.held_out.accuracy:.2f} %"


def _settings_of(run: TrainedRun) -> dict[str, Any]:
    """The settings of a run, and the defaults of its schedule and loss where it was begun before they were settings."""
    settings, file = run.config.settings | run.config.found_out, run.folder / CONFIG
    if missing := [name for name in _NEEDED if name not in settings]:
        raise ModelFileError(f"{file} does not say the run's {join_names(missing)}, which a script is made of")
    try:
        parse_augment(settings["augment"])
        options_with_defaults("optimizer", settings["optimizer"])
        options = options_with_defaults("schedule", settings["schedule"]) | options_with_defaults("loss", settings["loss"])
    except ConfigurationError as error:
        raise ModelFileError(f"{file}: {error}", tip=error.tip) from error
    return options | settings


def _check_possible(settings: dict[str, Any], content: Mapping[str, Any]) -> None:
    if settings.get("processes", 1) > 1:
        raise ConfigurationError("the run was trained by several processes, which a plain script cannot repeat")
    if settings["precision"] == "float16":
        raise ConfigurationError(
            "the run was trained in float16, with losses scaled as it went; a plain script cannot repeat that"
        )
    images = sum(content.get(split) or 0 for split in ("train", "valid", "test"))
    needed, free = images * math.prod(content["image_shape"]), free_memory()
    if needed > free / 2:
        raise ConfigurationError(
            f"the images of the run need {size_text(needed)} and half of the free memory is {size_text(free // 2)}; a script "
            "has all of them in memory, so train with a smaller size, or close other programs"
        )


def _imports(*sources: Sources) -> list[str]:
    needed = ["import torch", "from torch.utils.data import TensorDataset"]
    return import_lines([*needed, *(line for each in sources for line in each.imports)])


def _joined(blocks: list[str]) -> str:
    text = blocks[0]
    for above, below in itertools.pairwise(blocks):
        defined = any(re.search(r"^(@|def |class )", block, re.MULTILINE) for block in (above, below))
        wide = defined or below.startswith(("# 1.", "# 2.", "# 3.", "if "))
        gap = 3 if wide else 1 if _CONSTANT.match(above) and _CONSTANT.match(below) else 2
        text += "\n" * gap + below
    return text
