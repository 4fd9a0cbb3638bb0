"""Callbacks by name: checked before a run has a folder, built for it, and blamed by name where they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.experiments.callback_plugins import load_callback_components
from tinyclsf.metrics import Epoch
from tinyclsf.runs.lines import LineEachEpoch
from tinyclsf.trainer import Callback, Trainer

CODE = """
import torch
from tinyclsf.plugin import Callback, ConfigurationError

class Note(Callback):
    def __init__(self, folder, model_name, *, word: str = "hello", times: int = 1):
        self.text = f"{model_name}: {word * times}"
        self.path = folder / "note"

    def on_fit_start(self, trainer):
        self.path.write_text(self.text)

class Broken(Callback):
    def __init__(self, folder, model_name): pass
    def on_epoch_end(self, trainer, row): return 1 / 0

class Picky(Callback):
    def __init__(self, folder, model_name): raise ConfigurationError("picky is never content; leave it out")

class Asking(Callback):
    def __init__(self, folder, model_name, *, what: str = "evaluate"): self.what = what
    def on_epoch_end(self, trainer, row):
        batches = [(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))]
        {"evaluate": lambda: trainer.evaluate(batches), "predict": lambda: trainer.predict(batches),
         "state": trainer.state_dict, "stop": trainer.stop}[self.what]()

def everywhere(folder, model_name, what: str): return Asking(folder, model_name, what=what)
everywhere.every_process = True
def nothing(folder, model_name): return None
def fails(folder, model_name): raise OSError("no\\nluck")
"""
CLASSES = {"note": "Note", "broken": "Broken", "picky": "Picky", "asking": "Asking", "a.b": "Note"}
TARGETS = CLASSES | {name: name for name in ("nothing", "fails", "everywhere")}


@pytest.fixture(autouse=True)
def theirs(install: Callable[..., None]) -> None:
    install("theirs", CODE, module="theirs", callbacks={name: f"theirs:{target}" for name, target in TARGETS.items()})


def trainer_with(callbacks: list[Callback]) -> Trainer:
    model = nn.Linear(3, 2)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    return Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=callbacks)


def build(folder: Path, names: tuple[str, ...], **texts: str) -> list[Callback]:
    return [part(folder, "net") for part in load_callback_components(names, texts)]


BATCHES = [(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))]


def test_callbacks_are_built_in_order_with_their_options(tmp_path: Path) -> None:
    texts = {"note.word": "a=b", "note.times": "2"}
    callbacks = build(tmp_path, ("note", "csv"), **texts)
    assert [type(callback).__name__ for callback in callbacks] == ["Note", "LineEachEpoch"]
    history = trainer_with(callbacks).fit(2, BATCHES, BATCHES)
    assert (tmp_path / "note").read_text() == "net: a=ba=b"
    lines = callbacks[1]
    assert isinstance(lines, LineEachEpoch)
    assert (tmp_path / "metrics.csv").read_text() == lines.head + "".join(map(lines.line, history))
    assert build(tmp_path, ()) == []


def test_loading_builds_nothing_and_says_what_will_be_built(tmp_path: Path) -> None:
    (note,) = load_callback_components(("note",), {"note.times": "3"})
    assert note.described() == {
        "name": "note",
        "package": "theirs",
        "package_version": "1.0",
        "options": {"word": "hello", "times": 3},
    }
    assert {name: setting.source for name, setting in note.options.items()} == {"word": "default", "times": "-c"}
    assert [part.plugin.name for part in load_callback_components(("picky", "fails"), {})] == ["picky", "fails"]
    assert list(tmp_path.glob("note")) == []


def test_a_callback_whose_name_has_a_dot_takes_options() -> None:
    (part,) = load_callback_components(("a.b",), {"a.b.word": "x"})
    assert part.values == {"word": "x", "times": 1}


@pytest.mark.parametrize(
    ("names", "texts", "message", "tip"),
    [
        (("nite",), {}, "there is no callback 'nite'; 'tinyclsf list callbacks' shows all", "did you mean 'note'?"),
        (("note", "csv", "note"), {}, "callback note is given twice; give --callback note once", None),
        (("note",), {"word": "x"}, "-c word=x names no callback; wanted -c NAME.KEY=VALUE", None),
        (("note",), {".word": "x"}, "-c .word=x names no callback; wanted -c NAME.KEY=VALUE", None),
        (
            ("note",),
            {"nte.word": "x"},
            "-c nte.word=x is for callback nte, which the run does not have; add --callback nte or leave it out",
            "did you mean 'note'?",
        ),
        (
            (),
            {"note.word": "x"},
            "-c note.word=x is for callback note, which the run does not have; add --callback note or leave it out",
            None,
        ),
        (("note",), {"note.wrd": "x"}, "callback note has no option 'wrd'; it takes word, times", "did you mean 'word'?"),
        (("note",), {"note.times": "x"}, "option times of callback note is 'x'; wanted a whole number", None),
        (("csv",), {"csv.x": "1"}, "callback csv has no option 'x'; it takes none", None),
    ],
)
def test_what_cannot_be_meant_is_said(names: tuple[str, ...], texts: dict[str, str], message: str, tip: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_callback_components(names, texts)
    assert (str(error.value), error.value.tip) == (message, tip)


@pytest.mark.parametrize(
    ("name", "what"),
    [("nothing", "returned NoneType; wanted tinyclsf.trainer.Callback"), ("fails", "failed: OSError: no luck")],
)
def test_a_plugin_that_gives_no_callback_is_named(name: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError) as error:
        build(tmp_path, (name,))
    assert str(error.value) == f"callback '{name}' of package theirs (theirs:{name}) {what}"
    with pytest.raises(ConfigurationError, match="picky is never content; leave it out"):
        build(tmp_path, ("picky",))


def test_a_callback_that_fails_in_training_is_named(tmp_path: Path) -> None:
    (broken,) = build(tmp_path, ("broken",))
    with pytest.raises(PluginError) as error:
        trainer_with([broken]).fit(1, BATCHES, BATCHES)
    assert str(error.value) == (
        "callback 'broken' of package theirs (theirs:Broken) failed in on_epoch_end: ZeroDivisionError: division by zero"
    )


def test_what_a_callback_does_not_do_costs_nothing(tmp_path: Path) -> None:
    (broken,) = build(tmp_path, ("broken",))
    assert set(vars(broken)) == {"on_epoch_end"}
    broken.on_batch_end(trainer_with([]))
    with pytest.raises(PluginError):
        broken.on_epoch_end(trainer_with([]), Epoch(1, 1.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "what", "waits"),
    [
        ("asking", "evaluate", True),
        ("asking", "state", True),
        ("asking", "predict", False),
        ("asking", "stop", False),
        ("everywhere", "evaluate", False),
    ],
)
def test_what_only_the_first_process_has_does_not_wait_for_the_others(
    name: str, what: str, waits: bool, tmp_path: Path
) -> None:
    (component,) = load_callback_components((name,), {f"{name}.what": what})
    assert len(trainer_with([component(tmp_path, "net")]).fit(1, BATCHES, BATCHES)) == 1  # there are no others
    trainer = trainer_with([replace(component, as_if_first=True)(tmp_path, "net")])
    if not waits:
        assert len(trainer.fit(1, BATCHES, BATCHES)) == 1
        return
    with pytest.raises(PluginError) as error:
        trainer.fit(1, BATCHES, BATCHES)
    assert str(error.value) == (
        "callback 'asking' of package theirs (theirs:Asking) waits in on_epoch_end for all processes of a training, "
        "and only the first one has it; set every_process = True on its class or function, or leave the callback out"
    )
    assert trainer.evaluate(BATCHES).samples == 4  # after the error nothing is held against others
