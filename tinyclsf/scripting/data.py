"""How a script reads the data of a run: written out for the common data sets, from a file beside it for all others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tinyclsf.preparation import stratified
from tinyclsf.scripting.sources import Sources, sources_of

_LIKE_MNIST = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
_CIFAR = {"cifar10": ("CIFAR10", "cifar-10-batches-py"), "cifar100": ("CIFAR100", "cifar-100-python")}
_PLAIN = {"valid_ratio": None, "valid_size": None, "split": "auto", "fraction": 1.0}


class Reader(NamedTuple):
    """Code with a function `load_data` that gives the parts of the data as a `TensorDataset` each.

    `how` is that in a few words, `place` what has to be there for it.
    """

    sources: Sources
    how: str
    place: Path | None = None


def reader_of(name: str, options: Mapping[str, Any], content: Mapping[str, Any]) -> Reader | None:
    """The reader written out for a data set of tinyclsf with its options; None where it is not one of the common ones."""
    if any(options.get(key) != value for key, value in _PLAIN.items()):
        return None
    if name == "digits":
        return _digits(options)
    if name in _LIKE_MNIST or (name in _CIFAR and options.get("labels", "fine") == "fine"):
        return _torchvision(name, options)
    if name == "image-folder" and content.get("train_checksum") is not None:
        return _image_folder(options, content)
    return None


def reader_from_file(file: str, parts: list[str]) -> Reader:
    """The reader of tensors that were written beside the script."""
    code = f'''def load_data() -> tuple[TensorDataset, ...]:
    """The {_listed(parts)} images with their labels, as the run had them, from the file beside this one."""
    arrays = np.load(Path(__file__).with_name({text(file)}))
    return tuple(
        TensorDataset(torch.from_numpy(arrays[f"{{part}}_x"]), torch.from_numpy(arrays[f"{{part}}_y"]))
        for part in ({", ".join(map(text, parts))})
    )'''
    imports = ["from pathlib import Path", "import numpy as np"]
    return Reader(Sources(imports, {"load_data": code}), f"from {file} beside the script")


def text(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, str):
        quoted = repr(value)
        return quoted if quoted.startswith('"') or '"' in value else f'"{quoted[1:-1]}"'
    return f"Path({text(str(value))})" if isinstance(value, Path) else repr(value)


def _digits(options: Mapping[str, Any]) -> Reader:
    from tinyclsf.augment import random_affine

    sources = sources_of(random_affine)
    imports = [*sources.imports, "from sklearn.datasets import load_digits", "from torch.nn import functional as F"]
    framed = '''def framed(images: Tensor) -> Tensor:
    """Digits of 8x8 pixels, each 0 to 16, as MNIST frames its own: enlarged to 20x20 in the middle of 28x28, 0 to 255."""
    large = F.interpolate(images.float().unsqueeze(1), size=(20, 20), mode="bicubic", align_corners=False)
    return F.pad(large.mul_(255 / 16).round_().clamp_(0, 255).to(torch.uint8), (4, 4, 4, 4))'''
    jittered = '''def jittered(x: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` images, taken from the digits in turn, each moved in its own way."""
    chosen = torch.arange(size) % len(x)
    pieces = [
        random_affine(x[piece], degrees=12, translate=2, scale=0.12, shear=8, generator=generator)
        for piece in chosen.split(2048)
    ]
    return torch.cat(pieces)'''
    load = f'''def load_data() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """The digits of scikit-learn: 360 to validate, 360 to test, and of the other 1,077 jittered images to train on."""
    digits = load_digits()
    generator = torch.Generator().manual_seed({options["seed"]})
    order = torch.randperm(len(digits.target), generator=generator)
    x, y = framed(torch.from_numpy(digits.images))[order], torch.from_numpy(digits.target)[order]
    # Split before jittering: no relative of a held-out digit may be trained on.
    valid, test = TensorDataset(x[:360], y[:360]), TensorDataset(x[360:720], y[360:720])
    x, y = x[720:], y[720:]
    size = {options["train_size"]:_}
    train = TensorDataset(jittered(x, size, generator), y[torch.arange(size) % len(y)])
    return train, valid, test'''
    code = {**sources.definitions, "framed": framed, "jittered": jittered, "load_data": load}
    return Reader(Sources(imports, code), "digits of scikit-learn, read by the script")


def _torchvision(name: str, options: Mapping[str, Any]) -> Reader:
    set_name, folder = _CIFAR[name] if name in _CIFAR else (_LIKE_MNIST[name], f"{_LIKE_MNIST[name]}/raw")
    root = Path(options["data_dir"])
    if name in _CIFAR:
        pixels = "torch.from_numpy({part}.data).permute(0, 3, 1, 2).contiguous(), torch.tensor({part}.targets)"
        about = "40,000 images to train, 10,000 to validate, 10,000 to test"
    else:
        pixels = "{part}.data.unsqueeze(1), {part}.targets"
        about = "50,000 images to train, 10,000 to validate, 10,000 to test"
    sources = Sources([], {}) if name == "mnist" else sources_of(stratified)
    if name == "mnist":
        split = """    # The last of the training file validate.
    train, valid = TensorDataset(x[:50_000], y[:50_000]), TensorDataset(x[50_000:], y[50_000:])"""
    else:
        split = f"""    held_out = stratified(y, 10_000, seed={options["seed"]})  # the same share of every class validates
    rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, held_out, False)
    train, valid = TensorDataset(x[rest], y[rest]), TensorDataset(x[held_out], y[held_out])"""
    load = f'''def load_data() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """{set_name}: {about}; downloaded where it is not there yet."""
    train_set = datasets.{set_name}(DATA, train=True, download=True)
    test_set = datasets.{set_name}(DATA, train=False, download=True)
    x, y = {pixels.format(part="train_set")}
{split}
    return train, valid, TensorDataset({pixels.format(part="test_set")})'''
    code = {"DATA": f"DATA = {text(str(root))}", **sources.definitions, "load_data": load}
    imports = [*sources.imports, "from torchvision import datasets"]
    return Reader(Sources(imports, code), f"{set_name} in {root}, read by torchvision", root / folder)


def _image_folder(options: Mapping[str, Any], content: Mapping[str, Any]) -> Reader:
    root, size, channels = Path(options["data_dir"]), options["size"], options["channels"]
    has_parts = (root / "train").is_dir() and any(each.is_dir() for each in (root / "train").iterdir())
    folders = {"train": "train", "valid": "val" if (root / "val").is_dir() else "valid", "test": "test"}
    parts = [name for name, folder in folders.items() if has_parts and (root / folder).is_dir()]
    sources = Sources([], {}) if "valid" in parts else sources_of(stratified)
    mode, shape = ("RGB", "SIZE, SIZE, 3") if channels == 3 else ("L", "SIZE, SIZE, 1")
    picture = f'''def read_picture(path: Path) -> Tensor:
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
    return torch.from_numpy(np.array(square).reshape({shape})).permute(2, 0, 1)'''
    folder = '''def read_folder(folder: Path) -> tuple[Tensor, Tensor]:
    """All pictures in folder/CLASS, class after class and by name, with the numbers of their classes."""
    pictures, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).rglob("*"), key=str):
            if path.suffix.lower() in Image.registered_extensions():
                pictures.append(read_picture(path))
                labels.append(label)
    return torch.stack(pictures), torch.tensor(labels)'''
    if "valid" in parts:
        returned = ", ".join(f"TensorDataset(*read_folder(DATA / {text(folders[part])}))" for part in parts)
        body = f"    return {returned}"
        if len(body) > 128:
            body = (
                "    return (\n"
                + "".join(f"        TensorDataset(*read_folder(DATA / {text(folders[part])})),\n" for part in parts)
                + "    )"
            )
    else:
        train = 'DATA / "train"' if has_parts else "DATA"
        test = ', TensorDataset(*read_folder(DATA / "test"))' if "test" in parts else ""
        body = f"""    x, y = read_folder({train})
    held_out = stratified(y, len(y) // 5, seed={options["seed"]})  # a fifth of every class validates
    rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, held_out, False)
    return TensorDataset(x[rest], y[rest]), TensorDataset(x[held_out], y[held_out]){test}"""
    load = f'''def load_data() -> tuple[TensorDataset, ...]:
    """The pictures to train and to validate with{", and to test" if content.get("test") else ""}."""
{body}'''
    names = f"CLASSES = [{', '.join(map(text, content['classes']))}]"
    if len(names) > 128:
        names = "CLASSES = [\n" + "".join(f"    {text(name)},\n" for name in content["classes"]) + "]"
    constants = f"DATA = Path({text(os.fspath(root))})\nSIZE = {size}  # pixels\n{names}"
    code = {"DATA": constants, **sources.definitions, "read_picture": picture, "read_folder": folder, "load_data": load}
    imports = [*sources.imports, "from pathlib import Path", "import numpy as np", "from PIL import Image, ImageOps"]
    return Reader(Sources(imports, code), f"pictures in {root}, read by the script", root)


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
