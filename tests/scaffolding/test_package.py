"""`tinyclsf new`: a package that is installed, tested and used at once, and names that are refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli, Install
from tinyclsf.scaffolding.package import write_package
from tinyclsf.testing import CHECKS

KINDS = sorted(CHECKS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "model"])  # whose checks take seconds
def test_it_passes_the_checks_and_its_own_test(kind: str, cli: Cli, install: Install, tmp_path: Path) -> None:
    made = cli("new", kind, "my-own", "--out", str(tmp_path / "package"))
    assert made.code == 0, made.err
    assert made.out == (
        f"package  {tmp_path / 'package'}: pyproject.toml, README.md, tinyclsf_my_own.py, tests/test_my_own.py\n"
        f"next     cd {tmp_path / 'package'}\n"
        "         python -m pip install -e '.[test]' && python -m pytest\n"
        "         tinyclsf info my-own\n"
        f"code     {tmp_path / 'package' / 'tinyclsf_my_own.py'}\n"
    )
    target = "tinyclsf_my_own:MyOwn" if kind == "callback" else "tinyclsf_my_own:my_own"
    assert f'my-own = "{target}"' in (tmp_path / "package" / "pyproject.toml").read_text()
    code = (tmp_path / "package" / "tinyclsf_my_own.py").read_text()
    install("tinyclsf-my-own", code, module="tinyclsf_my_own", **{f"{kind}s": {"my-own": target}})
    assert not CHECKS[kind]("my-own").failed  # type: ignore[index]
    own: dict[str, object] = {}
    exec((tmp_path / "package" / "tests" / "test_my_own.py").read_text(), own)
    (test,) = (value for name, value in own.items() if name.startswith("test_") and name != "test_contract")
    test(**({"tmp_path": tmp_path} if kind in ("callback", "command") else {}))  # type: ignore[operator]


def test_a_callback_may_be_named_as_its_test_calls_things(install: Install, tmp_path: Path) -> None:
    package = write_package("callback", "loss", tmp_path / "package").folder
    code, test = ((package / file).read_text() for file in ("tinyclsf_loss.py", "tests/test_loss.py"))
    install("tinyclsf-loss", code, module="tinyclsf_loss", callbacks={"loss": "tinyclsf_loss:Loss"})
    own: dict[str, Any] = {}
    exec(test, own)
    own["test_it_writes_the_epochs_that_are_better_than_all_before"](tmp_path)


@pytest.mark.stress
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_installed_tested_and_used_as_its_readme_says(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, site = write_package(kind, "my-own", tmp_path / "package").folder, tmp_path / "site"  # type: ignore[arg-type]
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    # Into a folder of its own, so that the environment of the tests stays as it is.
    without_network = f"--quiet --no-deps --no-build-isolation --target {site}"
    for block in re.findall("```sh\n(.*?)```", (package / "README.md").read_text(), re.DOTALL):
        for line in block.splitlines():
            command = line.replace("install -e '.[test]'", f"install {without_network} .")
            done = subprocess.run(command, shell=True, cwd=package, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            assert "pytest" not in line or " passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vgg", "there is a model 'vgg' already, of package tinyclsf; choose another name"),
        ("plugins", "there is a module tinyclsf_plugins already; choose another name"),
        ("nn", "name 'nn' cannot be used, as the code of the package uses it too; choose another"),
        ("torch", "name 'torch' cannot be used, as the code of the package uses it too; choose another"),
        *(
            (
                name,
                f"name {name[:51]!r} cannot be used; wanted at most 50 small letters, digits and '-' between them, "
                "the first a letter, as in my-flowers",
            )
            for name in ("My-Net", "my_net", "3d", "-", "my--net", "class", "none", "a/b", "..", "한글", "a" * 51)
        ),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, sentence: str, cli: Cli) -> None:
    refused = cli("new", "model", "--", name)
    assert (refused.code, refused.err) == (2, f"error: {sentence}\n")
    assert not list(Path().iterdir())


def test_a_command_of_ours_is_refused(cli: Cli) -> None:
    refused = cli("new", "command", "fit")
    wanted = "error: there is a command 'fit' already, of package tinyclsf; choose another name\n"
    assert (refused.code, refused.err) == (2, wanted)


def test_nothing_is_written_over(cli: Cli, tmp_path: Path) -> None:
    Path("tinyclsf-my-own").symlink_to("nowhere")
    refused = cli("new", "model", "my-own")
    wanted = "error: tinyclsf-my-own is there already; choose another name, or another place with --out\n"
    assert (refused.code, refused.err) == (2, wanted)
    assert cli("new", "model", "my-own", "--out", "missing/folder").code == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tinyclsf-my-own"]
