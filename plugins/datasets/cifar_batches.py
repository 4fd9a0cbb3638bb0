"""The batch files of CIFAR-10 and CIFAR-100: pickled dictionaries, which are read and never run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from gzip import GzipFile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinyclsf.plugin import DataError, Images
from tinyclsf_plugins.datasets.downloads import download
from tinyclsf_plugins.datasets.files import opened, read_up_to
from tinyclsf_plugins.datasets.numpy_pickle import parse_pickled_dictionary

_ROW = 3 * 32 * 32  # bytes of an image: all of red, then green, then blue
_PIECE = 1 << 20
_LIMIT = 1 << 30  # the largest real file has 155 MB


def cifar_parts(
    name: str, folder: Path, *, train: Sequence[str], test: str, meta: str, labels: str, classes: str
) -> tuple[Images, Images, tuple[str, ...]]:
    """The training images, the test images and the class names in the batch files of a folder.

    If a file is missing, torchvision's class `name` downloads it; `labels` and `classes` are the keys in batches and in meta.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    """
    if missing := [file for file in (*train, test, meta) if not os.path.exists(folder / file)]:
        _download(name, folder, missing)
    names = read_names(folder / meta, classes)
    read = [read_batches([folder / file for file in files], labels, len(names)) for files in (train, [test])]
    return read[0], read[1], names


def read_names(path: Path, key: str) -> tuple[str, ...]:
    """The class names under a key of a meta file.

    Raises: DataError if the file is missing or broken, or has no names there.
    """
    with opened(path) as file:
        content = read_up_to(file, _LIMIT)
    names = parse_pickled_dictionary(memoryview(content), str(path)).get(key)
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise DataError(f"{path} has no list of class names under '{key}'; fetch it again")
    return tuple(names)


def read_batches(paths: Sequence[Path], key: str, classes: int) -> Images:
    """The images of batch files, one file after the other, with the labels under a key.

    Needs hardly more memory than the images: each file is read directly into its place in the result.
    Shapes: x (n, 3, 32, 32) uint8; y (n,) int64 in 0..classes-1.
    Raises: DataError if a file is missing or broken, or its images and labels do not match.
    """
    sizes = [_size(path) for path in paths]
    space = torch.empty(sum(sizes), dtype=torch.uint8)
    pixels, labels, end = space.numpy(), [], 0
    for path, size in zip(paths, sizes, strict=True):
        content = pixels[end : end + size].data
        _fill(path, content)
        batch = parse_pickled_dictionary(content, str(path))
        rows = _rows(path, batch.get("data"))
        labels.append(_labels(path, key, batch.get(key), len(rows), classes))
        # Towards the front and in pieces, so that no byte is written over before it has been read.
        flat, place = rows.reshape(-1), pixels[end : end + rows.size]
        for at in range(0, len(flat), _PIECE):
            place[at : at + _PIECE] = flat[at : at + _PIECE]
        end += rows.size
    return Images(space[:end].view(-1, 3, 32, 32), torch.from_numpy(np.concatenate(labels)))


def _size(path: Path) -> int:
    with opened(path) as file:
        if isinstance(file, GzipFile):
            raise DataError(f"{path} is gzipped; unpack it, or delete it to have it downloaded")
        size = file.seek(0, os.SEEK_END)
    if size > _LIMIT:
        raise DataError(f"{path} has {size:,} bytes, and at most {_LIMIT:,} are read; fetch the real file again")
    return size


def _fill(path: Path, content: memoryview) -> None:
    with opened(path) as file:
        if file.readinto(content) != len(content) or file.read(1):
            raise DataError(f"{path} changed while it was read; try again")


def _rows(path: Path, data: Any) -> NDArray[np.uint8]:
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _ROW:
        raise DataError(f"{path} has {_described(data)} under 'data'; wanted uint8 of shape (n, 3072); fetch it again")
    return data


def _labels(path: Path, key: str, value: Any, rows: int, classes: int) -> NDArray[np.int64]:
    labels = np.asarray(value)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{path} has {_described(value)} under '{key}'; wanted a list of whole numbers; fetch it again")
    if len(labels) != rows:
        raise DataError(f"{path} has {rows:,} images and {len(labels):,} labels under '{key}'; fetch it again")
    outside = ((labels < 0) | (labels >= classes)).nonzero()[0]
    if len(outside):
        raise DataError(f"label {outside[0]:,} of {path} is {labels[outside[0]]}; wanted 0 to {classes - 1}; fetch it again")
    return labels.astype(np.int64)


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return "nothing" if value is None else f"a {type(value).__name__}"


def _download(name: str, folder: Path, missing: Sequence[str]) -> None:
    from torchvision import datasets  # type: ignore[import-untyped]
    from torchvision.datasets.utils import check_integrity, download_and_extract_archive  # type: ignore[import-untyped]

    source = getattr(datasets, name)

    # By what the class downloads with, as the class itself would go on to run the pickles.
    def fetch(scratch: Path) -> list[Path]:
        download_and_extract_archive(source.url, str(scratch), filename=source.filename, md5=source.tgz_md5)
        files = [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]
        for file, md5 in files:
            if not check_integrity(scratch / source.base_folder / file, md5):
                raise RuntimeError(f"{file} is missing in the archive or damaged")
        return [scratch / source.base_folder / file for file in missing]

    download(name, folder, fetch, otherwise=f"point --data-dir at a folder that holds {source.base_folder}")
