"""The pictures in folders: hidden names passed over, links followed but not for ever, and a folder that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

from tinyclsf.errors import printable
from tinyclsf.pictures.folders import pictures_in, read_folder


def never(folder: str, error: OSError) -> None:
    raise AssertionError(folder) from error


def test_pictures_are_found_at_any_depth_and_each_folder_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("b.PNG", "a.jpeg", "notes.txt", "deep/er/c.gif", ".hidden/d.png", "__MACOSX/e.png", ".f.png", "deep/noending"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "g.png").touch()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "deep" / "up").symlink_to(root)
    (root / "deep" / "above").symlink_to(tmp_path)
    (root / "self").symlink_to(root / "self")
    (root / "gone.png").symlink_to(tmp_path / "gone")
    os.mkfifo(root / "pipe.png")
    pictures, others = pictures_in(root, never)
    assert [os.path.relpath(path, root) for path in pictures] == ["a.jpeg", "b.PNG", "deep/er/c.gif", "gone.png", "link/g.png"]
    assert [os.path.relpath(path, root) for path in others] == ["deep/noending", "notes.txt", "self"]
    assert read_folder(root).folders == ["deep", "link"]


def test_a_folder_that_cannot_be_read_is_told_and_passed_over(tmp_path: Path) -> None:
    told: list[tuple[str, str | None]] = []
    gone = tmp_path / "gone"
    assert pictures_in(gone, lambda folder, error: told.append((folder, error.strerror))) == ([], [])
    assert told == [(str(gone), "No such file or directory")]


def test_a_path_is_shown_as_text_that_can_be_printed() -> None:
    assert printable("a\nb\udcff c\t\u00e9") == "a\\nb\\udcff c\\t\u00e9"
