"""How a script reads a folder of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyclsf.plugin import Fit, ScriptReader, as_source, picture_source
from tinyclsf_plugins.datasets.picture_files import split_folders


def reader(
    content: Mapping[str, Any], *, data_dir: Path, size: int, channels: int, fit: Fit, seed: int, **others: object
) -> ScriptReader:
    """With Pillow, all pictures at once."""
    splits = {split: each.name for split, each in split_folders(data_dir).items()} if data_dir.is_dir() else {}
    code = f'''
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from tinyclsf.plugin import stratified

DATA = Path({as_source(str(data_dir))})
{_on_lines([as_source(name) for name in content["classes"]], "CLASSES = ")}

{picture_source(size, channels, fit)}

def read_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """All pictures in folder/CLASS, class after class and by name, with the numbers of their classes."""
    pictures, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).rglob("*"), key=str):
            if path.suffix.lower() in Image.registered_extensions():
                pictures.append(torch.from_numpy(read_picture(path)))
                labels.append(label)
    return torch.stack(pictures), torch.tensor(labels)


def load_data() -> tuple[TensorDataset, ...]:
    """The pictures to train and to validate with{", and to test" if content.get("test") else ""}."""
{_loading(splits, seed)}
'''
    return ScriptReader(code, f"pictures in {data_dir}, read by the script", data_dir)


def _loading(folders: Mapping[str, str], seed: int) -> str:
    """The lines of `load_data` for the folders that the splits are in."""
    sets = {split: f"TensorDataset(*read_folder(DATA / {as_source(folder)}))" for split, folder in folders.items()}
    if "valid" in sets:
        line = f"    return {', '.join(sets.values())}"
        if len(line) > 128:
            line = "    return (\n" + "".join(f"        {each},\n" for each in sets.values()) + "    )"
        return line
    folder = f"DATA / {as_source(folders['train'])}" if folders else "DATA"
    test = f", {sets['test']}" if "test" in sets else ""
    return f"""    x, y = read_folder({folder})
    held_out = stratified(y, len(y) // 5, seed={seed})  # a fifth of every class validates
    rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, held_out, False)
    return TensorDataset(x[rest], y[rest]), TensorDataset(x[held_out], y[held_out]){test}"""


def _on_lines(values: list[str], before: str) -> str:
    """A list as Python source after some text, on one line if it fits."""
    line = f"{before}[{', '.join(values)}]"
    return line if len(line) <= 128 else f"{before}[\n" + "".join(f"    {each},\n" for each in values) + "]"
