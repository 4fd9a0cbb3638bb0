"""Every command and snippet of the README and the docs runs, or says on its fence why not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)

# plugin: built, installed and run by test_packaging; network, gpu, mnist, shell: needs what a test machine may lack.
NOT_HERE = {"plugin", "network", "gpu", "mnist", "shell"}
# test_cli trains as the first does and looks at its figures; the second is how these tests are run.
README_BLOCKS = [
    "python -m pip install . && tinyclsf fit mnist-cnn --epochs 2\n",
    "python -m pip install -e '.[test]' && python -m pytest -n 2 --dist worksteal\n",
]


def snippets(kind: str) -> list[Any]:
    found = []
    for page in PAGES:
        for number, (info, text) in enumerate(FENCE.findall(page.read_text())):
            words = info.split()
            if words and words[0] == kind and not NOT_HERE & set(words) and text not in README_BLOCKS:
                found.append(pytest.param(text, id=f"{page.stem}-{number}"))
    return found


def test_the_readme_opens_with_the_two_commands() -> None:
    assert [text for _, text in FENCE.findall((ROOT / "README.md").read_text())][:2] == README_BLOCKS


def test_every_fence_says_what_it_is() -> None:
    known = {"sh", "python", "text", "json", "toml"}
    for page in PAGES:
        for info, _ in FENCE.findall(page.read_text()):
            assert info.split()[:1] in [[word] for word in known], f"{page.name}: ```{info}"


@pytest.fixture
def photos(tmp_path: Path) -> None:
    """A reader's own pictures: a folder of them for each class."""
    for kind, colour in (("cat", "orange"), ("dog", "brown")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (60 + number, 80), colour).save(tmp_path / "photos" / kind / f"{number}.jpg")


@pytest.mark.parametrize("images", ["train_size=640", pytest.param(None, marks=pytest.mark.stress, id="all")])
@pytest.mark.parametrize("text", snippets("sh"))
@pytest.mark.usefixtures("photos")
def test_commands_run(text: str, images: str | None, cli: Any) -> None:
    for line in (text if images is None else re.sub(r"train_size=\d+", images, text)).splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "tinyclsf", f"not a command that a test can run: {line}"
        assert cli(*words[1:]).code == 0


@pytest.mark.parametrize("text", snippets("python"))
def test_snippets_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"
