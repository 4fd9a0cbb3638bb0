"""The callback goal."""

from pathlib import Path

from tinyclsf.plugin import Callback


class Goal(Callback):
    """Write each epoch that is better than all before to goal.txt in the run folder.

    `by` is how much better its validation loss has to be.
    """

    watches = True  # it does not change training

    def __init__(self, folder: Path, model_name: str, *, by: float = 0.0) -> None:
        self.file, self.by = folder / "goal.txt", by
        self.best = float("inf")
        self.lines = [model_name]

    def on_epoch_end(self, trainer, row):
        if row.valid_loss < self.best - self.by:
            self.best = row.valid_loss
            self.lines.append(f"epoch {row.epoch}: valid loss {row.valid_loss:.4f}")
            self.file.write_text("\n".join(self.lines) + "\n")

    # What a resumed run goes on with. The file is written whole, so it never has an epoch twice.
    def state_dict(self):
        return {"best": self.best, "lines": self.lines}

    def load_state_dict(self, state):
        self.best, self.lines = state["best"], state["lines"]
