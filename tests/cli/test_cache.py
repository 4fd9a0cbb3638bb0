"""`tinyclsf cache`: what is kept, and how it is removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.commands import Cli
from tinyclsf.pictures.cache import cache_folder, kept_sets
from tinyclsf.pictures.kept import keep_pictures


def test_the_sets_are_listed_and_removed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kept"
    for number in range(12):
        Image.new("L", (10, 12), number).save(tmp_path / f"{number}.png")
    files = [str(path) for path in tmp_path.glob("*.png")]
    monkeypatch.setenv("TINYCLSF_CACHE", str(folder))
    assert cache_folder() == folder
    assert cli("cache").out == f"no decoded pictures are kept in {folder}\n"
    keep_pictures([files], 8, 3)
    keep_pictures([files], 200, 3, fit="pad")
    (folder / f"{'0' * 32}.pictures").write_bytes(b"torn")
    foreign = {folder / name for name in ("uv.lock", "uv.part", "album.pictures")}
    for path in foreign:
        path.write_bytes(b"of another program")
    for at, each in enumerate(kept_sets(folder)):
        os.utime(each.path, (1e9 + 60 * at, 1e9 + 60 * at))
    document = cli("cache", "--json").document
    assert [(each["folder"], each["pictures"], each["size"], each["fit"]) for each in document["sets"]] == [
        (str(tmp_path), 12, 8, "crop"),
        (str(tmp_path), 12, 200, "pad"),
        (None, None, None, None),
    ]
    assert (document["folder"], document["removed"]) == (str(folder), False)
    lines = cli("cache").out.splitlines()
    assert lines[0].split() == ["pictures", "in", "number", "pixels", "size", "last", "used"]
    assert lines[2].split()[:5] == [str(tmp_path), "12", "200x200", "pad", "1.4"]
    assert lines[3].split()[:3] == ["(broken)", "-", "-"]
    assert lines[-1] == f"3 sets, 1.4 MiB, in {folder}; 'tinyclsf cache --empty' removes them"
    assert cli("cache", str(folder)).out.endswith(f"; 'tinyclsf cache {folder} --empty' removes them\n")
    assert cli("cache", "--empty").out == f"removed 3 sets, 1.4 MiB, from {folder}\n"
    keep_pictures([files], 8, 3)
    assert cli("cache", "--empty").code == 0
    assert set(folder.iterdir()) == foreign


def test_what_another_person_keeps_there_is_passed_over(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (10, 12)).save(tmp_path / "0.png")
    folder = tmp_path / "kept"
    keep_pictures([[str(tmp_path / "0.png")]], 8, 3, cache=folder)
    opened = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.suffix == ".pictures":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert kept_sets(folder) == []
