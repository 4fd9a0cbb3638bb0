"""Photographs to squares of 224 pixels, and the classes of many files: tinyclsf beside torchvision and simplejpeg.

    python benchmarks/decoding.py folder FOLDER
    python benchmarks/decoding.py one FILE...
    python benchmarks/decoding.py predict RUN FOLDER

`folder` decodes all of FOLDER/CLASS/*: image-folder, and a `DataLoader` with 2 workers over torchvision's ImageFolder, with its
transforms of Pillow's pictures or with its own decoder and resize of tensors. `one` decodes some files one after the other in
one thread, by simplejpeg too if it is installed. `predict` names the classes of FOLDER/*/* with the network of RUN:
`predict_files`, and a plain loop over ImageFolder with 2 workers. The ways take turns; ratios are those of each round.
"""

import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pairs import compare
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from tinyclsf import load_run, predict_files
from tinyclsf.pictures.picture import read_picture
from tinyclsf_plugins.datasets.image_folder import image_folder

SIZE, WORKERS, ROUNDS = 224, 2, 5


def by_torchvision(path: str, size: int = SIZE) -> torch.Tensor:
    x = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)
    return v2.functional.center_crop(v2.functional.resize(x, [size], antialias=True), [size]).contiguous()


def by_pillow(path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return v2.functional.pil_to_tensor(
            v2.functional.center_crop(v2.functional.resize(image.convert("RGB"), [SIZE]), [SIZE])
        )


def by_simplejpeg(path: str) -> torch.Tensor:
    """Decoded at the smallest part of its size that is large enough; then a mean over areas."""
    import simplejpeg

    pixels = simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB", min_height=SIZE, min_width=SIZE, min_factor=1)
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = Image.fromarray(pixels[top : top + side, left : left + side])
    return v2.functional.pil_to_tensor(middle.resize((SIZE, SIZE), Image.Resampling.BOX))


def each(decode, files: list[str]) -> None:
    for path in files:
        decode(path)


def batches(folder: Path, load, transform=None, size: int = 256) -> DataLoader:
    return DataLoader(ImageFolder(folder, transform, loader=load), size, num_workers=WORKERS)


def compare_folders(folder: Path) -> None:
    def read(loader: DataLoader) -> None:
        for _ in loader:
            pass

    ways = {
        "torchvision, Pillow, 2 workers": lambda: read(batches(folder, by_pillow)),
        "torchvision, its decoder, 2 workers": lambda: read(batches(folder, by_torchvision)),
        "image-folder": partial(image_folder, data_dir=folder, size=SIZE, cache="off"),
    }
    compare(f"{len(list(folder.glob('*/*'))):,} photographs, {SIZE} pixels", ways, rounds=ROUNDS)


def compare_one(files: list[str]) -> None:
    decoders = {"Pillow, torchvision's transforms": by_pillow, "torchvision's decoder and resize": by_torchvision}
    try:
        by_simplejpeg(files[0])
        decoders["simplejpeg, scaled decoding, area"] = by_simplejpeg
    except ImportError:
        pass
    decoders["read_picture"] = partial(read_picture, size=SIZE, channels=3)
    torch.set_num_threads(1)
    compare(f"{len(files)} files", {name: partial(each, way, files) for name, way in decoders.items()}, rounds=4 * ROUNDS)


def compare_predictions(run: Path, folder: Path) -> None:
    model = load_run(run).model.eval()
    size, batch_size = model.image_shape[1], 128

    def plain(load) -> None:
        found = []
        with torch.no_grad():
            for xb, _ in batches(folder, load, size=batch_size):
                found.append(F.softmax(model(xb), dim=1))
        torch.cat(found)

    def fit(path: str) -> torch.Tensor:
        with Image.open(path) as image:
            image = v2.functional.center_crop(v2.functional.resize(image.convert("RGB"), [size]), [size])
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    ways = {
        "a plain loop, Pillow, 2 workers": partial(plain, fit),
        "a plain loop, torchvision's decoder": partial(plain, partial(by_torchvision, size=size)),
        "predict_files": lambda: list(predict_files(model, folder, batch_size=batch_size)),
    }
    compare(f"{len(list(folder.glob('*/*'))):,} pictures, {size} pixels", ways, rounds=ROUNDS)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    what, *rest = sys.argv[1:]
    if what == "folder":
        compare_folders(Path(rest[0]))
    elif what == "one":
        compare_one(rest)
    elif what == "predict":
        compare_predictions(Path(rest[0]), Path(rest[1]))
