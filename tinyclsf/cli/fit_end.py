"""The end of `tinyclsf fit`: the best epoch, how good its weights are on held-out images, and what to do with them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tinyclsf.analysis.guessing import guessing_note
from tinyclsf.cli.output import Output, columns, document, notes, scored
from tinyclsf.machine.shell import shell_text
from tinyclsf.metrics import best_of, percent
from tinyclsf.runs.trained_run import TrainedRun


def output_of(run: TrainedRun, warnings: list[str]) -> Output:
    """The end of a run: the best epoch, how good its weights are on held-out images, and what to do next."""
    best, held_out, folder = best_of(run.history), run.held_out, str(run.folder)
    assert best is not None, "a run that was scored has an epoch"
    images = run.predictions.labels.bincount(minlength=len(run.model.classes)).tolist()
    said = guessing_note(held_out, images, run.model.classes)
    said += [run.config.no_test_split] if held_out.split == "valid" else []
    rows = [
        ("best", f"epoch {best.epoch}: valid accuracy {percent(best.valid_accuracy)}, valid loss {best.valid_loss:.4f}"),
        (held_out.split, scored(held_out)),
        *notes(said),
        ("next", f"tinyclsf report {shell_text(_called(run.folder))}"),
        ("", f"tinyclsf predict {shell_text(_called(run.folder))} FILES"),
        ("", f"tinyclsf.load_model({json.dumps(folder, ensure_ascii=False)}) in Python"),
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


def _called(folder: Path) -> str:
    """What a person calls a run in a command: by its name alone where runs are looked for."""
    return folder.name if str(folder.parent) == (os.environ.get("TINYCLSF_RUNS") or "runs") else str(folder)
