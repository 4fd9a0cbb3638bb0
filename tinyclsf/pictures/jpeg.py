"""JPEG files by the decoder of torchvision: the pixels of Pillow's, in less time."""

from __future__ import annotations

import contextlib
import sysconfig
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

_UNCHANGED = 0  # colours stay colours, and grey stays grey


def decoded_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a file in colour or grey, (h, w, c); None if the decoder finds it broken, or cannot be had."""
    decode = _decoder()
    if decode is None:
        return None
    try:
        return decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), _UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError:
        return None


@cache
def _decoder() -> Callable[[torch.Tensor, int], torch.Tensor] | None:
    """What torchvision adds to PyTorch for it. torchvision itself is not imported, as that takes over a second."""
    spec = find_spec("torchvision")
    if spec is not None and spec.origin is not None:
        for path in Path(spec.origin).parent.glob(f"image*{Path(sysconfig.get_config_var('EXT_SUFFIX')).suffix}"):
            with contextlib.suppress(OSError):
                torch.ops.load_library(path)  # type: ignore[no-untyped-call]
    return getattr(torch.ops.image, "decode_jpeg", None)
