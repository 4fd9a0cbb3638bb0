"""Curves and settings of a run for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tinyclsf.plugin import Callback, ConfigurationError, Epoch, Trainer, best_of, read_run_config, storing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_SETTINGS = ".settings"  # at the end of the name of a file
_WRITE_EVERY = 100  # batches whose losses are fetched from the device at once


def tensorboard(folder: Path, model_name: str) -> TensorBoard:
    """Write curves and settings to `tensorboard` in the run folder; `tensorboard --logdir runs` shows those of all runs.

    `<model>/Train_Loss` has a point for every training batch. `<model>/Test_Loss` and `<model>/Test_Accuracy` are the
    validation figures of every epoch. `hparam/loss` and `hparam/accuracy` are those of the best epoch so far.
    The x axis counts the batches of the whole run. The HPARAMS tab shows the settings of each run.
    Raises: ConfigurationError if the package tensorboard is missing.
    """
    return TensorBoard(folder / "tensorboard", model_name, run=folder)


tensorboard.watches = True  # type: ignore[attr-defined]


class TensorBoard(Callback):
    """Write curves for TensorBoard: `<model>/Train_Loss` per batch, `<model>/Test_Loss` and `<model>/Test_Accuracy` per epoch.

    The two named Test are validation figures: the test split is for the end. `hparam/loss` and `hparam/accuracy` are those of
    the best epoch so far. The x axis counts the batches of the whole run, so a resumed run overwrites what came after its
    checkpoint. No batch waits for the device.
    run: the run folder whose settings the HPARAMS tab shows.
    Raises: ConfigurationError if the package tensorboard is missing; StorageError if a file cannot be written; ModelFileError
    if the run's settings cannot be read.
    """

    def __init__(self, folder: Path, model_name: str, *, run: Path | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                f"writing {folder} needs the package tensorboard; pip install 'tinyclsf[tensorboard]'"
            ) from error
        self.folder = folder
        self.model_name = model_name
        self.run = run
        self.batches = 0  # of the whole run
        self._loss: float | None = None  # of the last batch that was written
        self._losses: list[Tensor] = []  # of those since
        self._make_writer = SummaryWriter
        self._writer: SummaryWriter | None = None

    def state_dict(self) -> dict[str, Any]:
        """The number of batches and the loss of the last one; all losses are on the disk by then."""
        self._write_losses()
        return {"batches": self.batches, "loss": self._loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches, self._loss = state["batches"], state["loss"]

    def on_fit_start(self, trainer: Trainer) -> None:
        self._losses = []
        loss = self._loss if trainer.epoch > 0 else None  # of the batch that a resumed run goes on from
        if self.run is not None:
            self._write_settings(read_run_config(self.run).values)
        with storing(self.folder):
            self._writer = self._make_writer(str(self.folder), purge_step=None if loss is None else self.batches)
        if loss is not None:
            # What stands at that batch goes too, as its epoch's figures may be later than the checkpoint.
            self._write(f"{self.model_name}/Train_Loss", [loss])
            if len(trainer.history) == trainer.epoch:
                self._write_epoch(trainer.history)

    def on_batch_end(self, trainer: Trainer) -> None:
        self.batches += 1
        self._losses.append(trainer.loss)
        if len(self._losses) == _WRITE_EVERY:
            self._write_losses()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self._write_losses()
        self._write_epoch(trainer.history)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._write_losses()
        if self._writer is not None:
            with storing(self.folder):
                self._writer.close()
            self._writer = None

    def _write_settings(self, settings: dict[str, float | str]) -> None:
        """Write what the HPARAMS tab shows of a run, in a file of its own, as TensorBoard keeps to the first that it reads."""
        from torch.utils.tensorboard.summary import hparams

        # Without the list of columns that add_hparams writes too: TensorBoard would take that of one run for all of them.
        _, started, _ = hparams(settings, {})  # type: ignore[no-untyped-call]
        with storing(self.folder):
            for before in self.folder.glob(f"*{_SETTINGS}"):
                before.unlink()
            with self._make_writer(str(self.folder), filename_suffix=_SETTINGS) as writer:
                writer.file_writer.add_summary(started)

    def _write_losses(self) -> None:
        if self._losses:
            losses = torch.stack(self._losses).tolist()
            self._write(f"{self.model_name}/Train_Loss", losses)
            self._loss, self._losses = losses[-1], []

    def _write_epoch(self, history: Sequence[Epoch]) -> None:
        best = best_of(history)
        assert best is not None, "an epoch has ended"
        for row, loss, accuracy in (
            (history[-1], f"{self.model_name}/Test_Loss", f"{self.model_name}/Test_Accuracy"),
            (best, "hparam/loss", "hparam/accuracy"),
        ):
            self._write(loss, [row.valid_loss])
            if row.valid_accuracy is not None:
                self._write(accuracy, [row.valid_accuracy])

    def _write(self, name: str, values: list[float]) -> None:
        """Add points to a curve, the last one at the current batch, and flush them to the file."""
        assert self._writer is not None, "figures come after on_fit_start"
        with storing(self.folder):
            for batch, value in enumerate(values, start=self.batches - len(values) + 1):
                self._writer.add_scalar(name, value, batch)
            self._writer.flush()
