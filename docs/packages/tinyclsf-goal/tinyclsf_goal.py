"""The callback goal."""

from tinyclsf.plugin import Callback


class Goal(Callback):
    """Stop training once the validation accuracy was good enough `times` epochs in a row, and write down when."""

    def __init__(self, folder, model_name, *, accuracy: float = 0.99, times: int = 2):
        self.file, self.accuracy, self.times = folder / "goal.txt", accuracy, times
        self.met = 0  # epochs in a row

    def on_epoch_end(self, trainer, row):
        good = row.valid_accuracy is not None and row.valid_accuracy >= self.accuracy
        self.met = self.met + 1 if good else 0
        if self.met == self.times:
            self.file.write_text(f"epoch {row.epoch}\n")
            trainer.stop()

    def state_dict(self):
        return {"met": self.met}

    def load_state_dict(self, state):
        self.met = state["met"]
