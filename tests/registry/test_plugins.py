"""Plugins of installed packages: listed without importing, imported one at a time, blamed by name."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
from torch import nn

from tests.support.commands import Install, write_package
from tinyclsf.data import Splits
from tinyclsf.errors import ConfigurationError, PluginError
from tinyclsf.registry.plugins import KINDS, Kind, blamed_on, check_result, find, load, plugins


def test_listing_imports_nothing(install: Install) -> None:
    install("zoo", "raise RuntimeError", module="zoo_code", version="2.5", models={"ape": "zoo_code:Ape"})
    listed = {plugin.name: plugin for plugin in plugins("model")}
    ape = listed["ape"]
    assert (ape.kind, ape.package, ape.package_version, ape.target) == ("model", "zoo", "2.5", "zoo_code:Ape")
    assert find("model", "ape") == ape
    assert "zoo_code" not in sys.modules
    assert [plugin.name for plugin in plugins("model")] == sorted(plugin.name for plugin in plugins("model"))
    assert "ape" not in {plugin.name for plugin in plugins("dataset")}


def test_what_is_installed_or_removed_meanwhile_is_seen(install: Install, tmp_path: Path) -> None:
    install("zoo", "", module="zoo_code", models={"ape": "zoo_code:Ape"})
    entries = len(plugins("model"))
    assert plugins("model") == plugins("model")
    time.sleep(0.02)  # the time of a folder's last change is no finer than this
    write_package(tmp_path / "zoo", "annex", "", module="annex_code", models={"bat": "annex_code:Bat"})
    assert find("model", "bat").package == "annex"
    assert len(plugins("model")) == entries + 1
    time.sleep(0.02)
    shutil.rmtree(tmp_path / "zoo" / "annex-1.0.dist-info")
    assert plugins("model", "bat") == []
    assert len(plugins("model")) == entries


@pytest.mark.parametrize("metadata", [b"\xff\xfe", b"", None])
def test_a_package_with_broken_metadata_hides_no_other(install: Install, tmp_path: Path, metadata: bytes | None) -> None:
    install("zoo", "", module="zoo_code", models={"ape": "zoo_code:Ape"})
    file = tmp_path / "zoo" / "zoo-1.0.dist-info" / "METADATA"
    file.unlink() if metadata is None else file.write_bytes(metadata)
    assert find("model", "lenet").package == "tinyclsf"
    ape = find("model", "ape")
    assert (ape.package, ape.package_version) == ("unknown", "unknown")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "command"])
def test_every_plugin_that_ships_can_be_loaded(kind: Kind) -> None:
    own = [plugin for plugin in plugins(kind) if plugin.package == "tinyclsf"]
    assert len(own) >= 2
    assert all(callable(load(plugin)) for plugin in own)


@pytest.mark.parametrize(
    ("module", "code", "reason"),
    [
        ("absent_code", "import absent_library", "ModuleNotFoundError: No module named 'absent_library'"),
        ("import_code", "raise ImportError('no\\n  luck')", "ImportError: no luck"),
        ("syntax_code", "def net(:\n", "SyntaxError: invalid syntax (syntax_code.py, line 1)"),
        ("exit_code", "raise SystemExit(3)", "SystemExit: 3"),
        ("silent_code", "import sys\nsys.exit()", "SystemExit"),
        ("empty_code", "", "AttributeError: module 'empty_code' has no attribute 'net'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_breaks_only_itself(
    install: Install, tmp_path: Path, module: str, code: str, reason: str
) -> None:
    install("broken", code, module=module, models={"net": f"{module}:net"})
    with pytest.raises(PluginError) as error:
        load(find("model", "net"))
    assert str(error.value) == f"model 'net' of package broken ({module}:net) cannot be imported: {reason}"
    place = f"look at {tmp_path / 'broken' / module}.py, line {len(code.splitlines())}"
    assert error.value.tip == (None if module in ("syntax_code", "empty_code") else place)
    assert error.value.exit_code == 5
    assert callable(load(find("model", "mnist-cnn")))
    assert {"net", "mnist-cnn"} <= {plugin.name for plugin in plugins("model")}


def test_an_interrupt_during_import_is_not_the_plugins_fault(install: Install) -> None:
    install("slow", "raise KeyboardInterrupt", module="slow_code", models={"net": "slow_code:net"})
    with pytest.raises(KeyboardInterrupt):
        load(find("model", "net"))


def test_a_plugin_that_prints_is_a_plugin(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("loud", "print('hello')\ndef data(): pass", module="loud_code", datasets={"loud": "loud_code:data"})
    found = find("dataset", "loud")
    assert capsys.readouterr().out == ""
    assert load(found).__name__ == "data"
    assert capsys.readouterr().out == "hello\n"


def test_a_name_that_two_packages_registered_names_both(install: Install) -> None:
    install("one", "def net(): pass", module="one_code", models={"net": "one_code:net"})
    install("two", "def net(): pass", module="two_code", models={"net": "two_code:net"})
    with pytest.raises(PluginError) as error:
        find("model", "net")
    assert str(error.value) == (
        "model 'net' is registered twice, by one (one_code:net) and two (two_code:net); uninstall one of the packages"
    )
    assert find("model", "mnist-cnn").package == "tinyclsf"


def test_one_name_for_a_model_and_a_data_set_is_no_clash(install: Install) -> None:
    code = "def net(): pass\ndef data(): pass"
    install("pair", code, module="pair_code", models={"pair": "pair_code:net"}, datasets={"pair": "pair_code:data"})
    assert (find("model", "pair").target, find("dataset", "pair").target) == ("pair_code:net", "pair_code:data")


def test_what_cannot_be_called_is_no_plugin(install: Install) -> None:
    install("number", "net = 3", module="number_code", models={"net": "number_code:net"})
    with pytest.raises(PluginError) as error:
        load(find("model", "net"))
    assert str(error.value) == (
        "model 'net' of package number (number_code:net) is int, which cannot be called; wanted a function or class"
    )


@pytest.mark.parametrize(
    ("kind", "name", "tip"),
    [
        ("model", "mnist-cn", "did you mean 'mnist-cnn'?"),
        ("dataset", "digit", "did you mean 'digits'?"),
        ("callback", "tensorbord", "did you mean 'tensorboard'?"),
        ("command", "ft", None),
        ("model", "", None),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(kind: Kind, name: str, tip: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        find(kind, name)
    assert (str(error.value), error.value.tip) == (f"there is no {kind} '{name}'; 'tinyclsf list {kind}s' shows all", tip)


def test_what_a_plugin_raises_is_blamed_on_it_and_our_errors_pass() -> None:
    plugin = find("dataset", "digits")
    blame = "dataset 'digits' of package tinyclsf (tinyclsf_plugins.datasets.digits:digits) failed"
    with pytest.raises(PluginError) as error, blamed_on(plugin, "failed"):
        raise ZeroDivisionError("division\nby zero")
    assert str(error.value) == f"{blame}: ZeroDivisionError: division by zero"
    with pytest.raises(ConfigurationError) as passed, blamed_on(plugin, "failed"):
        raise ConfigurationError("choose another", tip="this one")
    assert (str(passed.value), passed.value.tip) == ("choose another", "this one")


def test_a_result_of_another_type_is_named() -> None:
    plugin = find("model", "mnist-cnn")
    check_result(plugin, nn.Flatten(), nn.Module)
    with pytest.raises(PluginError) as error:
        check_result(plugin, None, nn.Module)
    assert str(error.value) == (
        "model 'mnist-cnn' of package tinyclsf (tinyclsf_plugins.models.mnist_cnn:mnist_cnn) returned NoneType; "
        "wanted torch.nn.modules.module.Module"
    )
    with pytest.raises(PluginError) as error:
        check_result(find("dataset", "digits"), (1, 2), Splits)
    assert str(error.value) == (
        "dataset 'digits' of package tinyclsf (tinyclsf_plugins.datasets.digits:digits) returned tuple; "
        "wanted tinyclsf.data.Splits"
    )
