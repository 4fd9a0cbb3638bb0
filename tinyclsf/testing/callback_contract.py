"""What a callback plugin has to keep, check by check."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from tinyclsf.errors import PluginError, TinyclsfError, did_you_mean, join_names
from tinyclsf.experiments.callback_plugins import MOMENTS, CallbackComponent
from tinyclsf.experiments.experiment import Experiment
from tinyclsf.experiments.running import carry_out
from tinyclsf.loop.state import callback_states, load_callback_states
from tinyclsf.machine.randomness import without_trace
from tinyclsf.machine.signals import StopSignals
from tinyclsf.progress.display import Progress
from tinyclsf.registry.signatures import attribute_of
from tinyclsf.runs.checkpoints import load_checkpoint, save_checkpoint
from tinyclsf.runs.folder import CONFIG
from tinyclsf.runs.models import CARD
from tinyclsf.testing.checking import Broken, CannotRun, Checks
from tinyclsf.testing.option_contract import Subject, description, imports, options, silent
from tinyclsf.testing.small_fits import BATCH, STOPPED, Clock, Stop, difference, fit, noise, small_network
from tinyclsf.trainer import Callback

_MODEL = small_network.__name__
_LONG = 100  # batches of an epoch in which time is measured, so that what is done every so many batches counts too
_SHARE, _LEAST = 0.2, 50e-6  # of a step, and seconds: a callback may take the larger of the two


class CallbackSubject(Subject):
    """A callback under check."""

    @cached_property
    def _built(self) -> Callback | TinyclsfError:
        with tempfile.TemporaryDirectory() as folder:
            try:
                return self.callback(Path(folder))
            except TinyclsfError as error:
                return error

    @cached_property
    def _run(self) -> dict[str, bytes] | TinyclsfError:
        """The files that a run with the callback has before it trains, or what ended it."""
        self.built()
        experiment = Experiment.of(small_network, data=noise(), epochs=2, batch_size=BATCH, device="cpu")
        experiment = replace(experiment, callbacks=(CallbackComponent(**vars(self.component())),))
        with tempfile.TemporaryDirectory() as root, without_trace():
            more: dict[str, Any] = {"progress": Progress("none"), "signals": StopSignals(), "command": "check_callback"}
            try:
                run = carry_out(experiment, name="run", root=Path(root), **more)
            except TinyclsfError as error:
                return error
            return {name: (run.folder / name).read_bytes() for name in (CONFIG, CARD)}

    @cached_property
    def state(self) -> dict[str, Any]:
        """The state that a fit with the callback ends in."""
        return self.uninterrupted()

    def built(self) -> Callback:
        """The callback, for a folder that is gone.

        Raises: CannotRun if it cannot be built, which the check `builds` tells of.
        """
        if isinstance(self._built, TinyclsfError):
            raise CannotRun("the callback cannot be built")
        return self._built

    def callback(self, folder: Path, *, as_if_first: bool = False) -> Callback:
        """The callback for a folder; `as_if_first` as in the first of several processes."""
        return CallbackComponent(**vars(self.component()), as_if_first=as_if_first)(folder, _MODEL)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """The folder of a run that begins.

        Raises: CannotRun if no run with the callback comes to its end, which the check `trains` tells of.
        """
        if isinstance(self._run, TinyclsfError):
            raise CannotRun("training with it fails")
        with tempfile.TemporaryDirectory() as path:
            for name, content in self._run.items():
                Path(path, name).write_bytes(content)
            yield Path(path)

    def uninterrupted(self) -> dict[str, Any]:
        """The state that one more such fit ends in."""
        with self.folder() as folder:
            return fit([self.callback(folder)])


def builds(subject: CallbackSubject) -> None:
    """It gives a Callback for an empty folder, and what that says of itself the plugin says too."""
    found = subject._built
    if isinstance(found, TinyclsfError):
        raise found
    for name in ("watches", "every_process"):
        if getattr(found, name) and not attribute_of(subject.factory, name):
            raise Broken(
                f"its callback has {name} = True and the plugin itself has not; "
                "wanted it on the function that makes the callback too, which is asked before there is one"
            )


def moments(subject: CallbackSubject) -> None:
    """Something calls each of its methods that begin with on_."""
    for name in dir(type(subject.built())):
        if name.startswith("on_") and name not in MOMENTS:
            known = [each for each in MOMENTS if each.startswith("on_")]
            tip = did_you_mean(name, known)
            raise Broken(
                f"nothing calls its method {name}; wanted {join_names(known)}, and another beginning than on_ for a method "
                f"of its own{f': {tip}' if tip else ''}"
            )


def trains(subject: CallbackSubject) -> None:
    """A run with it comes to its end, and leaves stdout to results."""
    with silent("training with it"):
        found = subject._run
    if isinstance(found, TinyclsfError):
        raise found


def targets_without_classes(subject: CallbackSubject) -> None:
    """It goes on where targets are no classes, so that there is no accuracy."""
    with subject.folder() as folder:
        try:
            fit([subject.callback(folder)], classes=False)
        except PluginError as error:
            raise Broken(
                f"where targets are no classes: {error}; wanted it to go on: row.valid_accuracy is None then"
            ) from None


def saved_state(subject: CallbackSubject) -> None:
    """A new callback that loads its state from a checkpoint has that state."""
    state = subject.state["callbacks"]
    if not state:
        raise CannotRun("it has no state")
    with subject.folder() as folder:
        save_checkpoint(subject.state, folder)
        callback = subject.callback(folder)
        load_callback_states(load_checkpoint(folder).state["callbacks"], [callback])
        found = difference(callback_states([callback]), state)
    if found is not None:
        raise Broken(
            f"a new callback that loads its state from a checkpoint has another one: {found}; "
            "wanted a load_state_dict that takes back all that state_dict gives"
        )


def stopped_and_resumed(subject: CallbackSubject) -> None:
    """Training with it that is stopped and resumed ends as if it had not been: the weights, and its own state."""
    epoch, batch = STOPPED
    with subject.folder() as folder:
        stopped = fit([subject.callback(folder), Stop()])
        if (len(stopped["history"]) + 1, stopped["batch"]) != STOPPED:
            raise CannotRun(f"it ends training before batch {batch} of epoch {epoch}, where this check stops it")
        save_checkpoint(stopped, folder)
        resumed = fit([subject.callback(folder)], resume=load_checkpoint(folder).state)
    for name, what in (("model", "weights"), ("callbacks", "its own state")):
        if (found := difference(resumed[name], subject.state[name])) is None:
            continue
        if difference(subject.uninterrupted()[name], subject.state[name]) is not None:
            raise CannotRun(f"two equal runs with it differ in {what}, so a resumed one cannot be compared")
        raise Broken(
            f"a run that is stopped and resumed differs from one that is not in {what}: {found}; "
            "wanted the same: give all that it goes on from in state_dict, and take it back in load_state_dict"
        )


def watching(subject: CallbackSubject) -> None:
    """If it says that it only watches, training ends with the weights of training without it."""
    weights = subject.state["model"]
    if not attribute_of(subject.factory, "watches"):
        raise CannotRun("it does not say watches = True")
    if (found := difference(weights, fit([])["model"])) is not None:
        raise Broken(
            f"it says watches = True, and training with it ends with other weights than without: {found}; wanted the same: "
            "leave the model alone and draw random numbers from a generator of its own, or leave watches out"
        )


def first_process_alone(subject: CallbackSubject) -> None:
    """It waits for no other process, unless it says that each of them has it."""
    with subject.folder() as folder:
        if attribute_of(subject.factory, "every_process"):
            raise CannotRun("it says every_process = True, and here is one process alone")
        fit([subject.callback(folder, as_if_first=True)])


def cost(subject: CallbackSubject) -> None:
    """Its on_batch_end takes little of the time of a step."""
    if type(subject.built()).on_batch_end is Callback.on_batch_end:
        return
    clock = Clock()
    with subject.folder() as folder:
        fit([clock, subject.callback(folder), clock], batches=_LONG)
    rounds = clock.seconds()
    own, step = min(own for own, _ in rounds), median(step for _, step in rounds)
    if own > max(_SHARE * step, _LEAST):
        raise Broken(
            f"its on_batch_end takes {own * 1e6:,.0f} microseconds, and the rest of a small step {step * 1e6:,.0f}; "
            f"wanted at most {_SHARE:.0%} of that, or {_LEAST * 1e6:.0f}: work once an epoch, or every so many batches"
        )


check_callback = Checks(
    "callback",
    CallbackSubject,
    (
        *(imports, description, options, builds, moments, trains, targets_without_classes, saved_state, stopped_and_resumed),
        *(watching, first_process_alone, cost),
    ),
    quick=(imports, description, options, builds, moments),
)
