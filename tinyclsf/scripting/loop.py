"""The training loop of a run as plain PyTorch: only what the run uses stands in it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tinyclsf.recipes import AUGMENTATIONS, MIXTURES, STEPPED_BY_EPOCH, mse, optimizers, parse_augment
from tinyclsf.registry.scripted import as_source
from tinyclsf.scripting.sources import Sources, sources_of

_SCHEDULERS = {
    "one-cycle": "OneCycleLR",
    "cosine": "CosineAnnealingLR",
    "step": "StepLR",
    "exponential": "ExponentialLR",
    "plateau": "ReduceLROnPlateau",
}


class Loop:
    """The code of a run's training by its settings; `held_out` is the part that the best weights are scored on."""

    def __init__(self, settings: Mapping[str, Any], image_shape: tuple[int, ...], num_classes: int, held_out: str) -> None:
        self.of = settings
        self.side = min(image_shape[1:])
        self.num_classes = num_classes
        self.held_out = held_out
        self.device = settings["device"].partition(":")[0]
        self.moves = self.device != "cpu"
        self.schedule = settings["schedule"]
        self.by_epoch = self.schedule in STEPPED_BY_EPOCH
        self.by_batch = self.schedule != "none" and not self.by_epoch
        self.augments = parse_augment(settings["augment"])
        self.imports = ["import copy", "import sys", "import torch", "from torch import nn"]
        self.imports.append("from torch.utils.data import DataLoader, TensorDataset")

    def constants(self) -> str:
        """The settings that a person may want to change, at the top."""
        lines = [f"EPOCHS = {self.of['epochs']}", f"BATCH_SIZE = {self.of['batch_size']}"]
        lines.append(f"LEARNING_RATE = {self.of['lr']!r}{self._peak()}")
        if self.of["accumulate"] > 1:
            lines.append(f"ACCUMULATE = {self.of['accumulate']}  # batches whose gradients make one step")
        if self.of["patience"] is not None:
            lines.append(f"PATIENCE = {self.of['patience']}  # epochs in a row without a new best, after which training ends")
        lines.append(f"SEED = {self.of['seed']}")
        if self.moves:
            lines.append(f"DEVICE = {as_source(self.of['device'])}")
        return "\n".join(lines)

    def sources(self) -> Sources:
        """The functions of the loop, the augmentation and the loss among them."""
        code: dict[str, str] = {}
        if self.of["loss"] == "mse":
            code |= self._taken(mse)
        elif self._cross_entropy:
            self.imports.append("from torch.nn import functional as F")
        if self.augments:
            code |= self._augment()
        code["train_epoch"] = self._train_epoch()
        code["evaluate"] = self._evaluate()
        code["main"] = self._main()
        return Sources(self.imports, code)

    @property
    def _cross_entropy(self) -> bool:
        return bool(self.of["loss"] == "cross-entropy")

    def _peak(self) -> str:
        return "  # the highest of the schedule" if self.schedule == "one-cycle" else ""

    def _taken(self, *functions: Any) -> dict[str, str]:
        sources = sources_of(*functions)
        self.imports += sources.imports
        return sources.definitions

    def _augment(self) -> dict[str, str]:
        changes = [AUGMENTATIONS[name](self.side) for name in self.augments if name in AUGMENTATIONS]
        code = self._taken(*(change.func for change in changes)) if changes else {}
        lines = [f"    x = {_call(change)}" for change in changes]
        mixtures = [MIXTURES[name] for name in self.augments if name in MIXTURES]
        if mixtures:
            self.imports += ["from torchvision.transforms import v2", "from torch import Tensor"]
            made = [f"v2.{name}(alpha={alpha}, num_classes={self.num_classes})" for name, alpha in mixtures]
            if len(made) == 1:
                code["mix"] = f"mix = {made[0]}"
                lines.append("    return mix(x.float(), y)")
            else:
                code["mix"] = f"mixtures = [{', '.join(made)}]"
                lines.append(f"    mix = mixtures[torch.randint({len(made)}, ())]  # each batch is mixed in one way")
                lines.append("    return mix(x.float(), y)")
        else:
            self.imports.append("from torch import Tensor")
            lines.append("    return x, y")
        doc = "A batch of training images, each changed at random"
        if mixtures:
            doc += "; images are mixed, and their labels become shares of each class"
        signature = "def augment(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:"
        code["augment"] = "\n".join([signature, f'    """{doc}."""', *lines])
        return code

    def _loss(self, out: str, *, training: bool) -> str:
        if not self._cross_entropy:
            return f"mse({out}, yb)"
        smoothing = self.of.get("label_smoothing") or 0.0
        return f"F.cross_entropy({out}, yb{f', label_smoothing={smoothing!r}' if training and smoothing else ''})"

    def _train_epoch(self) -> str:
        accumulate, clip, averages = self.of["accumulate"] > 1, self.of["clip_norm"], self.of["ema_decay"] is not None
        parameters = ["model: nn.Module", "train_dl: DataLoader", "opt: torch.optim.Optimizer"]
        if self.by_batch:
            parameters.append("schedule: LRScheduler")
            self.imports.append("from torch.optim.lr_scheduler import LRScheduler")
        if averages:
            parameters.append("average: AveragedModel")
        step = ["opt.step()", "opt.zero_grad()"]
        if clip is not None:
            step.insert(0, f"nn.utils.clip_grad_norm_(model.parameters(), {clip!r})  # no longer step than that")
        if self.by_batch:
            step.append("schedule.step()  # a new learning rate for every step")
        if averages:
            step.append("average.update_parameters(model)")
        body = []
        if self.moves:
            body.append("xb, yb = xb.to(DEVICE), yb.to(DEVICE)")
        if self.augments:
            body.append("xb, yb = augment(xb, yb)")
        loss = f"loss = {self._loss('model(xb)', training=True)}"
        if self.of["precision"] == "bfloat16":
            device = "DEVICE" if self.moves else '"cpu"'
            body += [f"with torch.autocast({device}, torch.bfloat16):  # the weights stay in float32", f"    {loss}"]
        else:
            body.append(loss)
        if accumulate:
            body += [
                "(loss * len(xb)).backward()  # the sum over images: batches of a step may differ in size",
                "waiting += len(xb)",
                "if batch % ACCUMULATE == 0 or batch == len(train_dl):",
                "    for parameter in model.parameters():",
                "        if parameter.grad is not None:",
                "            parameter.grad.div_(waiting)  # and from the sum to the mean",
                *(f"    {line}" for line in [*step, "waiting = 0"]),
            ]
        else:
            body += ["loss.backward()", *step]
        body.append("total += loss.item() * len(xb)")
        loop = "for batch, (xb, yb) in enumerate(train_dl, start=1):" if accumulate else "for xb, yb in train_dl:"
        start = ["total = 0.0", *(["waiting = 0  # images whose gradients wait for a step"] if accumulate else [])]
        lines = [
            '"""Train on every image once, in random order, and return the mean loss."""',
            "model.train()",
            *start,
            loop,
            *(f"    {line}" for line in body),
            "return total / len(train_dl.dataset)",
        ]
        return _function("train_epoch", parameters, "float", lines)

    def _evaluate(self) -> str:
        lines = [
            '"""The mean loss of a model and the share of images whose class it finds."""',
            "model.eval()",
            "total, correct = 0.0, 0",
            "for xb, yb in dl:",
            *(["    xb, yb = xb.to(DEVICE), yb.to(DEVICE)"] if self.moves else []),
            "    out = model(xb)",
            f"    total += {self._loss('out', training=False)}.item() * len(xb)",
            "    correct += int((out.argmax(dim=1) == yb).sum())",
            "return total / len(dl.dataset), correct / len(dl.dataset)",
        ]
        return "@torch.no_grad()\n" + _function(
            "evaluate", ["model: nn.Module", "dl: DataLoader"], "tuple[float, float]", lines
        )

    def _main(self) -> str:
        test, averages = self.held_out == "test", self.of["ema_decay"] is not None
        model = "make_model()" + (".to(DEVICE)" if self.moves else "")
        lines = [f"train_ds, valid_ds{', test_ds' if test else ''} = load_data()", ""]
        lines += ["torch.manual_seed(SEED)  # what is random from here on: the first weights, and the order of the images"]
        lines += [f"model = {model}"]
        if self.of["memory_format"] == "channels_last":
            lines.append("model.to(memory_format=torch.channels_last)  # how weights lie in memory: convolutions are faster so")
        lines += [
            "train_dl = DataLoader(train_ds, BATCH_SIZE, shuffle=True)",
            "valid_dl = DataLoader(valid_ds, 2 * BATCH_SIZE)  # without gradients there is room for twice as many",
        ]
        lines += ["test_dl = DataLoader(test_ds, 2 * BATCH_SIZE)"] if test else []
        lines += [self._optimizer(), *self._scheduler()]
        trained = "model"
        if averages:
            self.imports.append("from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn")
            decay = self.of["ema_decay"]
            lines += [
                "# A moving average of the weights is what is evaluated and kept; of it this share stays at each step.",
                f"average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn({decay!r}))",
            ]
            trained = "average.module"
        arguments = ["model", "train_dl", "opt", *(["schedule"] if self.by_batch else []), *(["average"] if averages else [])]
        lines += [
            "",
            "best, best_epoch, best_weights = (-1.0, 0.0), 0, {}" if self._patience else "best, best_weights = (-1.0, 0.0), {}",
            "for epoch in range(1, EPOCHS + 1):",
            f"    train_loss = train_epoch({', '.join(arguments)})",
            f"    valid_loss, valid_accuracy = evaluate({trained}, valid_dl)",
            '    losses = f"train loss {train_loss:.4f}, valid loss {valid_loss:.4f}"',
            '    print(f"epoch {epoch}/{EPOCHS}: {losses}, valid accuracy {100 * valid_accuracy:.2f} %", flush=True)',
        ]
        if self.by_epoch:
            lines.append(f"    schedule.step({'valid_loss' if self.schedule == 'plateau' else ''})")
        assigned = "best, best_epoch, best_weights = score, epoch" if self._patience else "best, best_weights = score"
        lines += [
            "    score = (valid_accuracy, -valid_loss)  # the best epoch has the highest accuracy, then the lowest loss",
            "    if score > best:",
            f"        {assigned}, copy.deepcopy({trained}.state_dict())",
        ]
        if self._patience:
            lines += ["    elif epoch - best_epoch >= PATIENCE:", "        break"]
        lines += ["", f"{trained}.load_state_dict(best_weights)"]
        what, dl = ("test", "test_dl") if test else ("valid", "valid_dl")
        if not test:
            lines.append("# The data has no test part: the weights were chosen by these images, so this flatters them.")
        lines += [
            f"_, {what}_accuracy = evaluate({trained}, {dl})",
            f'print(f"{what} accuracy {{100 * {what}_accuracy:.2f}}{" % of the best weights" if not test else " %"}")',
            "if len(sys.argv) > 1:",
            f"    torch.save({trained}.state_dict(), sys.argv[1])",
        ]
        return _function("main", [], "None", lines)

    @property
    def _patience(self) -> bool:
        return self.of["patience"] is not None

    def _optimizer(self) -> str:
        cls = optimizers()[self.of["optimizer"]]
        defaults = {name: each.default for name, each in inspect.signature(cls).parameters.items()}
        given = {name: self.of[name] for name in ("momentum", "weight_decay") if name in self.of}
        more = "".join(f", {name}={value!r}" for name, value in given.items() if value != defaults[name])
        return f"opt = torch.optim.{cls.__name__}(model.parameters(), lr=LEARNING_RATE{more})"

    def _scheduler(self) -> list[str]:
        if self.schedule == "none":
            return []
        name = _SCHEDULERS[self.schedule]
        self.imports.append(f"from torch.optim.lr_scheduler import {name}")
        of = {key: repr(self.of[key]) for key in ("gamma", "step_size", "plateau_patience") if key in self.of}
        steps = "steps = EPOCHS * len(train_dl)"
        if self.of["accumulate"] > 1:
            steps = "steps = EPOCHS * -(-len(train_dl) // ACCUMULATE)  # what is left of an epoch makes a step too"
        if self.schedule == "one-cycle":
            comment = "# The learning rate rises to its highest, and falls to nearly nothing at the end."
            return [comment, steps, f"schedule = {name}(opt, LEARNING_RATE, total_steps=steps, cycle_momentum=False)"]
        if self.schedule == "cosine":
            return ["# The learning rate falls to 0 along half a cosine.", steps, f"schedule = {name}(opt, steps)"]
        arguments = {
            "step": f"step_size={of.get('step_size')}, gamma={of.get('gamma')}",
            "exponential": f"gamma={of.get('gamma')}",
            "plateau": f"factor={of.get('gamma')}, patience={of.get('plateau_patience')}",
        }[self.schedule]
        comment = {
            "step": "# The learning rate falls by a factor every so many epochs.",
            "exponential": "# The learning rate falls by a factor every epoch.",
            "plateau": "# The learning rate falls where the validation loss has not fallen for so many epochs.",
        }[self.schedule]
        return [comment, f"schedule = {name}(opt, {arguments})"]


def _call(change: functools.partial[Tensor]) -> str:
    return f"{change.func.__name__}(x{''.join(f', {name}={value!r}' for name, value in change.keywords.items())})"


def _function(name: str, parameters: list[str], returns: str, lines: list[str]) -> str:
    head = f"def {name}({', '.join(parameters)}) -> {returns}:"
    if len(head) > 128:
        head = f"def {name}(\n    {', '.join(parameters)}\n) -> {returns}:"
    return "\n".join([head, *(f"    {line}" if line else "" for line in lines)])
