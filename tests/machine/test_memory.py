"""Free memory: the machine's, or less where a control group of either version has a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyclsf.machine import memory
from tinyclsf.machine.memory import free_memory


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says of control groups, in a folder; the machine itself has a million bytes free."""
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_GROUP_FOLDERS", tmp_path)
    monkeypatch.setattr(memory, "_of_the_machine", lambda: 1_000_000)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def test_the_smallest_limit_counts_and_kept_files_do_not(groups: Path) -> None:
    assert free_memory() == 1_000_000
    (groups / "cgroup").write_text("0::/batch/job\n")
    write(groups / "batch/job", max="max", current="700")
    assert free_memory() == 1_000_000
    write(groups / "batch", max="9000", current="5000", stat="anon 1000\nactive_file 3000\ninactive_file 500")
    assert free_memory() == 9000 - 5000 + 3500


def test_groups_of_version_1_are_read_too_and_a_container_sees_its_own(groups: Path) -> None:
    (groups / "cgroup").write_text("5:cpu:/\n4:memory:/docker/abc\n0::/\n")
    stat = "active_file 1\ninactive_file 2\ntotal_active_file 30\ntotal_inactive_file 40"
    write(groups / "memory", limit_in_bytes="2000", usage_in_bytes="500", stat=stat)
    assert free_memory() == 1570
