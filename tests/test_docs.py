"""Every command and snippet of the README and the docs runs, or says on its fence why not."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.course_data import write_course_data

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


# A softmax before a loss that takes one: shown for what it costs.
SHOWN_AS_BAD = {"softmax"}


def blocks(page: Path, kind: str) -> list[str]:
    """What of a page can run here; a block with "more" goes on from the one before it."""
    found: list[str] = []
    for info, text in FENCE.findall(page.read_text()):
        words = info.split()
        if words[:1] == [kind] and not NOT_HERE & set(words) and text not in README_BLOCKS:
            before = found.pop() if "more" in words else ""
            found.append(before + text)
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
    """A reader's own pictures: a folder of them for each class, and a table of them."""
    rows = ["path,label,group"]
    for kind, colour in (("cat", "orange"), ("dog", "brown")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (60 + number, 80), colour).save(tmp_path / "photos" / kind / f"{number}.jpg")
            rows.append(f"photos/{kind}/{number}.jpg,{kind},day {number // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))


@pytest.fixture(scope="module")
def course_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "data"
    write_course_data(folder)
    return folder


@pytest.fixture
def data(course_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in for the data that a reader downloads."""
    (tmp_path / "data").symlink_to(course_data)
    monkeypatch.setenv("TINYCLSF_DATA", "data")


def as_tested(value: object, page: Path, number: str) -> Any:
    """A parameter of a test; what is on other pages than the README takes too long for the ordinary tests."""
    return pytest.param(value, id=page.stem + number, marks=[] if page.stem == "README" else [pytest.mark.stress])


def assert_runs_are_good_in(folder: Path = Path()) -> None:
    for path in folder.glob("runs/*/state.json"):
        if json.loads(path.with_name("config.json").read_text())["data"]["name"] == "cifar10":
            continue  # too few images here to learn from at the tutorial's settings
        accuracy = json.loads(path.read_text())["held_out"]["accuracy"]
        assert accuracy > (0.75 if path.parent.name in SHOWN_AS_BAD else 0.88), path


@pytest.mark.parametrize("page", [as_tested(page, page, "") for page in PAGES if blocks(page, "sh")])
@pytest.mark.usefixtures("photos", "data")
def test_the_commands_of_a_page_run_and_end_with_what_it_shows(page: Path, cli: Any) -> None:
    out = ""
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "tinyclsf", f"not a command that a test can run: {line}"
        result = cli(*words[1:])
        assert result.code == 0
        out += result.out
    assert_runs_are_good_in()
    for quoted in re.findall(r'"([^"]*? images \d[^"]*)"', page.read_text()):
        assert " ".join(quoted.split()) in " ".join(out.split())


def test_no_two_pages_name_a_run_alike() -> None:
    names = Counter(name for page in PAGES for name in {*re.findall(r"--run ([\w-]+)", page.read_text())})
    assert {name for name, count in names.items() if count > 1} == set()


SNIPPETS = [as_tested(text, page, f"-{number}") for page in PAGES for number, text in enumerate(blocks(page, "python"))]


@pytest.mark.parametrize("text", SNIPPETS)
@pytest.mark.usefixtures("data")
def test_snippets_run(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})
    assert_runs_are_good_in()


@pytest.mark.stress
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
@pytest.mark.usefixtures("photos")
def test_a_page_runs_as_a_notebook(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    v4: Any = nbformat.v4
    commands = [f"!{line}" for text in blocks(ROOT / page, "sh") for line in text.splitlines() if line.startswith("tinyclsf")]
    book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in (*commands, *blocks(ROOT / page, "python"))])
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()  # a cell that fails raises
    for cell in book.cells:
        text = "".join(each.get("text", "") for each in cell.outputs)
        assert "\x1b[?25l" not in text, cell.source  # no bar was drawn over and over
        assert "<progress" not in str(cell.outputs), cell.source  # each output has its last state
    assert_runs_are_good_in(tmp_path)
    page_text, _ = HTMLExporter().from_notebook_node(book)  # type: ignore[no-untyped-call]
    assert len(page_text) < 2_000_000


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"
