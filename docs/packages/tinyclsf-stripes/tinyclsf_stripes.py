"""Two classes of striped images."""

import torch

from tinyclsf.plugin import Images, Preparation, Splits, prepared, scripted


@scripted("tinyclsf_stripes_script:reader")
@prepared
def stripes(prepare: Preparation, *, size: int = 16) -> Splits:
    """Upright against lying stripes, with noise.

    Shapes: x (n, 1, size, size) uint8 in 0..255; y (n,) int64 in 0..1.
    """
    train, test = (Images(*draw(n, size, seed)) for n, seed in ((2200, 0), (200, 1)))
    return prepare.splits(train, test, ("upright", "lying"))


def draw(n: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n images and their labels."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    upright = (torch.arange(size) % 4 < 2).expand(size, size) * 160
    lines = torch.where(y.view(-1, 1, 1) == 0, upright, upright.T)
    noise = torch.randint(96, (n, size, size), generator=generator)
    return (lines + noise).to(torch.uint8).unsqueeze(1), y
