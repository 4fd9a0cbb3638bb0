"""How a script draws the stripes."""

from tinyclsf.plugin import ScriptReader


def reader(content, *, size, seed, **others):
    code = f"""
import torch
from tinyclsf_stripes import draw
from tinyclsf.plugin import stratified
from torch.utils.data import TensorDataset

SIZE = {size}  # pixels


def load_data():
    x, y = draw(2200, SIZE, seed=0)
    held_out = stratified(y, len(y) // 5, seed={seed})
    rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, held_out, False)
    test = TensorDataset(*draw(200, SIZE, seed=1))
    return TensorDataset(x[rest], y[rest]), TensorDataset(x[held_out], y[held_out]), test
"""
    return ScriptReader(code, "stripes, drawn by the script")
