"""`tinyclsf list --check`: what is wrong with installed plugins, and whose they are; none of them harms the others."""

from __future__ import annotations

import pytest

from tests.support.commands import Cli, Install
from tinyclsf.registry.plugins import plugins
from tinyclsf.testing.examination import examine

GOOD = '''
from tinyclsf.plugin import Images, Preprocess, Splits

print("hello")

def dots(*, size: int = 4) -> Splits:
    """Dots."""
    raise RuntimeError("nothing is read by the quick checks")
'''


def test_each_broken_plugin_is_told_with_its_package(cli: Cli, install: Install) -> None:
    install("fine", GOOD, module="fine", datasets={"dots": "fine:dots"})
    install("cut-off", "def lines(:", module="cut_off", datasets={"lines": "cut_off:lines"})
    install("leaving", "import os; os._exit(3)", module="leaving", datasets={"circles": "leaving:circles"})
    install("first", GOOD, module="first", datasets={"squares": "first:dots"})
    install("second", GOOD, module="second", datasets={"squares": "second:dots"})
    listed = cli("list", "datasets", "--check")
    assert listed.code == 5
    of_others = "\n".join(line for line in listed.out.splitlines() if "tinyclsf 0.1.0" not in line)
    twice = (
        "    name: dataset 'squares' is registered twice, by first (first:dots) and second (second:dots);\n"
        "      uninstall one of the packages"
    )
    assert of_others == (
        "datasets\n"
        "  circles        leaving 1.0     broken\n"
        "    process: the process that imports it ended with exit code 3; wanted no exit, and no crash\n"
        "  dots           fine 1.0        good\n"
        "  lines          cut-off 1.0     broken\n"
        "    imports: dataset 'lines' of package cut-off (cut_off:lines) cannot be imported: SyntaxError:\n"
        "      invalid syntax (cut_off.py, line 1)\n"
        f"  squares        first 1.0       broken\n{twice}\n  squares        second 1.0      broken\n{twice}\n"
        "4 of 16 are broken"
    )


def test_one_that_hangs_is_ended(install: Install) -> None:
    install("slow", "while True: pass", module="slow", datasets={"waves": "slow:waves"})
    (verdicts,) = examine(plugins("dataset", "waves"), limit=0.5)
    assert repr(verdicts) == (
        "0 of 1 checks passed\n"
        "  failed   process: it was not imported and tried within 0.5 seconds; wanted no work while it is imported"
    )


@pytest.mark.stress
def test_all_of_ours_pass(cli: Cli) -> None:
    listed = cli("list", "--check", "--json")
    assert (listed.code, listed.document["broken"]) == (0, 0)
    kinds = listed.document["datasets"], listed.document["models"], listed.document["callbacks"]
    assert {check["outcome"] for kind in kinds for plugin in kind for check in plugin["checks"]} <= {"passed", "not run"}
