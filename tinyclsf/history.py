"""The history of a training run: one row of figures per epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinyclsf.metrics import Epoch, best_of, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD = ("epoch", "train loss", "validation loss", "validation accuracy", "seconds")
_LAST = 10  # epochs that a notebook lists


class History(list[Epoch]):
    """A list of epochs; a notebook shows it as a table and curves."""

    def plot(self, axes: Any = None) -> Figure:
        """Draw the losses and the validation accuracy by epoch, as `draw_curves` does, and return the figure.

        axes: one per plot, to draw into; without them a new figure.
        Raises: ConfigurationError if the number of axes is wrong.
        """
        from tinyclsf.drawing.figures import draw_curves

        return draw_curves({"": self}, axes=axes)

    def __repr__(self) -> str:
        best = best_of(self)
        if best is None:
            return "no epoch yet"
        lines = [f"{len(self)} epoch{'s' * (len(self) > 1)}", f"best: {_told(best)}"]
        return "\n".join(lines if best is self[-1] else [*lines, f"last: {_told(self[-1])}"])

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, paragraph, table
        from tinyclsf.drawing.style import as_html

        best = best_of(self)
        if best is None:
            return page(repr(self))
        shown = [row for row in self if row is best or row.epoch > self[-1].epoch - _LAST]
        rows = [[f"{row.epoch}{' (best)' * (row is best)}", *_figures(row), f"{row.seconds:.1f}"] for row in shown]
        left_out = [] if len(shown) == len(self) else [paragraph(f"the best and the last {_LAST} of {len(self):,} epochs")]
        title = repr(self).split("\n")[0]
        return page(title, *left_out, table(_HEAD, rows), as_html(self.plot()))


def _figures(row: Epoch) -> list[str]:
    return [f"{row.train_loss:.4f}", f"{row.valid_loss:.4f}", percent(row.valid_accuracy)]


def _told(row: Epoch) -> str:
    names = zip(_HEAD[1:], _figures(row), strict=False)
    return f"epoch {row.epoch}, {', '.join(f'{name} {figure}' for name, figure in names)}"
