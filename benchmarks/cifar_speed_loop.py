"""The published recipe for 93 % on CIFAR-10 in a plain loop, its figures kept, in bfloat16 on the CPU.

    python benchmarks/cifar_speed_loop.py FOLDER [SEED]

FOLDER has train/<class>/* and test/<class>/*. Source: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU",
arXiv 2404.00498, and its repository cifar10-airbench (airbench93).
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]

EPOCHS, BATCH_SIZE, WIDTHS = 11, 1024, (64, 128, 128)
MOMENTUM, SMOOTHING, BIAS_SHARE, BIAS_EPOCHS = 0.85, 0.2, 64, 3
_STEP = 1 + 1 / (1 - MOMENTUM)  # how much longer a step of Nesterov momentum is than its gradient
LEARNING_RATE, DECAY = 11.5 / _STEP, 0.0153 / _STEP  # for the mean of a batch; the decay does not depend on the rate
MEAN, STD = ([255 * value for value in each] for each in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))


def norm(width: int) -> nn.Module:
    """Batch norm without a scale that learns, whose statistics follow quickly."""
    layer = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer


def convolution(channels: int, width: int) -> nn.Module:
    """3x3, of which the first filters begin as the identity."""
    layer = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:channels])
    return layer


def network(x: Tensor) -> nn.Sequential:
    """The network, whose first layer whitens 2x2 patches of these images."""
    patches = F.unfold(x, 2).transpose(1, 2).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + 5e-4).sqrt()).T.flip(0).reshape(12, 3, 2, 2)
    first = nn.Conv2d(3, 24, 2)
    first.weight.requires_grad_(False).copy_(torch.cat([filters, -filters]))
    nn.init.zeros_(first.bias)  # type: ignore[arg-type]
    layers: list[nn.Module] = [first, nn.GELU()]
    channels = 24
    for width in WIDTHS:
        layers += [convolution(channels, width), nn.MaxPool2d(2), norm(width), nn.GELU()]
        layers += [convolution(width, width), norm(width), nn.GELU()]
        channels = width
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(channels, 10, bias=False))


def shifted(x: Tensor) -> Tensor:
    """Each image shifted by up to 2 pixels; what comes from outside is its mirror image."""
    windows = F.pad(x, (2, 2, 2, 2), mode="reflect").unfold(2, 32, 1).unfold(3, 32, 1)
    down, right = torch.randint(5, (2, len(x)))
    return windows[torch.arange(len(x)), :, down, right]


def train(x: Tensor, y: Tensor) -> nn.Module:
    """All epochs on normalized images."""
    model = network(x[torch.randperm(len(x))[:5000]]).to(memory_format=torch.channels_last).train()
    biases = [each.bias for each in model if isinstance(each, nn.BatchNorm2d)]
    others = [each for each in model.parameters() if each.requires_grad and all(each is not bias for bias in biases)]
    groups = [{"params": others, "lr": LEARNING_RATE, "weight_decay": DECAY / LEARNING_RATE}]
    groups += [{"params": biases, "lr": LEARNING_RATE * BIAS_SHARE, "weight_decay": DECAY / LEARNING_RATE / BIAS_SHARE}]
    opt = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    steps = EPOCHS * (len(x) // BATCH_SIZE)
    knots = [0, int(0.23 * steps), steps], [0.2, 1, 0.07]
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: float(np.interp(step, *knots)))
    slow: dict[str, Tensor] | None = None
    x = torch.where((torch.rand(len(x)) < 0.5).view(-1, 1, 1, 1), x.flip(3), x)
    start, made = time.perf_counter(), 0
    for epoch in range(EPOCHS):
        model[0].bias.requires_grad_(epoch < BIAS_EPOCHS)
        for rows in torch.randperm(len(x)).split(BATCH_SIZE)[: len(x) // BATCH_SIZE]:
            xb = shifted(x[rows])
            xb = (xb.flip(3) if epoch % 2 else xb).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(xb).float() / 9, y[rows], label_smoothing=SMOOTHING)
            loss.backward()  # type: ignore[no-untyped-call]
            opt.step()
            opt.zero_grad()
            schedule.step()
            made += 1
            if epoch >= 3 and made % 5 == 0:
                slow = follow(model, slow, 0.95**5 * (made / steps) ** 3)
        slow = slow and follow(model, slow, 1.0)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s", flush=True)
    return model.eval()


@torch.no_grad()
def follow(model: nn.Module, slow: dict[str, Tensor] | None, share: float) -> dict[str, Tensor]:
    """Lookahead: bring slow weights nearer to the model's, of which this share stays, and the model to those."""
    now = {name: each for name, each in model.state_dict().items() if each.is_floating_point()}
    if slow is None:
        return {name: each.clone() for name, each in now.items()}
    for name, each in now.items():
        each.copy_(slow[name].lerp_(each, 1 - share))
    return slow


@torch.no_grad()
def logits(model: nn.Module, x: Tensor, *, augmented: bool) -> Tensor:
    """The outputs for images; `augmented` is the mean over mirror images and two shifts, in which the middle counts half."""
    if not augmented:
        return torch.cat([model(part) for part in x.split(2000)])
    border = F.pad(x, (1, 1, 1, 1), mode="reflect")
    views = {x: 0.5, border[:, :, :32, :32]: 0.25, border[:, :, 2:, 2:]: 0.25}
    return sum(
        (share / 2 * (logits(model, view, augmented=False) + logits(model, view.flip(3), augmented=False)))
        for view, share in views.items()
    )  # type: ignore[return-value]


def images_of(folder: Path) -> tuple[Tensor, Tensor]:
    """Pictures as the network takes them, and their labels."""
    pictures = ImageFolder(folder)
    x = torch.from_numpy(np.stack([np.asarray(picture) for picture, _ in pictures])).permute(0, 3, 1, 2).float()
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), torch.tensor(pictures.targets)


def main() -> None:
    """Train and score."""
    folder, seed = Path(sys.argv[1]), int((sys.argv[2:] or ["0"])[0])
    (x, y), (x_test, y_test) = images_of(folder / "train"), images_of(folder / "test")
    torch.manual_seed(seed)
    start, used = time.perf_counter(), time.process_time()
    model = train(x, y)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    plain, augmented = (
        (logits(model, x_test, augmented=each).argmax(1) == y_test).float().mean() * 100 for each in (False, True)
    )
    print(f"plain loop, seed {seed}: test accuracy {plain:.2f} %, with flips and shifts {augmented:.2f} %", end="; ")
    print(f"training {seconds:.0f} s, of the processor {used:.0f} s", flush=True)


if __name__ == "__main__":
    main()
