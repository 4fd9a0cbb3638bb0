"""Images a second of each augmentation on photographs: whole batches against torchvision's transforms, image by image.

Batches of 64 x 3 x 224 x 224 uint8; torchvision's run in a DataLoader with 2 workers that are kept, both from images in memory.
"""

from __future__ import annotations

import sys

import torch
from pairs import compare
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tinyclsf.augment.named import Augmentation
from tinyclsf.batches.loaders import loader
from tinyclsf.data import Images

SIDE, BATCH, BATCHES = 224, 64, 4
LINEAR = v2.InterpolationMode.BILINEAR
# torchvision's with the same amounts; its rotation leaves the corners black.
TRANSFORMS = {
    "resized-crop": v2.RandomResizedCrop(SIDE),
    "jitter": v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
    "grey": v2.RandomGrayscale(0.2),
    "rotate": v2.RandomRotation(15, LINEAR),
    "affine": v2.RandomAffine(10, (1 / 16, 1 / 16), (0.9, 1.1), 5, LINEAR),
    "erase": v2.RandomErasing(0.5),
    "blur": v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5),
    "trivialaugment": v2.TrivialAugmentWide(interpolation=LINEAR),
    "randaugment": v2.RandAugment(interpolation=LINEAR),
}
TOGETHER = "resized-crop,flip,jitter,grey,blur"  # as in self-supervised learning


class Transformed(Dataset):
    """Each image through a transform, one by one."""

    def __init__(self, images: Images, transform: v2.Transform) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.images[index]
        return self.transform(x), y


def run_through(dl: DataLoader, augment=lambda x, y: (x, y)) -> None:
    for xb, yb in dl:
        augment(xb, yb)


if __name__ == "__main__":
    # Smooth, as photographs are.
    coarse = torch.rand(BATCH * BATCHES, 3, 14, 14)
    pixels = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp_(0, 1).mul_(255).to(torch.uint8)
    images = Images(pixels, torch.randint(10, (len(pixels),)))
    by_batch = loader(images, BATCH, shuffle=True)
    first = TRANSFORMS["resized-crop"]
    TRANSFORMS[TOGETHER] = v2.Compose(
        [first, v2.RandomHorizontalFlip(), *(TRANSFORMS[name] for name in ("jitter", "grey", "blur"))]
    )
    for name in sys.argv[1:] or TRANSFORMS:
        workers = DataLoader(Transformed(images, TRANSFORMS[name]), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
        augment = Augmentation(name, 10)
        ways = {
            "torchvision, tensors, 2 workers": lambda dl=workers: run_through(dl),
            "tinyclsf, whole batches": lambda augment=augment: run_through(by_batch, augment),
        }
        compare(f"{name}: {len(images)} images of {SIDE} x {SIDE}", ways, rounds=5)
