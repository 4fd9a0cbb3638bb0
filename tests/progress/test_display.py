"""Who sees progress, where, and that nobody else does."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import textwrap
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tinyclsf
from tests.support.messages import message
from tinyclsf.errors import ConfigurationError, Interrupted
from tinyclsf.progress.display import Progress, on_terminal
from tinyclsf.progress.telling import tell_progress
from tinyclsf.progress.terminal import Terminal
from tinyclsf.trainer import Callback, Trainer


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Make this process a notebook's kernel, as far as progress can tell; gives what its cells show."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    shown = CapturingDisplayPublisher()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(shell, "display_pub", shown)
    yield shown.outputs
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("columns", ["40", "100"])
def test_a_narrow_terminal_has_numbers_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal = Terminal()
    terminal.bar("epoch 1/2", 3, 10, "batches, loss 1.8508")
    terminal.clear()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "epoch 1/2" in shown
    assert "3/10 batches, loss 1.8508" in shown
    assert ("\u2501" in shown) == (columns == "100")


def fit(epochs: int = 2, *callbacks: Callback, progress: bool | Progress | None = None) -> Trainer:
    """Train a little: ten batches an epoch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    y = torch.arange(40) % 2
    images = tinyclsf.Images(y.view(40, 1, 1, 1).expand(40, 1, 2, 2).float().contiguous(), y)
    train_dl, valid_dl = tinyclsf.get_data(images, images, 4)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=callbacks)
    trainer.fit(epochs, train_dl, valid_dl, progress=progress)
    return trainer


class Shown(HTMLParser):
    """The text of a page, by its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tag = tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tag, data))


def test_nothing_is_shown_where_nobody_looks_on(capfd: pytest.CaptureFixture[str]) -> None:
    fit()
    tell_progress("reading pictures", 0, 9)
    tell_progress("reading pictures", 9, 9)
    fit(progress=False)
    assert capfd.readouterr() == ("", "")


def test_lines_are_shown_where_they_are_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    losses: list[float] = []

    class Each(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            losses.append(trainer.loss.item())

    trainer = fit(2, Each(), progress=Progress(every=4))
    out, err = capfd.readouterr()
    assert out == ""
    means = [sum(losses[at : at + 4]) / 4 for at in (0, 4, 10, 14)]  # the last two batches of an epoch are no four
    rows = [re.escape(f"train loss {row.train_loss:.4f}, valid loss {row.valid_loss:.4f}, ") for row in trainer.history]
    end = r"valid accuracy \d+\.\d\d %, \d\.\d s"
    wanted = [rf"epoch 1, batch {batch}: loss {mean:.4f}" for batch, mean in zip((4, 8), means[:2], strict=True)]
    wanted += [rf"epoch 1/2: {rows[0]}{end}"]
    wanted += [rf"epoch 2, batch {batch}: loss {mean:.4f}" for batch, mean in zip((4, 8), means[2:], strict=True)]
    wanted += [rf"epoch 2/2: {rows[1]}{end}"]
    for line, pattern in zip(err.splitlines(), wanted, strict=True):
        assert re.fullmatch(pattern, line)


def test_a_notebook_has_one_output_with_the_last_state(notebook: list[dict[str, Any]]) -> None:
    trainer = fit(2, progress=Progress(every=10))
    first, *others = notebook
    assert not first.get("update")
    assert others
    assert all(each["update"] and each["transient"] == first["transient"] for each in others)
    assert any("<progress" in each["data"]["text/html"] for each in others)
    page = others[-1]["data"]["text/html"]
    assert "<progress" not in page
    cells = [text for tag, text in Shown(page).texts if tag in ("th", "td")]
    assert cells[:6] == [*("epoch", "train loss", "valid loss", "valid accuracy", "seconds"), cells[5]]
    assert [cell for cell in cells if re.fullmatch(r"\d/2", cell)] == ["1/2", "2/2"]
    assert f"{trainer.history[1].valid_loss:.4f}" in cells


def test_what_is_told_in_a_notebook_is_escaped_and_shown_in_its_own_cell(notebook: list[dict[str, Any]]) -> None:
    from IPython import get_ipython

    progress = Progress()
    progress.work("reading <b>", 1, 3)
    assert Shown(notebook[0]["data"]["text/html"]).texts == [("div", "reading <b> "), ("progress", " 1 of 3 ")]
    get_ipython().execution_count += 1
    progress.line("another <cell>")
    assert not notebook[-1].get("update")
    assert Shown(notebook[-1]["data"]["text/html"]).texts == [("div", "another <cell>")]


def test_the_stop_button_ends_a_fit_after_its_step(notebook: list[dict[str, Any]]) -> None:
    class Press(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if (trainer.epoch, trainer.batch) == (2, 3):
                signal.raise_signal(signal.SIGINT)

    trainer = fit(3, Press())
    assert (len(trainer.history), trainer.epoch, trainer.batch) == (1, 2, 3)
    told = "stopped in epoch 2, after 3 of 10 batches; fit(..., resume=trainer.state_dict()) goes on"
    assert notebook[-1]["data"]["text/plain"].endswith(told)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_that_was_stopped_is_one_sentence_in_a_notebook() -> None:
    error = Interrupted("interrupted in epoch 1", tip="tinyclsf fit --resume runs/a")
    assert error._render_traceback_() == ["interrupted in epoch 1", "go on with tinyclsf fit --resume runs/a"]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (lambda: Progress("loud"), "mode is 'loud'; wanted auto, bar, plain or none"),  # type: ignore[arg-type]
        (lambda: Progress(every=0), "every is 0; wanted a whole number of batches, at least 1"),
        (lambda: Progress.of("bar"), "progress is of type str; wanted True, False, None or a Progress"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_shown_is_refused(asked: Any, wanted: str) -> None:
    assert message(asked, ConfigurationError) == wanted


def test_a_terminal_that_a_notebooks_cell_makes_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name in ("JPY_PARENT_PID", "GIT_PAGER"):
        monkeypatch.delenv(name, raising=False)
    assert on_terminal()
    monkeypatch.setenv("GIT_PAGER", "cat")  # as every kernel of IPython has it
    assert not on_terminal()


def test_showing_progress_draws_no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich" or name == "tinyclsf.progress.terminal"]:
        monkeypatch.delitem(sys.modules, name)  # it draws some as it is imported
    before = random.getstate()
    progress = Progress("bar")
    progress.work("reading", 1, 3)
    progress.close()
    assert random.getstate() == before


CELLS = (
    """
    import tinyclsf
    run = tinyclsf.train("linear", data="digits", epochs=2, data_options={"train_size": 500}, run="first")
    """,
    "!tinyclsf fit linear -d train_size=500 --epochs 2 --run second",
    """
    from tinyclsf.trainer import Callback
    import os, signal
    class Press(Callback):
        def on_batch_end(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)
    tinyclsf.train("linear", data="digits", epochs=2, data_options={"train_size": 5000}, run="third", callbacks=[Press()])
    """,
    "tinyclsf.train(resume='third', progress=False).history[-1].epoch",
)


@pytest.mark.stress
def test_a_real_notebook(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    v4: Any = nbformat.v4
    book = v4.new_notebook(cells=[v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in CELLS])
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=True).execute()
    trained, command, stopped, resumed = (cell.outputs for cell in book.cells)
    assert [each.output_type for each in trained] == ["display_data"]
    lines = trained[0].data["text/plain"].splitlines()
    assert [line.split()[0] for line in lines] == ["data", "model", "training", "given", "device", "run", "epoch", "1/2", "2/2"]
    text = "".join(each.text for each in command)
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "\n")
    assert [line.split(":")[0] for line in text.splitlines() if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    sentence = "interrupted in epoch 1, after 1 of 10 batches; the run is saved in runs/third"
    assert stopped[-1].traceback == [sentence, "go on with tinyclsf fit --resume runs/third"]
    assert resumed[0].data["text/plain"] == "2"
