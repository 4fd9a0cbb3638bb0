"""Curves of a run for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tinyclsf.plugin import Callback, ConfigurationError, Epoch, Trainer, storing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_WRITE_EVERY = 100  # batches whose losses are fetched from the device at once


def tensorboard(folder: Path, model_name: str) -> TensorBoard:
    """Write curves to `tensorboard` in the run folder; `tensorboard --logdir runs` draws those of all runs.

    `<model>/Train_Loss` is of every training batch, `<model>/Test_Loss` and `<model>/Test_Accuracy` are the validation figures
    of every epoch; all three are drawn over the batches of the whole run.
    Raises: ConfigurationError if the package tensorboard is missing.
    """
    return TensorBoard(folder / "tensorboard", model_name)


tensorboard.watches = True  # type: ignore[attr-defined]


class TensorBoard(Callback):
    """Write curves for TensorBoard: `<model>/Train_Loss` a batch, `<model>/Test_Loss` and `<model>/Test_Accuracy` an epoch.

    The two named Test are the validation figures: a test split is for the end. All are drawn over the batches of the whole
    run, so that what a resumed run writes replaces what came after its checkpoint. No batch waits for the device.
    Raises: ConfigurationError if the package tensorboard is missing; StorageError if a file cannot be written.
    """

    def __init__(self, folder: Path, model_name: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                f"writing {folder} needs the package tensorboard; pip install 'tinyclsf[tensorboard]'"
            ) from error
        self.folder = folder
        self.model_name = model_name
        self.batches = 0  # of the whole run
        self._loss: float | None = None  # of the last batch that was written
        self._losses: list[Tensor] = []  # of those since
        self._make_writer = SummaryWriter
        self._writer: SummaryWriter | None = None

    def state_dict(self) -> dict[str, Any]:
        """The count of batches and the loss of the last; all of their losses are on the disk by then."""
        self._write_losses()
        return {"batches": self.batches, "loss": self._loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches, self._loss = state["batches"], state["loss"]

    def on_fit_start(self, trainer: Trainer) -> None:
        self._losses = []
        loss = self._loss if trainer.epoch > 0 else None  # of the batch that a resumed run goes on from
        with storing(self.folder):
            self._writer = self._make_writer(str(self.folder), purge_step=None if loss is None else self.batches)
        if loss is not None:
            # What stands at that batch goes too, as its epoch's figures may be later than the checkpoint.
            self._write("Train_Loss", [loss])
            if len(trainer.history) == trainer.epoch:
                self._write_row(trainer.history[-1])

    def on_batch_end(self, trainer: Trainer) -> None:
        self.batches += 1
        self._losses.append(trainer.loss)
        if len(self._losses) == _WRITE_EVERY:
            self._write_losses()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self._write_losses()
        self._write_row(row)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._write_losses()
        if self._writer is not None:
            with storing(self.folder):
                self._writer.close()
            self._writer = None

    def _write_losses(self) -> None:
        if self._losses:
            losses = torch.stack(self._losses).tolist()
            self._write("Train_Loss", losses)
            self._loss, self._losses = losses[-1], []

    def _write_row(self, row: Epoch) -> None:
        self._write("Test_Loss", [row.valid_loss])
        if row.valid_accuracy is not None:
            self._write("Test_Accuracy", [row.valid_accuracy])

    def _write(self, name: str, values: list[float]) -> None:
        """Add points to a curve, the last of them at the present batch, and flush them to the file."""
        assert self._writer is not None, "figures come after on_fit_start"
        with storing(self.folder):
            for batch, value in enumerate(values, start=self.batches - len(values) + 1):
                self._writer.add_scalar(f"{self.model_name}/{name}", value, batch)
            self._writer.flush()
