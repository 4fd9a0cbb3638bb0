"""Files of a run with something odd in them: values at any place that no run writes, and bytes that are damaged."""

from __future__ import annotations

import copy
import io
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 2**70, 0.5, -0.5, 1e308, math.nan, math.inf, -math.inf),
    *("", "a", "none", "nan", "1", "test", "valid", "../x", "a\0b", "\ud800", "\u202egpj.exe", "\x1b[31m", "=1+1", "x" * 3000),
    *([], [None], [1, "a"], [[[]]], {}, {"a": 1}, {"value": 1}),
)
Place = tuple[Any, Any]  # a dictionary or list, and the key or number in it


def damaged(path: Path, seed: int) -> str:
    """Change one file of a run; what was done to it, for the report of a failure."""
    rng = random.Random(seed)
    if rng.random() < 0.15:
        return _damage_bytes(path, rng)
    by_suffix = {".json": _json, ".jsonl": _lines, ".npz": _arrays, ".safetensors": _weights, ".pt": _checkpoint}
    return by_suffix[path.suffix](path, rng)


def _damage_bytes(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    how = rng.choice(["truncated", "flipped", "garbage", "empty", "folder", "gone"])
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "gone":
        at = rng.randrange(len(content))
        if how == "truncated":
            del content[at:]
        elif how == "flipped":
            content[at] ^= 1 << rng.randrange(8)
        elif how == "garbage":
            content[at:at] = rng.randbytes(20)
        path.write_bytes(b"" if how == "empty" else bytes(content))
    return f"{path.name} {how}"


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _odd_somewhere(content: Any, rng: random.Random, odd: tuple[Any, ...] = ODD) -> str:
    """Put something odd at one or two places of a document, in place."""
    said = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        places = list(_places(content))
        if not places:
            break
        owner, key = rng.choice(places)
        how = rng.choice(["odd"] * 6 + ["lost", "other", "added"])
        if how == "odd":
            owner[key] = copy.deepcopy(rng.choice(odd))
        elif how == "other":
            other, at = rng.choice(places)
            owner[key] = copy.deepcopy(other[at])
        elif how == "lost":
            del owner[key]
        elif isinstance(owner, dict):
            owner[rng.choice(["more", "", "\ud800"])] = copy.deepcopy(rng.choice(odd))
        else:
            owner.insert(0, copy.deepcopy(rng.choice(odd)))
        said.append(f"{how} at {key!r}: {repr(owner.get(key) if isinstance(owner, dict) else owner)[:60]}")
    return "; ".join(said)


def _json(path: Path, rng: random.Random) -> str:
    content = json.loads(path.read_bytes())
    if rng.random() < 0.05:
        content, said = rng.choice(ODD), "whole"
    else:
        said = _odd_somewhere(content, rng)
    path.write_text(json.dumps(content))
    return f"{path.name} {said}"


def _lines(path: Path, rng: random.Random) -> str:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    said = _odd_somewhere(rows, rng)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{path.name} {said}"


def _odd_array(array: Any, rng: random.Random) -> Any:
    array = np.array(array)
    how = rng.randrange(8)
    if how == 0 and array.dtype.kind != "U":
        return array.astype(rng.choice(["f2", "f4", "f8", "i4", "i8", "u1", "c8", "U7", "?"]))
    if how == 1:
        return array.reshape(-1)
    if how == 2:
        return array[..., None]
    if how == 3:
        return array[: rng.choice([0, 1, 5])] if array.ndim else array
    if how == 4:
        return array[..., :0] if array.ndim else array
    if how == 5:
        return np.asfortranarray(array.T)
    if array.dtype.kind in "fi" and array.size:
        values = [math.nan, math.inf, 1e30] if array.dtype.kind == "f" else [-1, 100, 2**40]
        array.flat[rng.randrange(array.size)] = rng.choice(values)
        return array
    return np.array(rng.choice(["", "all", "train", "odd\ud7ff"]))


def _arrays(path: Path, rng: random.Random) -> str:
    with np.load(path) as found:
        arrays: dict[str, Any] = dict(found)
    name = rng.choice(sorted(arrays))
    if rng.random() < 0.1:
        del arrays[name]
    else:
        arrays[name] = _odd_array(arrays[name], rng)
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return f"{path.name} {name}: {_described(arrays.get(name))}"


def _odd_tensor(tensor: Tensor, rng: random.Random) -> Any:
    how = rng.randrange(9)
    if how < 3 and tensor.is_floating_point() and tensor.numel():
        tensor = tensor.clone()
        tensor.view(-1)[rng.randrange(tensor.numel())] = rng.choice([math.nan, math.inf, -math.inf])
        return tensor
    if how == 3:
        return tensor.to(rng.choice([torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]))
    if how == 4:
        return tensor.reshape(-1)
    if how == 5:
        return tensor.unsqueeze(0)
    if how == 6:
        return tensor[:0] if tensor.ndim else tensor.view(1)
    if how == 7:
        return tensor[:-1] if tensor.ndim and len(tensor) else tensor.expand(2)
    return torch.zeros(())


def _weights(path: Path, rng: random.Random) -> str:
    with safetensors.safe_open(path, "pt") as file:
        notes = file.metadata()
    tensors = safetensors.torch.load(path.read_bytes())
    name = rng.choice([*sorted(tensors), "notes"])
    if name == "notes":
        notes = {"epoch": rng.choice(["", "1", "-1", "9" * 30, "a"])}
    elif rng.random() < 0.15:
        del tensors[name]
    elif rng.random() < 0.1:
        tensors[name + "x"] = tensors.pop(name)
    else:
        tensors[name] = _odd_tensor(tensors[name], rng).contiguous()
    path.write_bytes(safetensors.torch.save(tensors, notes))
    return f"{path.name} {name}: {_described(tensors.get(name))}"


def _checkpoint(path: Path, rng: random.Random) -> str:
    state = torch.load(path, weights_only=True)
    tensors = [(owner, key) for owner, key in _places(_as_lists(state)) if isinstance(owner[key], Tensor)]
    if tensors and rng.random() < 0.3:
        owner, key = rng.choice(tensors)
        owner[key] = torch.ones(2, 2).to_sparse() if rng.random() < 0.1 else _odd_tensor(owner[key], rng)
        said = f"{key!r}: {_described(owner[key])}"
    else:
        said = _odd_somewhere(state, rng, (*ODD, torch.zeros(()), torch.zeros(3)))
    content = io.BytesIO()
    torch.save(state, content)
    path.write_bytes(content.getvalue())
    return f"{path.name} {said}"


def _described(values: Any) -> str:
    return "lost" if values is None else f"{values.dtype} {tuple(values.shape)}"


def _as_lists(value: Any) -> Any:
    """Make lists of the tuples in a state, in place, so that what is in them can be changed."""
    for owner, key in list(_places(value)):
        if isinstance(owner[key], tuple):
            owner[key] = _as_lists(list(owner[key]))
    return value
