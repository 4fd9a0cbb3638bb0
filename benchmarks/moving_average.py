"""What a moving average of the weights costs the processor in each step, as many parameters as ResNet-50 has but small ones,
so that the calls are timed and not the memory: ours and PyTorch's, in turn."""

from pairs import compare
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tinyclsf.loop.steps import MovingAverage

PARAMETERS, STEPS, DECAY = 161, 100, 0.999


def follow(average: AveragedModel, model: nn.Module) -> None:
    for _ in range(STEPS):
        average.update_parameters(model)


if __name__ == "__main__":
    model = nn.ParameterList([nn.Parameter(nn.Linear(8, 8).weight.data) for _ in range(PARAMETERS)])
    averages = {
        "AveragedModel": AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY)),
        "AveragedModel, one by one": AveragedModel(model, avg_fn=lambda own, other, _: own.lerp(other, 1 - DECAY)),
        "tinyclsf": MovingAverage(model, DECAY),
    }
    ways = {name: lambda average=average: follow(average, model) for name, average in averages.items()}
    compare(f"{STEPS} steps of {PARAMETERS} parameters", ways, rounds=9)
