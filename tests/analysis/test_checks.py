"""The checks before training: a fault made by hand for each is found, a good model is let pass, and nothing is changed."""

from __future__ import annotations

import copy
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from tinyclsf.analysis import checks
from tinyclsf.analysis.checks import Examination, Finding, check, examine, quick_check, stuck_outputs
from tinyclsf.analysis.data_checks import check_inputs, check_labels, in_memory
from tinyclsf.analysis.model_checks import check_clipped
from tinyclsf.data import Images, Splits
from tinyclsf.errors import DataError
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.recipes import CrossEntropy, mse

CLASSES = ("ant", "bee", "cow", "dog")
CE = CrossEntropy()
SMALL = ("near copies: the images are smaller than 16x16",)


def images(number: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (number, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return Images(x, torch.arange(number) % 4)


def splits(train: Dataset[Any] | None = None, preprocess: Preprocess | None = None, **parts: Any) -> Splits:
    whole = {"valid": images(40, 1), "test": images(40, 2), **parts}
    return Splits(
        train or images(200, 0), **whole, classes=CLASSES, image_shape=(1, 8, 8), preprocess=preprocess or Preprocess()
    )


def linear(*more: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4), *more)


def look(network: nn.Module, data: Splits | None = None, loss_func: Any = CE) -> tuple[list[Finding], Examination]:
    """The findings at the start of a run, and the whole examination."""
    data = data or splits()
    model = Classifier(data.preprocess, network, data.classes, data.image_shape)
    return quick_check(model, data, loss_func), examine(model, data, loss_func, images=64)


def found(network: nn.Module, data: Splits | None = None, loss_func: Any = CE) -> Finding:
    """The one finding, which the start of a run has as well."""
    quick, whole = look(network, data, loss_func)
    assert whole.findings == tuple(quick)
    [one] = quick
    return one


class Net(nn.Module):
    """A linear model with something done to its outputs; `extra` are parameters to do it with."""

    def __init__(self, then: Any, **extra: nn.Parameter | nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lin = nn.Linear(64, 4)
        self.then = then
        for name, each in extra.items():
            setattr(self, name, each)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.then(self, self.lin(x.flatten(1)))
        return out


@pytest.mark.parametrize("norm", [False, True])
def test_a_good_model_is_let_pass_and_its_figures_are_told(norm: bool) -> None:
    network = linear(*([nn.BatchNorm1d(4)] if norm else []), nn.Dropout(0.5))
    quick, whole = look(network)
    assert (quick, whole.findings) == ([], ())
    data = splits()
    rows = random.Random(0).sample(range(200), 64)
    assert isinstance(data.train, Images)
    inputs = data.train.x[rows].numpy() / 255
    assert (whole.images, whole.parameters, whole.frozen) == (64, 64 * 16 + 16 + 16 * 4 + 4 + 8 * norm, 0)
    assert [whole.mean, whole.std] == pytest.approx([inputs.mean(), inputs.std()], rel=1e-5)
    with torch.no_grad():
        loss = F.cross_entropy(network.eval()(torch.tensor(inputs, dtype=torch.float32)), data.train.y[rows])
    assert whole.first_loss == pytest.approx(float(loss), rel=1e-5)
    assert whole.guessing == pytest.approx(np.log(4))
    assert whole.skipped == SMALL
    assert "the gradients of a batch" in whole.looked_at
    assert "the same picture in two splits, of 280 pictures" in whole.looked_at


def test_the_scale_of_the_inputs_is_that_of_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    _, at_once = look(linear())
    monkeypatch.setattr(checks, "_VALUES", 24 * 64)  # batches of 24, 24 and 16 images
    _, whole = look(linear())
    assert [whole.mean, whole.std] == pytest.approx([at_once.mean, at_once.std], rel=1e-12)


@pytest.mark.parametrize("loss_func", [CE, mse, F.cross_entropy])
def test_a_softmax_before_a_loss_that_has_its_own(loss_func: Any) -> None:
    assert found(linear(nn.Softmax(dim=1)), loss_func=loss_func) == (
        "softmax",
        "the outputs sum to one already, and the loss takes their softmax once more, which flattens the gradient",
        "a model should give logits: leave its softmax out",
    )


def test_a_log_softmax_does_no_harm_and_is_right_where_the_loss_has_none() -> None:
    network = linear(nn.LogSoftmax(dim=1))
    quick, whole = look(network)
    assert (quick, [each.check for each in whole.findings]) == ([], ["log-softmax"])
    assert whole.findings[0].evidence == (
        "the exponentials of the outputs sum to one already, as after a log-softmax, which the loss takes itself"
    )
    assert look(network, loss_func=F.nll_loss)[1].findings == ()


def test_a_first_loss_far_above_guessing() -> None:
    network = Net(lambda net, out: 50 * out)
    quick, whole = look(network)
    [one] = quick
    assert one.sentence == (
        f"the first loss is {whole.first_loss:.2f} over 64 images, where guessing has ln(4) = 1.39: "
        "the model is sure of what it does not know yet; "
        "scale the inputs, or give the last layer smaller first weights"
    )
    assert whole.first_loss is not None
    assert whole.first_loss > 3
    nan = Net(lambda net, out: out / 0)
    assert look(nan)[0][0].evidence == "the first loss over 64 images is no finite number"
    assert look(nan)[1].first_loss is None


def test_a_model_that_is_good_already_is_no_fault() -> None:
    x = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    y = torch.arange(200) % 4
    x.view(200, 64)[torch.arange(200), y] = 255
    x.view(200, 64)[:, 8:] = torch.randint(256, (200, 56), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    layer = nn.Linear(64, 4)
    layer.weight = nn.Parameter(10 * torch.eye(4, 64))
    quick, whole = look(nn.Sequential(nn.Flatten(), layer), splits(Images(x, y)))
    assert (quick, whole.findings) == ([], ())
    assert whole.first_loss is not None
    assert whole.first_loss < 0.01


def test_inputs_that_were_not_scaled_or_are_all_the_same() -> None:
    quick, whole = look(linear(), splits(preprocess=Preprocess(0.0, 1.0)))
    assert whole.mean is not None
    assert whole.std is not None
    assert quick[0].sentence == (
        f"the inputs of the network have mean {whole.mean:.2f} and standard deviation {whole.std:.2f} over 64 images: "
        "steps that suit most models are far too large for such inputs; "
        "-d normalize=stats scales them to 0 and 1 in the data sets that come along; in others mend the preprocess"
    )
    assert 120 < whole.mean < 135
    flat = look(linear(), splits(preprocess=Preprocess(0.0, 255.0 * 100)))
    assert flat[0][0].evidence.endswith("over 64 images: the images hardly differ")
    slow = look(linear(), splits(preprocess=Preprocess(0.0, 80.0)))
    assert (slow[0], [each.check for each in slow[1].findings]) == ([], ["inputs"])
    assert slow[1].findings[0].evidence.endswith("wanted near 0 and 1: training is a little slower by it at most")


def test_parameters_that_no_gradient_reaches_are_named() -> None:
    network = Net(lambda net, out: out + net.dead(out.relu() * 0).detach(), spare=nn.Linear(3, 3), dead=nn.Linear(4, 4))
    assert found(network).sentence == (
        "4 of 6 parameter tensors cannot learn from a batch of 64 images: "
        "the loss does not depend on network.spare.weight, network.spare.bias, network.dead.weight and network.dead.bias; "
        "use them in forward without detach() or no_grad(), mend a ReLU that is always at 0, "
        "or freeze or remove what is not to be trained"
    )
    off = Net(lambda net, out: out + net.after(F.relu(net.before(out) - 1000)), before=nn.Linear(4, 4), after=nn.Linear(4, 4))
    assert found(off).evidence == (
        "3 of 6 parameter tensors cannot learn from a batch of 64 images: "
        "the gradient is exactly zero for network.before.weight, network.before.bias and network.after.weight"
    )


def test_frozen_parameters_are_counted_and_a_head_that_begins_at_zero_is_let_pass() -> None:
    network = linear()
    for parameter in network[3].parameters():
        nn.init.zeros_(parameter)
    quick, whole = look(network)
    assert (quick, whole.findings) == ([], ())
    assert not any(parameter.any() for parameter in network[3].parameters())
    network = linear()
    network[1].requires_grad_(False)
    quick, whole = look(network)
    assert (quick, whole.findings, whole.skipped, whole.frozen) == ([], (), SMALL, 64 * 16 + 16)
    spare = Net(lambda net, out: out, spare=nn.Linear(3, 3).requires_grad_(False))
    assert look(spare)[1].findings == ()


def test_dropout_that_stays_on_in_evaluation_mode() -> None:
    one = found(Net(lambda net, out: F.dropout(out, 0.5)))
    assert one.check == "random-evaluation"
    start = "in evaluation mode two passes over the same 64 images give outputs that differ by up to "
    assert one.evidence.startswith(start)
    assert 0.1 < float(one.evidence.removeprefix(start)) < 10
    assert one.advice == "turn dropout off there: nn.Dropout does it, and F.dropout needs training=self.training"


def test_outputs_that_depend_on_the_rest_of_the_batch() -> None:
    one = found(Net(lambda net, out: F.batch_norm(out, None, None, training=True)))
    assert one.check == "batch-dependence"
    start, end = (
        "in evaluation mode the outputs of 64 images change by up to ",
        " where these come in two halves: an image's output depends on the others of its batch",
    )
    assert one.evidence.startswith(start)
    assert one.evidence.endswith(end)
    assert float(one.evidence.removeprefix(start).removesuffix(end)) > 0.01


def test_outputs_that_differ_by_rounding_alone_are_let_pass() -> None:
    quick, whole = look(Net(lambda net, out: out * (1 + 1e-6 * len(out))))
    assert (quick, whole.findings) == ([], ())


def test_a_few_outputs_of_exactly_0_are_enough() -> None:
    logits = torch.ones(50, 4)
    assert check_clipped(logits, CLASSES) is None
    logits[0, 0] = 0
    assert check_clipped(logits, CLASSES) is None
    logits[1:4, 0] = 0
    one = check_clipped(logits, CLASSES)
    assert one is not None
    assert one.evidence.startswith("no output is below 0 and 2 % are exactly 0, as after a ReLU, over 50 images; a class")
    assert check_clipped(logits - 1, CLASSES) is None


def test_outputs_that_are_clipped_or_stuck_are_told_of_but_not_at_every_start() -> None:
    quick, whole = look(Net(lambda net, out: F.relu(out - torch.tensor([9.0, 0.0, 0.0, 0.0]))))
    assert quick == []
    [one] = whole.findings
    assert one.check == "clipped-outputs"
    zeros = one.evidence.removeprefix("no output is below 0 and ").split("%")[0]
    assert one.evidence == (
        f"no output is below 0 and {zeros}% are exactly 0, as after a ReLU, over 64 images, "
        "those of class ant for every image; a class that stays at 0 for every image gets no gradient and is never predicted"
    )
    assert 25 <= int(zeros) < 90
    quick, whole = look(Net(lambda net, out: out * torch.tensor([1.0, 1.0, 0.0, 1.0]) - 0.1))
    assert quick == []
    assert whole.findings[0].evidence == "the output of class cow is the same for all 64 images and has no gradient"


def test_stuck_outputs_of_a_trained_model() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 0.0], [0.0, 1.0, 3.0, 1e-30]])
    assert stuck_outputs(logits) == [0, 1]
    assert stuck_outputs(logits[:1]) == []


def test_labels_that_no_class_has_are_found_in_a_subset_and_in_a_sample() -> None:
    wrong = Images(images(200, 0).x, torch.arange(200) % 5)
    quick, whole = look(linear(), splits(Subset(wrong, range(150))))
    assert [each.check for each in quick] == ["labels"]
    assert quick[0].sentence == (
        "30 of 150 labels of the train split are outside 0 to 3, as 4 is, and there are 4 classes; "
        "count the classes from 0, and name every class"
    )
    assert whole.findings[0] == quick[0]
    assert any(each.startswith("the first loss: IndexError: Target 4 is out of bounds") for each in whole.skipped)
    below = check_labels("valid", torch.tensor([0, -1, 3, -1]), CLASSES)
    assert below is not None
    assert below.evidence.startswith("2 of 4 labels of the valid split are outside 0 to 3, as -1 is,")
    streamed = look(linear(), splits(Slow(wrong)))
    assert streamed[0] == []
    rows = random.Random(0).sample(range(200), 64)
    assert streamed[1].findings[0].evidence.startswith(f"{sum(row % 5 == 4 for row in rows)} of 64 labels of the train split")


class Slow(Dataset[Any]):
    """A data set that is not in memory: each image is made as it is asked for, and asking can fail."""

    def __init__(self, images: Images, error: Exception | None = None) -> None:
        self.images, self.error, self.asked = images, error, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.images[row]


class Stream(IterableDataset[Any]):
    def __len__(self) -> int:
        return 200

    def __iter__(self) -> Any:
        raise AssertionError("a stream can be read only once")


def test_what_is_not_in_memory_is_left_alone_at_the_start_and_said_to_be_so() -> None:
    slow = Slow(images(200, 0))
    quick, whole = look(linear(nn.Softmax(dim=1)), splits(slow))
    assert [each.check for each in quick] == [each.check for each in whole.findings] == ["softmax"]
    assert slow.asked == 64
    assert whole.skipped == ("the same picture in two splits: not all pictures are in memory", *SMALL)
    quick, whole = look(linear(nn.Softmax(dim=1)), splits(Stream()))
    assert [each.check for each in quick] == ["softmax"]
    assert (whole.findings, whole.images, whole.first_loss, whole.mean) == ((), 0, None, None)
    assert whole.skipped[0] == "the training images: they are a stream"


def test_a_part_that_makes_its_images_as_they_are_asked_for_is_not_in_memory() -> None:
    class Turned(TensorDataset):
        def __getitem__(self, row: Any) -> Any:
            x, y = super().__getitem__(row)  # type: ignore[no-untyped-call]
            return x.flip(-1), y

    plain = images(40, 0)
    assert in_memory(plain)
    assert in_memory(ConcatDataset([plain, Subset(plain, [3])]))
    assert not in_memory(Turned(*plain.tensors))
    assert not in_memory(ConcatDataset([plain, Slow(plain)]))


def test_all_images_are_the_sample_where_there_are_fewer() -> None:
    data = splits()
    model = Classifier(data.preprocess, linear(), data.classes, data.image_shape)
    assert examine(model, data, CE, images=500).images == 200


def test_the_same_picture_in_two_splits() -> None:
    train, valid, test = images(200, 0), images(40, 1), images(40, 2)
    test.x[7] = train.x[120]
    test.x[9] = valid.x[3]
    valid.x[11] = train.x[121]
    one = found(linear(), splits(train, valid=valid, test=test))
    assert one.sentence == (
        "1 of 40 validation images and 2 of 40 test images are in an earlier split of the data too, pixel for pixel: "
        "training image 121 and validation image 11 are the same, for one; "
        "keep each picture in one split, as the figures on held-out images are too good by it"
    )
    between = images(40, 1)
    later = images(40, 2)
    later.x[9] = between.x[3]
    assert found(linear(), splits(valid=between, test=later)).evidence.endswith(
        "validation image 3 and test image 9 are the same, for one"
    )
    [joined] = look(linear(), splits(ConcatDataset([images(200, 0), between]), test=later))[1].findings
    assert joined.evidence.endswith("training image 200 and validation image 0 are the same, for one")
    named = Images(test.x, test.y, [f"t/{row}.png" for row in range(40)])
    subsets = splits(Subset(train, range(100, 200)), valid=images(40, 1), test=named)
    [one] = look(linear(), subsets)[1].findings
    assert one.evidence.endswith(": training image 20 and t/7.png are the same, for one")
    floats = [Images(part.x.float() / 255, part.y) for part in (train, valid, test)]
    assert found(linear(), splits(floats[0], Preprocess(0.0, 1.0), valid=floats[1], test=floats[2])).check == "duplicates"


def test_pictures_that_are_files_are_compared_on_request_alone() -> None:
    train = images(200, 0)
    valid = Images(train.x[:40], train.y[:40], [f"{row}.png" for row in range(40)])
    quick, whole = look(linear(), splits(train, valid=valid))
    assert (quick, [each.check for each in whole.findings]) == ([], ["duplicates"])


def test_a_few_twins_are_told_of_on_request_alone() -> None:
    train, valid = images(200, 0), images(2000, 1)
    valid.x[5] = train.x[6]
    quick, whole = look(linear(), splits(train, valid=valid))
    assert (quick, [each.check for each in whole.findings]) == ([], ["duplicates"])
    valid.x[6] = train.x[7]
    assert found(linear(), splits(train, valid=valid)).evidence.startswith("2 of 2,000 validation images are")


def test_how_far_inputs_may_be_from_0_and_1() -> None:
    for mean, std, word in ((4.0, 1.0, "far too large"), (0.0, 6.0, "far too large"), (0.0, 0.04, "hardly differ")):
        one = check_inputs(mean, std, 64)
        assert one is not None
        assert word in one.evidence
    for mean, std in ((2.0, 1.0), (0.0, 3.0), (0.0, 0.1)):
        assert check_inputs(mean, std, 64) is None
        one = check_inputs(mean, std, 64, strict=True)
        assert one is not None
        assert one.evidence.endswith("wanted near 0 and 1: training is a little slower by it at most")
    assert check_inputs(0.5, 0.25, 64, strict=True) is None


def test_classes_that_are_missing_or_nearly_alone() -> None:
    def only(y: Tensor) -> Any:
        quick, whole = look(linear(), splits(Images(images(200, 0).x, y)))
        assert quick == []
        return [each.sentence for each in whole.findings]

    assert only(torch.arange(200) % 2 * 2) == [
        "2 of 4 classes have no training image: bee and dog; add images, or leave the class out: it cannot be learned"
    ]
    most = torch.full((200,), 2)
    most[:3] = torch.tensor([0, 1, 3])
    assert only(most) == [
        "class cow has 98.50% of the 200 training images, so a model that always says it is right as often; "
        "look at the accuracy of each class, and balance them: -d fraction=... takes as many of each"
    ]


def test_a_model_that_raises_in_a_check_has_no_finding_and_errors_of_our_own_pass() -> None:
    def fails(net: Net, out: Tensor) -> Tensor:
        if len(out) != 200:
            raise ValueError("wanted 200 images")
        return out

    quick, whole = look(Net(fails))
    assert (quick, whole.findings) == ([], ())
    assert whole.skipped[0] == "the outputs: ValueError: wanted 200 images"
    with pytest.raises(DataError, match=r"^it is gone$"):
        look(linear(), splits(Slow(images(200, 0), DataError("it is gone"))))


def test_what_a_model_warns_of_is_no_fault_here() -> None:
    def warns(net: Net, out: Tensor) -> Tensor:
        warnings.warn("a deprecated way", stacklevel=1)
        return out

    quick, whole = look(Net(warns))
    assert (quick, whole.findings, whole.skipped) == ([], (), SMALL)


def test_preprocessing_may_work_in_place() -> None:
    class InPlace(Preprocess):
        def forward(self, x: Tensor) -> Tensor:
            return x.sub_(self.mean).div_(self.std)

    floats = [Images(part.x.float(), part.y) for part in (images(200, 0), images(40, 1), images(40, 2))]
    parts = {"train": floats[0], "valid": floats[1], "test": floats[2]}
    whole, other = (look(linear(), splits(preprocess=kind(100.0, 50.0), **parts))[1] for kind in (InPlace, Preprocess))
    assert whole == other


def test_large_images_and_large_models_make_the_first_look_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen() -> str:
        [one] = look(Net(lambda net, out: 50 * out))[0]
        return one.evidence.partition(" over ")[2].partition(",")[0]

    assert seen() == "64 images"
    monkeypatch.setattr(checks, "_QUICK_VALUES", 12 * 64)
    assert seen() == "12 images"
    monkeypatch.setattr(checks, "_QUICK_WEIGHTS", 10 * (64 * 4 + 4))
    assert seen() == "10 images"
    monkeypatch.setattr(checks, "_QUICK_WEIGHTS", 1)
    assert seen() == "8 images"


class Restless(nn.Module):
    """A model that changes its buffers, counts its calls, and draws from every generator, in either mode."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.norm, self.lin = nn.BatchNorm1d(64), nn.Linear(64, 4)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.add_(1)
        noise = random.random() + float(np.random.rand()) + torch.rand(())
        normed = F.batch_norm(x.flatten(1), self.norm.running_mean, self.norm.running_var, training=True)
        out: Tensor = self.lin(self.norm(normed)) + noise
        return out


def test_no_trace_is_left_in_the_model_and_the_generators() -> None:
    data = splits()
    network = Restless()
    model = Classifier(data.preprocess, network, data.classes, data.image_shape)
    network.norm.eval()
    network.lin.weight.grad = torch.full_like(network.lin.weight, 0.5)
    before = copy.deepcopy(model)
    x = data.train.x.clone()  # type: ignore[attr-defined]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    assert {each.check for each in quick_check(model, data, CE)} == {"random-evaluation"}
    check(model, data, CE)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), states[2], strict=True))
    for (name, was), now in zip(before.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(was, now), name
    assert [each.training for each in before.modules()] == [each.training for each in model.modules()]
    assert torch.equal(network.lin.weight.grad, torch.full_like(network.lin.weight, 0.5))
    assert (network.calls, network.lin.bias.grad, network.norm.weight.grad) == (0, None, None)
    assert torch.equal(data.train.x, x)  # type: ignore[attr-defined]
