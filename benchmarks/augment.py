"""An epoch of CIFAR-sized batches, flipped and cropped: whole batches against torchvision's transforms, image by image.

50,000 x 3 x 32 x 32 uint8 in batches of 128; torchvision's run in a DataLoader with 2 workers, as its examples do.
"""

from __future__ import annotations

import torch
from pairs import compare
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tinyclsf.augment.named import Augmentation
from tinyclsf.batches.loaders import loader
from tinyclsf.data import Images


class Transformed(Dataset):
    """Each image through a transform, one by one."""

    def __init__(self, images: Images, *first: v2.Transform, last: v2.Transform) -> None:
        self.images = images
        self.transform = v2.Compose([*first, v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4), last])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.images[index]
        return self.transform(x), y


def run_through(dl: DataLoader, augment=lambda x, y: (x, y)) -> None:
    for xb, yb in dl:
        augment(xb, yb)


if __name__ == "__main__":
    images = Images(torch.randint(256, (50_000, 3, 32, 32), dtype=torch.uint8), torch.randint(10, (50_000,)))
    # `torchvision.datasets.CIFAR10` gives PIL pictures; tensors are the quickest that its transforms can work on.
    pictures = Transformed(images, v2.ToPILImage(), last=v2.PILToTensor())
    tensors = Transformed(images, last=v2.Identity())
    by_batch = loader(images, 128, shuffle=True)
    augment = Augmentation("flip,crop", 10)
    ways = {
        "torchvision, PIL pictures, 2 workers": lambda: run_through(DataLoader(pictures, 128, shuffle=True, num_workers=2)),
        "torchvision, tensors, 2 workers": lambda: run_through(DataLoader(tensors, 128, shuffle=True, num_workers=2)),
        "tinyclsf, whole batches": lambda: run_through(by_batch, augment),
    }
    compare("an epoch of augmented batches", ways, rounds=5)
