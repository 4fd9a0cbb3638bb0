"""Pretrained weights: downloaded once, verified by their hash, kept where torch keeps its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from tinyclsf_plugins.datasets.downloads import download


def pretrained_file(url: str, name: str, checksum: Callable[[], str]) -> Path:
    """The file of that name among torch's pretrained weights; on first use it is downloaded from the address.

    `checksum` returns the first digits of the file's SHA-256, and is called only for a download.
    Raises: DataError if the file is not there and cannot be downloaded.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.exists():

        def fetch(scratch: Path) -> Sequence[Path]:
            from torchvision.datasets.utils import download_url  # type: ignore[import-untyped]

            wanted = checksum()
            download_url(url, scratch, name)
            if not hashlib.sha256((scratch / name).read_bytes()).hexdigest().startswith(wanted):
                raise RuntimeError(f"what came from {url} is cut short or damaged: its checksum is wrong")
            return [scratch / name]

        what = f"the file of pretrained weights {name}"
        download(what, path.parent, fetch, otherwise=f"put {url} there by hand as {name}", where="set TORCH_HOME to")
    return path
