"""Progress as a person sees it: a table and a bar in a notebook or on a terminal, or plain lines."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property, partial
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine import launch
from tinyclsf.metrics import Epoch, percent
from tinyclsf.progress.telling import listen_by_default, listening

if TYPE_CHECKING:
    from typing_extensions import Self

Mode = Literal["auto", "bar", "plain", "none"]
_HEADS = ("epoch", "train loss", "valid loss", "valid accuracy", "seconds")
_REFRESH_SECONDS = 0.2


class Screen(Protocol):
    """What progress is drawn on: lines and rows that stay, under them a bar that goes."""

    @property
    def width(self) -> int | None: ...

    def line(self, text: str, style: str = "") -> None: ...

    def row(self, cells: Sequence[str], *, head: bool = False) -> None: ...

    def bar(self, what: str, done: int, total: int | None, note: str = "") -> None: ...

    def clear(self) -> None: ...


class Progress:
    """Show the progress of training and other slow work.

    mode: "bar" shows a bar and a row for each epoch, in a notebook or on a terminal; "plain" shows lines; "none" shows nothing.
        "auto" is "bar" in a notebook and on a terminal, else "none", or "plain" if `every` is given.
    every: also show the mean training loss of every so many batches.
    verbose: the header of a run shows every setting, and where it came from.

    `with Progress("none"):` applies to everything that is read and computed inside the block. Of several processes, only the
    first shows progress.
    """

    def __init__(self, mode: Mode = "auto", *, every: int | None = None, verbose: bool = False) -> None:
        if mode not in ("auto", "bar", "plain", "none"):
            raise ConfigurationError(f"mode is {mode!r}; wanted auto, bar, plain or none")
        if every is not None and (type(every) is not int or every < 1):
            raise ConfigurationError(f"every is {every!r}; wanted a whole number of batches, at least 1")
        if mode == "auto":
            mode = "bar" if in_notebook() or on_terminal() else "none" if every is None else "plain"
        self.mode: Mode = mode if launch.rank() == 0 else "none"
        self.every, self.verbose = every, verbose
        self._next = 0.0
        self._losses: list[Any] = []  # of the batches since a mean of them was shown
        self._started: dict[str, float] = {}
        self._inside = ExitStack()

    def __reduce__(self) -> tuple[Any, ...]:
        # What it draws on cannot be copied, as scikit-learn copies every setting.
        return partial(Progress, self.mode, every=self.every, verbose=self.verbose), ()

    def __enter__(self) -> Self:
        self._inside.enter_context(listening(self.work))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        self._inside.close()

    @classmethod
    def of(cls, asked: bool | Progress | None) -> Progress:
        """The `Progress` for an argument `progress`: None is "auto", True shows it everywhere, False nowhere.

        Raises: ConfigurationError if it is something else.
        """
        if isinstance(asked, Progress):
            return asked
        if asked is not None and not isinstance(asked, bool):
            raise ConfigurationError(f"progress is of type {type(asked).__name__}; wanted True, False, None or a Progress")
        found = cls("none" if asked is False else "auto")
        if asked and found.mode == "none":
            found = cls("plain")
        return found

    @cached_property
    def screen(self) -> Screen:
        """Where it is drawn."""
        from tinyclsf.machine.randomness import without_trace

        with without_trace():  # rich draws random numbers as it is imported
            if in_notebook():
                from tinyclsf.progress.notebook import Notebook

                return Notebook()
            from tinyclsf.progress.terminal import Terminal

            return Terminal()

    def line(self, text: str, style: str = "") -> None:
        """Show a line that stays."""
        if self.mode != "none":
            self.screen.line(text, style)

    def header(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show names and what they are, wrapped where the screen has a width."""
        indent = max(len(name) for name, _ in rows) + 2
        for name, text in rows if self.mode != "none" else ():
            width = self.screen.width
            room = None if width is None else max(1, width - indent)
            lines = [text] if room is None else textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
            for number, each in enumerate(lines):
                self.line(f"{'' if number else name:<{indent}}{each}")

    def work(self, what: str, done: int, total: int) -> None:
        """Show how far work has come: a bar, or a line as it begins; and a line as it ends."""
        if self.mode == "none":
            return
        amount = f" {total:,}" if total > 1 else ""
        if what not in self._started:
            self._started[what] = time.monotonic()
            if self.mode == "plain":
                self.line(f"{what}:{amount} ...")
        if done >= total:
            self.close()
            self.line(f"{what}:{amount} done in {time.monotonic() - self._started.pop(what):.1f} s")
        elif self._is_time():
            self.screen.bar(what, done, total)

    def on_fit_start(self, trainer: Any) -> None:
        """Begin the table."""
        ended = trainer.stopping or len(trainer.history) >= trainer.epochs
        if trainer.epoch > 0:
            self.line(f"nothing is left to train {position(trainer)}" if ended else f"going on {position(trainer)}")
        if self.mode == "bar" and not ended:
            self.screen.row(_HEADS, head=True)
            self._draw(trainer)

    def on_batch_end(self, trainer: Any) -> None:
        """Redraw the bar, now and then, and show the loss of the last `every` batches."""
        if self.every is not None:
            if trainer.batch == 1:
                self._losses.clear()  # what an epoch's end left over
            self._losses.append(trainer.loss)
            if trainer.batch % self.every == 0:
                mean = float(sum(self._losses)) / len(self._losses)
                self.line(f"epoch {trainer.epoch}, batch {trainer.batch:,}: loss {mean:.4f}")
                self._losses.clear()
        if self._is_time():
            self._draw(trainer)

    def on_epoch_end(self, trainer: Any, row: Epoch) -> None:
        """Show a row of figures."""
        if self.mode == "bar":
            losses = [f"{row.train_loss:.4f}", f"{row.valid_loss:.4f}"]
            self.screen.row([f"{row.epoch}/{trainer.epochs}", *losses, percent(row.valid_accuracy), f"{row.seconds:.1f}"])
            if row.epoch < trainer.epochs and not trainer.stopping:
                self._draw(trainer)
        else:
            self.line(epoch_line(row, trainer.epochs))

    def on_fit_end(self, trainer: Any) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar away, wherever the work has ended."""
        if self.mode == "bar":
            self.screen.clear()

    @contextmanager
    def stop_button(self, trainer: Any) -> Iterator[None]:
        """Let a notebook's stop button end a fit after the present step, and the next cell go on; elsewhere change nothing."""
        ours = in_notebook() and threading.current_thread() is threading.main_thread()
        if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # pressed once more, it ends all at once
            trainer.stop()

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            pressed = signal.getsignal(signal.SIGINT) is not stop
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed:
            self.line(f"stopped {position(trainer)}; fit(..., resume=trainer.state_dict()) goes on")

    def _draw(self, trainer: Any) -> None:
        if self.mode != "bar":
            return
        epoch = len(trainer.history) + 1
        done = trainer.batch if trainer.epoch == epoch else 0
        loss = f" {trainer.running_loss:.4f}" if done else ""
        self.screen.bar(f"epoch {epoch}/{trainer.epochs}", done, trainer.batches, f"batches, loss{loss}")

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now < self._next or self.mode != "bar":
            return False
        self._next = now + _REFRESH_SECONDS
        return True


def epoch_line(row: Epoch, epochs: int) -> str:
    """An epoch's figures as a line."""
    losses = f"train loss {row.train_loss:.4f}, valid loss {row.valid_loss:.4f}"
    return f"epoch {row.epoch}/{epochs}: {losses}, valid accuracy {percent(row.valid_accuracy)}, {row.seconds:.1f} s"


def position(trainer: Any) -> str:
    """How far training has come, in words."""
    done = len(trainer.history)
    if done == trainer.epoch:
        return f"after epoch {done}" if done else "before training began"
    return f"in epoch {trainer.epoch}, after {trainer.batch} of {trainer.batches or 'its'} batches"


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, whose outputs are shown as HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel") and not _is_child()


def on_terminal() -> bool:
    """Whether stderr is a terminal that a person looks at, and not the one that a notebook's cell makes for a command."""
    if sys.stderr is None or not sys.stderr.isatty() or _is_child():
        return False
    # A kernel says so itself, or tells the programs that it starts not to stop at the end of a page.
    return "JPY_PARENT_PID" not in os.environ and os.environ.get("GIT_PAGER") != "cat"


def _is_child() -> bool:
    from multiprocessing import parent_process  # which --help need not wait for

    return parent_process() is not None


@cache
def _unasked() -> Progress:
    return Progress()


listen_by_default(lambda what, done, total: _unasked().work(what, done, total))
