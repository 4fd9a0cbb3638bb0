"""How a script reads the data of a run: as its plugin says, else from a file beside the script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tinyclsf.errors import join_names
from tinyclsf.preparation import Preparation
from tinyclsf.registry.components import Component
from tinyclsf.registry.scripted import ScriptReader, as_source
from tinyclsf.scripting.hooks import ask, written_out
from tinyclsf.scripting.sources import Sources

_WHOLE = {name: getattr(Preparation(), name) for name in ("test_ratio", "valid_ratio", "valid_size", "split", "fraction")}


class Reader(NamedTuple):
    """Code with a function `load_data` that gives the splits of the data as a `TensorDataset` each.

    `how` is that in a few words, `place` what has to be there for it.
    """

    sources: Sources
    how: str
    place: Path | None = None


def reader_of(component: Component, content: Mapping[str, Any]) -> Reader | None:
    """The reader that a data set's plugin gives; None if it gives none, or the images are split or thinned as was asked.

    Raises: PluginError if the plugin fails.
    """
    if any(component.values.get(name, value) != value for name, value in _WHOLE.items()):
        return None
    said = ask(component, ScriptReader, content)
    return None if said is None else Reader(written_out(component, said.code)[0], said.how, said.place)


def reader_from_file(file: str, splits: list[str]) -> Reader:
    """The reader of tensors that were written beside the script."""
    code = f'''def load_data() -> tuple[TensorDataset, ...]:
    """The {join_names(splits)} images with their labels, as the run had them, from the file beside this one."""
    arrays = np.load(Path(__file__).with_name({as_source(file)}))
    return tuple(
        TensorDataset(torch.from_numpy(arrays[f"{{split}}_x"]), torch.from_numpy(arrays[f"{{split}}_y"]))
        for split in ({", ".join(map(as_source, splits))})
    )'''
    imports = ["from pathlib import Path", "import numpy as np"]
    return Reader(Sources(imports, {"load_data": code}), f"from {file} beside the script")
