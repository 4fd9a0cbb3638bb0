"""Pretrained weights of torchvision: downloaded once, checked by the hash in their name, kept where torch keeps such."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tinyclsf.plugin import ConfigurationError
from tinyclsf_plugins.datasets.downloads import download


def pretrained_weights(arch: str) -> Any:
    """The best weights that torchvision has for an architecture: where they are, and the images they were trained on.

    Raises: ConfigurationError if it has none.
    """
    from torchvision import models  # type: ignore[import-untyped]

    try:
        return models.get_model_weights(arch).DEFAULT
    except (AttributeError, ValueError):
        raise ConfigurationError(f"torchvision has no pretrained weights for {arch}; choose another arch") from None


def pretrained_file(arch: str) -> Path:
    """Their file, which is downloaded on first use.

    Raises: DataError if it is not there and cannot be downloaded.
    """
    url = pretrained_weights(arch).url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.exists():

        def fetch(scratch: Path) -> Sequence[Path]:
            from torchvision.datasets.utils import download_url  # type: ignore[import-untyped]

            download_url(url, scratch, path.name)
            digest = hashlib.sha256((scratch / path.name).read_bytes()).hexdigest()
            if not digest.startswith(path.stem.rpartition("-")[2]):
                raise RuntimeError(f"what came from {url} is cut short or damaged: its checksum is wrong")
            return [scratch / path.name]

        what = f"the file of pretrained weights {path.name}"
        download(what, path.parent, fetch, otherwise=f"put {url} there by hand", where="set TORCH_HOME to")
    return path
