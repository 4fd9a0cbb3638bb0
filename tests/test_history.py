"""A history is a list of epochs that shows itself, as text, as HTML and as a picture."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from tests.support.notebooks import charts, rows_of_table, said
from tests.support.runs import write_rows
from tests.support.training import images
from tinyclsf import TorchClassifier, Trainer, fit, get_data
from tinyclsf.history import History
from tinyclsf.metrics import Epoch
from tinyclsf.runs.epochs import read_history

ROWS = [Epoch(1, 2.0, 1.5, 0.5, 0.25), Epoch(2, 1.0, 0.75, 0.875, 0.25), Epoch(3, 0.5, 0.8, 0.75, 0.25)]


def test_a_history_is_a_list() -> None:
    history = History(ROWS)
    assert history == ROWS
    assert history[1:] == ROWS[1:]
    again = pickle.loads(pickle.dumps(history))
    assert (type(again), again) == (History, ROWS)


def test_its_text_has_the_best_and_the_last_epoch() -> None:
    assert repr(History(ROWS)).splitlines() == [
        "3 epochs",
        "best: epoch 2, train loss 1.0000, validation loss 0.7500, validation accuracy 87.50 %",
        "last: epoch 3, train loss 0.5000, validation loss 0.8000, validation accuracy 75.00 %",
    ]
    assert repr(History(ROWS[:1])).splitlines() == [
        "1 epoch",
        "best: epoch 1, train loss 2.0000, validation loss 1.5000, validation accuracy 50.00 %",
    ]
    assert repr(History()) == "no epoch yet"


def test_a_notebook_shows_a_table_and_curves() -> None:
    assert rows_of_table(History(ROWS)) == [
        ["epoch", "train loss", "validation loss", "validation accuracy", "seconds"],
        ["1", "2.0000", "1.5000", "50.00 %", "0.2"],
        ["2 (best)", "1.0000", "0.7500", "87.50 %", "0.2"],
        ["3", "0.5000", "0.8000", "75.00 %", "0.2"],
    ]
    assert charts(History(ROWS)) == 1
    assert said(History()) == "no epoch yet"
    assert "- " in said(History([ROWS[0]._replace(valid_accuracy=None)]))


def test_five_hundred_epochs_are_the_best_and_the_last_ten() -> None:
    history = History(Epoch(epoch, 1 / epoch, 2 / epoch, 1 - abs(epoch - 9) / 500, 1.0) for epoch in range(1, 501))
    start = time.process_time()
    rows = rows_of_table(history)
    assert time.process_time() - start < 2
    assert [row[0] for row in rows[1:]] == ["9 (best)", *map(str, range(491, 501))]
    assert "the best and the last 10 of 500 epochs" in said(history)


def test_it_is_drawn_into_axes_that_are_given() -> None:
    figure = Figure()
    assert History(ROWS).plot(figure.subplots(1, 3)) is figure
    assert [ax.get_title() for ax in History(ROWS).plot().axes] == ["train loss", "validation loss", "validation accuracy"]


def test_all_that_trains_gives_one(tmp_path: Path) -> None:
    data = images(8, 0, 4)
    model = nn.Linear(4, 10)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    loaders = get_data(data, data, 4)
    histories = [fit(1, model, F.cross_entropy, opt, *loaders, on_epoch=lambda row: None)]
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    histories += [trainer.fit(1, *loaders), trainer.fit(2, *loaders, resume=trainer.state_dict())]
    x, y = (tensor.numpy() for tensor in data.tensors)
    classifier = TorchClassifier(epochs=1, device="cpu").fit(x, y)
    histories += [classifier.history_, classifier.train(x, y, epochs=1), classifier.history_]
    write_rows(tmp_path, *ROWS)
    histories += [read_history(tmp_path), read_history(tmp_path / "none")]
    assert {type(history) for history in histories} == {History}
    assert [len(history) for history in histories] == [1, 1, 2, 1, 1, 2, 3, 0]
