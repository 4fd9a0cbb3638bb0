"""How a script reads a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyclsf.plugin import ScriptReader, as_source


def reader(
    content: Mapping[str, Any], *, data_dir: Path, size: int, channels: int, seed: int, **others: object
) -> ScriptReader | None:
    """With Pillow, all pictures at once; None where they were not held in memory."""
    if content["train_checksum"] is None:
        return None
    has_splits = (data_dir / "train").is_dir() and any(each.is_dir() for each in (data_dir / "train").iterdir())
    folders = {"train": "train", "valid": "val" if (data_dir / "val").is_dir() else "valid", "test": "test"}
    splits = {name: folder for name, folder in folders.items() if has_splits and (data_dir / folder).is_dir()}
    mode, shape = ("RGB", "SIZE, SIZE, 3") if channels == 3 else ("L", "SIZE, SIZE, 1")
    code = f'''
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import TensorDataset

from tinyclsf.plugin import stratified

DATA = Path({as_source(str(data_dir))})
SIZE = {size}  # pixels
{_on_lines([as_source(name) for name in content["classes"]], "CLASSES = ")}


def read_picture(path: Path) -> Tensor:
    """The middle square of a picture, {"in colour" if channels == 3 else "in grey"}: ({channels}, SIZE, SIZE) uint8."""
    with Image.open(path) as image:
        image.draft(None, (3 * SIZE, 3 * SIZE))  # a large JPEG is decoded at a half, a quarter or an eighth
        image = ImageOps.exif_transpose(image)  # turned as the camera was held
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        image = image.convert("{mode}")
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    if side == SIZE:  # nothing is scaled then, and whole pixels are cut off
        left, top = int(left), int(top)
    box = (left, top, left + side, top + side)
    square = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box, reducing_gap=3)
    return torch.from_numpy(np.array(square).reshape({shape})).permute(2, 0, 1)


def read_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """All pictures in folder/CLASS, class after class and by name, with the numbers of their classes."""
    pictures, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).rglob("*"), key=str):
            if path.suffix.lower() in Image.registered_extensions():
                pictures.append(read_picture(path))
                labels.append(label)
    return torch.stack(pictures), torch.tensor(labels)


def load_data() -> tuple[TensorDataset, ...]:
    """The pictures to train and to validate with{", and to test" if content.get("test") else ""}."""
{_loading(splits, seed)}
'''
    return ScriptReader(code, f"pictures in {data_dir}, read by the script", data_dir)


def _loading(folders: Mapping[str, str], seed: int) -> str:
    """The lines of `load_data` for the folders that the splits are in."""
    sets = {split: f'TensorDataset(*read_folder(DATA / "{folder}"))' for split, folder in folders.items()}
    if "valid" in sets:
        line = f"    return {', '.join(sets.values())}"
        if len(line) > 128:
            line = "    return (\n" + "".join(f"        {each},\n" for each in sets.values()) + "    )"
        return line
    folder = 'DATA / "train"' if "train" in sets else "DATA"
    test = f", {sets['test']}" if "test" in sets else ""
    return f"""    x, y = read_folder({folder})
    held_out = stratified(y, len(y) // 5, seed={seed})  # a fifth of every class validates
    rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, held_out, False)
    return TensorDataset(x[rest], y[rest]), TensorDataset(x[held_out], y[held_out]){test}"""


def _on_lines(values: list[str], before: str) -> str:
    """A list as Python source after some text, on one line where it fits."""
    line = f"{before}[{', '.join(values)}]"
    return line if len(line) <= 128 else f"{before}[\n" + "".join(f"    {each},\n" for each in values) + "]"
