"""What a run says of itself: the settings before it starts, a row an epoch, a bar on a terminal, the figures when it ends."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sized
from types import TracebackType
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from tinyclsf.analysis.guessing import guessing_note
from tinyclsf.cli.console import REFRESH_SECONDS, Mode, Watch
from tinyclsf.cli.output import Output, columns, document, notes, scored
from tinyclsf.errors import shape_as_text
from tinyclsf.experiments.building import Built
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.experiments.settings import DEFAULTS
from tinyclsf.experiments.watching import Watcher, epoch_line, position
from tinyclsf.metrics import SET_ASIDE, Epoch, best_of, percent
from tinyclsf.registry.options import Setting, as_text
from tinyclsf.registry.plugins import own_version
from tinyclsf.runs.trained_run import TrainedRun
from tinyclsf.trainer import Trainer

_COLUMN = 30  # a longer value, a path for one, runs over the column of sources
_BAR = 24  # leaves room for the ^C that a terminal shows, which would break the line and keep it from being cleared
# Settings that most runs leave as they are: one row for all of those.
_RARE = (
    *("class_weights", "accumulate", "clip_norm", "ema_decay", "patience", "compile", "checkpoint_every"),
    *("freeze", "unfreeze_after", "backbone_lr", "decayed"),
)


class FitWatch(Watch, Watcher):
    """Shows training too: `bar` has a table and a bar on the terminal, `plain` a line an epoch, `none` nothing but warnings."""

    def __init__(self, mode: Mode, *, quiet: bool = False) -> None:
        super().__init__(mode, quiet=quiet)
        epoch, loss = TextColumn("epoch {task.fields[epoch]}"), TextColumn("batches, loss {task.fields[loss]}")
        shown = SpinnerColumn(), epoch, BarColumn(bar_width=_BAR), MofNCompleteColumn(), loss, TimeRemainingColumn()
        # Redrawn from on_batch_end, not by a thread that would take the interpreter from the training loop.
        self._bar = Progress(*shown, console=self.console, auto_refresh=False, transient=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar.live.is_started:
            self._bar.stop()
        super().__exit__(kind, error, trace)

    def on_built(self, experiment: Experiment, built: Built) -> None:
        """Print the settings in force: name, value and where it came from."""
        if self.mode == "none":
            return
        rows = settings_rows(experiment, built)
        name_width = max(len(name) for name, _, _ in rows)
        value_width = max(len(value) for _, value, _ in rows if len(value) <= _COLUMN)
        for name, value, source in rows:
            *first, last = self._wrapped(value, used=name_width + 4, source=source)
            for above in first:
                self.console.print(f"  {name:<{name_width}}  {above}")
                name = ""
            line = Text(f"  {name:<{name_width}}  {last:<{value_width}}")
            self.console.print(line.append(f"  {source}" if source else "", style="dim"))

    def _wrapped(self, value: str, *, used: int, source: str) -> list[str]:
        """A value as the lines that fit beside a name on a terminal; elsewhere it is one."""
        room = self.console.width - used - len(f"  {source}")
        if not self.console.is_terminal or len(value) <= room:
            return [value]
        paired = re.sub("(?<=[^,;]) ", "\N{NO-BREAK SPACE}", value)  # a name stays on the line of its value
        lines = textwrap.wrap(paired, max(room, _COLUMN), break_long_words=False, break_on_hyphens=False)
        return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]

    def on_fit_start(self, trainer: Trainer) -> None:
        done = len(trainer.history)
        ended = trainer.stopping or done >= trainer.epochs
        if trainer.epoch > 0 and self.mode != "none":
            self.console.print(f"nothing is left to train {position(trainer)}" if ended else f"going on {position(trainer)}")
        if self.mode == "bar" and not ended:
            self.console.print("  epoch  train loss  valid loss  valid accuracy  seconds", style="bold")
            where = f"{done + 1}/{trainer.epochs}"
            self._bar.add_task("", total=trainer.batches, completed=trainer.batch, epoch=where, loss="")
            self._bar.start()

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.mode != "bar" or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REFRESH_SECONDS
        where = f"{trainer.epoch}/{trainer.epochs}"
        self._bar.update(self._bar.task_ids[0], completed=trainer.batch, epoch=where, loss=f"{trainer.running_loss:.4f}")
        self._bar.refresh()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if self.mode == "bar":
            where, accuracy = f"{row.epoch}/{trainer.epochs}", percent(row.valid_accuracy)
            line = f"  {where:>5}  {row.train_loss:>10.4f}  {row.valid_loss:>10.4f}  {accuracy:>14}  {row.seconds:>7.1f}"
            self.console.print(line)
            if row.epoch < trainer.epochs:  # a bar that was full once would tell no remaining time any more
                self._bar.reset(self._bar.task_ids[0], epoch=f"{row.epoch + 1}/{trainer.epochs}", loss="")
        elif self.mode == "plain":
            self.console.print(epoch_line(row, trainer.epochs))
            sys.stderr.flush()


def settings_rows(experiment: Experiment, built: Built) -> list[tuple[str, str, str]]:
    """Every value in force as (name, value, where it came from)."""
    data, model, splits, request = experiment.data, experiment.model, built.splits, experiment.request
    sizes = ", ".join(_size(name, getattr(splits, name)) for name in ("train", "valid", "test"))
    shape = shape_as_text(splits.image_shape)
    parameters = sum(parameter.numel() for parameter in built.model.parameters())
    trained = sum(parameter.numel() for parameter in built.model.parameters() if parameter.requires_grad)
    counted = f"{parameters:,} parameters"
    if trained < parameters:
        how = "once, before the first epoch" if built.computed_once else "in every epoch"
        counted += f", of which {trained:,} are trained; the frozen part is computed {how}"
    rows = [
        ("data", data.plugin.name, request.data_source),
        *_option_rows(data.options),
        ("", f"{sizes}; {len(splits.classes)} classes; {shape}", ""),
        ("model", model.plugin.name, request.model_source),
        *_option_rows(model.options),
        ("", counted, ""),
    ]
    for callback in experiment.callbacks:
        rows += [("callback", callback.plugin.name, ""), *_option_rows(callback.options)]
    usual = []
    for name, (value, source) in built.settings.items():
        flag = name.replace("_", "-")
        if name in _RARE and value == DEFAULTS[name]:
            usual.append(f"{flag} {as_text(value)}")
        else:
            rows.append((flag, f"{value:g}" if isinstance(value, float) else as_text(value), source))
    rows += [("others", ", ".join(usual), "default")] if usual else []
    rows.append(("versions", f"tinyclsf {own_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads", ""))
    return rows


def output_of(run: TrainedRun, warnings: list[str]) -> Output:
    """The end of a run: the best epoch, how good its weights are on held-out images, and where they are."""
    best, held_out, folder = best_of(run.history), run.held_out, str(run.folder)
    assert best is not None, "a run that was scored has an epoch"
    images = run.predictions.labels.bincount(minlength=len(run.model.classes)).tolist()
    said = guessing_note(held_out, images, run.model.classes) + ([SET_ASIDE] if held_out.split == "valid" else [])
    rows = [
        ("best", f"epoch {best.epoch}: valid accuracy {percent(best.valid_accuracy)}, valid loss {best.valid_loss:.4f}"),
        (held_out.split, scored(held_out)),
        *notes(said),
        ("use", f'tinyclsf.load_model("{folder}") in Python'),
        ("run", folder),
    ]
    content = document(
        "fit",
        run=folder,
        settings=run.config.in_force,
        best=best,
        held_out=held_out,
        notes=said,
        history=run.history,
        warnings=warnings,
    )
    return Output("\n".join(columns(rows, indent="")), content)


def _size(name: str, dataset: Any) -> str:
    if dataset is None:
        return f"no {name}"
    return f"{len(dataset):,} {name}" if isinstance(dataset, Sized) else f"a stream of {name}"


def _option_rows(options: Mapping[str, Setting]) -> list[tuple[str, str, str]]:
    rows = [(f"  {name}", as_text(value), source) for name, (value, source) in options.items() if source != "default"]
    rest = [f"{name} {as_text(value)}" for name, (value, source) in options.items() if source == "default"]
    return [*rows, ("  options", ", ".join(rest), "default")] if rest else rows
