"""The newest whole checkpoint is what is read, and nothing else, whatever happened to the files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tinyclsf.errors import ModelFileError
from tinyclsf.runs.checkpoints import CHECKPOINT, PREVIOUS, load_checkpoint, save_checkpoint


def state(number: int, size: int = 100) -> dict[str, Any]:
    return {
        "number": number,
        "weights": {"a.b": torch.full((size,), float(number)), "half": torch.ones(2, dtype=torch.bfloat16)},
        "history": [(1, 0.5, float("inf"), None, 2.25)],
        "random": [{"python": (3, (1, 2**31), None), "name": "MT19937"}],
        "none": None,
        "yes": True,
    }


def assert_is(found: dict[str, Any], number: int) -> None:
    wanted = state(number, len(found["weights"]["a.b"]))
    weights, right = found.pop("weights"), wanted.pop("weights")
    assert found == wanted
    assert list(weights) == list(right)
    assert all(torch.equal(weights[key], right[key]) and weights[key].dtype == right[key].dtype for key in right)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with the checkpoints 2 and, before it, 1."""
    for number in (1, 2):
        save_checkpoint(state(number), tmp_path)
    return tmp_path


def refusal(folder: Path) -> str:
    """The whole message of `load_checkpoint`, with FOLDER for the folder."""
    with pytest.raises(ModelFileError) as error:
        load_checkpoint(folder)
    assert error.value.exit_code == 4
    return str(error.value).replace(str(folder), "FOLDER")


def test_a_state_comes_back_as_it_was_and_two_generations_are_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save_checkpoint(state(number), tmp_path)
        found = load_checkpoint(tmp_path)
        assert_is(found.state, number)
        assert found.warning is None
        assert sorted(path.name for path in tmp_path.iterdir()) == ([PREVIOUS] if number > 1 else []) + [CHECKPOINT]
    (tmp_path / CHECKPOINT).unlink()
    found = load_checkpoint(tmp_path)
    assert_is(found.state, 2)
    assert found.warning == (
        f"cannot read {tmp_path}/checkpoint.pt: No such file or directory; wanted the checkpoint of a run; "
        f"going on from the one before, {tmp_path}/checkpoint.previous.pt"
    )


def test_a_folder_without_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        assert refusal(folder) == (
            "cannot read FOLDER/checkpoint.pt: No such file or directory; wanted the checkpoint of a run"
        )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
def test_of_a_file_that_was_cut_off_the_one_before_is_read(folder: Path, share: float) -> None:
    path = folder / CHECKPOINT
    os.truncate(path, int(path.stat().st_size * share))
    found = load_checkpoint(folder)
    assert_is(found.state, 1)
    assert found.warning == (
        f"{path} is not a whole checkpoint (BadZipFile: File is not a zip file); "
        f"going on from the one before, {folder / PREVIOUS}"
    )
    path.replace(folder / PREVIOUS)
    path.mkdir()
    assert refusal(folder) == (
        "cannot read FOLDER/checkpoint.pt: Is a directory; wanted the checkpoint of a run; and "
        "FOLDER/checkpoint.previous.pt is not a whole checkpoint (BadZipFile: File is not a zip file)"
    )


def test_no_flipped_bit_gives_another_state(folder: Path) -> None:
    path = folder / CHECKPOINT
    whole = path.read_bytes()
    numbers = whole.index(b"\0\0\0\x40" * 100)  # a hundred times 2.0
    for bit in range(0, 8 * len(whole), 37):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        found = load_checkpoint(folder)
        if numbers <= bit // 8 < numbers + 400:
            assert found.warning == (
                f"{path} is not a whole checkpoint (BadZipFile: archive/data/0 has a wrong checksum); "
                f"going on from the one before, {folder / PREVIOUS}"
            )
        assert_is(found.state, 2 if found.warning is None else 1)  # where nothing is amiss, the bit is in the padding


def test_a_file_that_would_run_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for content in ({"version": 1, "callbacks": Harmful()}, Harmful()):
        torch.save(content, tmp_path / CHECKPOINT)
        assert refusal(tmp_path).startswith("FOLDER/checkpoint.pt is not a whole checkpoint (UnpicklingError: ")
        assert not (tmp_path / "ran").exists()


def test_files_of_something_else_are_named_for_what_they_lack(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / CHECKPOINT)
    assert refusal(tmp_path) == "FOLDER/checkpoint.pt has no version; it is not the checkpoint of a run"
    torch.save(torch.ones(1), tmp_path / CHECKPOINT)
    assert refusal(tmp_path) == "FOLDER/checkpoint.pt has no version; it is not the checkpoint of a run"
    torch.save({"version": 2}, tmp_path / CHECKPOINT)
    assert refusal(tmp_path) == (
        "FOLDER/checkpoint.pt has another version than this tinyclsf reads, which is 1; upgrade tinyclsf"
    )
    with zipfile.ZipFile(tmp_path / CHECKPOINT, "w") as archive:
        archive.writestr("readme.txt", "not tensors")
    assert refusal(tmp_path).startswith("FOLDER/checkpoint.pt is not a whole checkpoint (RuntimeError: ")
