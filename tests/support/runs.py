"""Folders of runs: made by hand, and what a run left in its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.commands import Cli
from tinyclsf.metrics import Epoch
from tinyclsf.modules import Classifier
from tinyclsf.runs.ending import write_state
from tinyclsf.runs.folder import write_config, write_predictions
from tinyclsf.runs.models import save_model


def write_rows(folder: Path, *rows: Epoch) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows))
    return path


def write_run(
    folder: Path, config: Any, rows: Iterable[Epoch] | None = None, *, classes: Any = (), predictions: Any = None, **ending: Any
) -> Path:
    """Make a run with the files for which something is given; `ending` is what `write_state` takes."""
    folder.mkdir(parents=True)
    write_config(folder, config)
    if rows is not None:
        write_rows(folder, *rows)
    if classes:
        card = {"format": 1, "classes": classes, "image_shape": [1, 2, 2], "white": 255.0, "plugin": None}
        (folder / "model.json").write_text(json.dumps(card))
    if predictions is not None:
        write_predictions(folder, ending["held_out"].split if "held_out" in ending else "test", predictions)
    if ending:
        write_state(folder, **ending)
    return folder


def write_model(folder: Path, model: Classifier, name: str, config: Any, **options: Any) -> Path:
    """Make a run with the model of a plugin."""
    folder.mkdir(parents=True)
    save_model(model, folder, plugin={"name": name, "options": options})
    write_config(folder, config)
    return folder


def rows_of(run: Path) -> list[dict[str, Any]]:
    """Its epochs, but for their seconds."""
    return [{**json.loads(line), "seconds": 0} for line in (run / "metrics.jsonl").read_text().splitlines()]


def results(run: Path) -> tuple[Any, ...]:
    """Its weights, predictions and epochs."""
    return (run / "model.safetensors").read_bytes(), (run / "predictions.npz").read_bytes(), rows_of(run)


def listed(cli: Cli, *args: str) -> tuple[str, int, str | None]:
    """How the one run that there is ended, how many epochs are done, and the error that it ended with."""
    [run] = cli("runs", "--json", *args).document["runs"]
    return run["state"], run["epochs_done"], run["error"]
