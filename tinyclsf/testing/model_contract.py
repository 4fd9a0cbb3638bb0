"""What a model plugin has to keep, check by check."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tinyclsf.analysis.model_checks import (
    Finding,
    check_clipped,
    check_evaluation,
    check_gradients,
    check_log_outputs,
    check_outputs,
    logits_of,
)
from tinyclsf.errors import join_names
from tinyclsf.machine.randomness import random_state, seed_all, without_trace
from tinyclsf.modules import Classifier
from tinyclsf.registry.signatures import attribute_of
from tinyclsf.testing.checking import Broken, CannotRun, Checks
from tinyclsf.testing.model_subject import CPU, NAMED, ModelSubject
from tinyclsf.testing.model_uses import (
    bfloat16,
    channels_last,
    onnx_export,
    other_devices,
    pt2_export,
    saved_state,
    saved_weights,
)
from tinyclsf.testing.option_contract import description, imports, options, silent


def logits(subject: ModelSubject) -> None:
    """It can be built, and gives finite numbers that are no shares: the loss takes their softmax itself."""
    if not isinstance(subject.built, Classifier):
        raise subject.built
    found = subject.outputs(subject.built)
    if not found.isfinite().all():
        raise Broken("its first outputs are not all finite numbers; wanted logits: mend how it fills its weights, or divides")
    _tell(check_outputs(found, subject.sample.y, F.cross_entropy))
    _tell(check_log_outputs(found, subject.sample.y, F.cross_entropy))


def image_shapes(subject: ModelSubject) -> None:
    """Other shapes of images work too, or are refused in a sentence."""
    for shape in subject.shapes:
        if shape != subject.model.image_shape:
            subject.tried(shape)


def class_counts(subject: ModelSubject) -> None:
    """Two classes work, and more than a hundred."""
    for classes in (2, 101):
        subject.tried(subject.model.image_shape, classes)  # type: ignore[arg-type]


def unclipped_logits(subject: ModelSubject) -> None:
    """Its logits do not come out of a ReLU, unless it says so with an attribute `ends_in_relu`."""
    if attribute_of(subject.factory, "ends_in_relu"):
        raise CannotRun("its logits come out of a ReLU on purpose, as its attribute ends_in_relu says")
    _tell(check_clipped(subject.outputs(subject.model), subject.model.classes))


def evaluation_mode(subject: ModelSubject) -> None:
    """In evaluation mode its outputs are not random, and do not depend on the other images of the batch."""
    x = subject.sample.x
    with without_trace():  # once around both, as the second pass has to draw other numbers
        _tell(check_evaluation(subject.model, x, logits_of(subject.model, x, len(x))))


def training(subject: ModelSubject) -> None:
    """It has parameters to train, outputs that depend on them, and a state of finite tensors."""
    _ = subject.model
    if subject.untrainable is not None:
        raise subject.untrainable


def gradients(subject: ModelSubject) -> None:
    """Each parameter that is to be trained gets a gradient."""
    with without_trace():
        seed_all(0)
        _tell(check_gradients(subject.trial(), subject.sample, F.cross_entropy))


def one_step(subject: ModelSubject) -> None:
    """A small step against the gradient lowers the loss."""
    trial = subject.trial()
    first = subject.gradients(trial)
    length = sum(float(gradient.square().sum()) for gradient in first.by_name.values())
    losses = []
    for share in (1e-2, 1e-3, 1e-4):  # of the loss, which the step should take away
        first.step(trial, share * first.loss / max(length, 1e-12))
        losses.append(subject.gradients(trial).loss)
        if losses[-1] < first.loss:
            return
        trial = subject.trial()
    raise Broken(
        f"small steps against the gradient take the loss of a batch from {first.loss:.4f} to {min(losses):.4f} at best; "
        "wanted less: look for a backward of its own that is wrong, or weights that forward changes"
    )


def same_seed(subject: ModelSubject) -> None:
    """The same seed gives the same first weights."""
    first, again = subject.model.state_dict(), subject.seeded(0).state_dict()
    others = [name for name in first if name not in again or not torch.equal(first[name], again[name])]
    if others:
        raise Broken(
            f"built twice from one seed it begins with other values in {join_names(others, NAMED)}; "
            "wanted the same: draw them from the global generators of torch, random or numpy, and seed none with the time"
        )


def global_state(subject: ModelSubject) -> None:
    """Building it changes nothing of the program's but the random numbers that it draws."""
    states = []
    for seed in (1, 2):
        with without_trace():
            seed_all(seed)
            subject.build(subject.model.image_shape, len(subject.model.classes))  # type: ignore[arg-type]
            state = random_state(CPU, None)
            states.append({"PyTorch": state["torch"], "Python": state["python"][1], "NumPy": state["numpy"]["state"]["key"]})
    if subject.changed:
        raise Broken(f"building it calls {join_names(sorted(subject.changed))} for the whole program; wanted it left out")
    if seeded := [name for name, words in states[0].items() if torch.equal(words, states[1][name])]:
        raise Broken(
            f"building it seeds the global generator of {join_names(seeded)}, so runs with different seeds draw the same; "
            "wanted the seed left to the run"
        )


def stdout(subject: ModelSubject) -> None:
    """It prints nothing to stdout, where results go."""
    with silent("building it"):
        model = subject.seeded(0)
    with silent("evaluating it"):
        subject.outputs(model)
    if subject.untrainable is None:
        with silent("training it"):
            subject.gradients(model)


def _tell(finding: Finding | None) -> None:
    if finding is not None:
        raise Broken(finding.sentence)


check_model = Checks(
    "model",
    ModelSubject,
    (
        *(imports, description, options, logits, image_shapes, class_counts, unclipped_logits, evaluation_mode, training),
        *(gradients, one_step, same_seed, global_state, saved_state, saved_weights, other_devices, bfloat16, channels_last),
        *(onnx_export, pt2_export, stdout),
    ),
    quick=(imports, description, options, logits),
)
