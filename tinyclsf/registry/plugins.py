"""From names to plugins: entry points of installed packages, listed from their metadata and imported one at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib.metadata import Distribution, entry_points, version
from typing import Any, Literal, TypeVar

from tinyclsf.errors import ConfigurationError, PluginError, TinyclsfError, did_you_mean

Result = TypeVar("Result")
Kind = Literal["dataset", "model", "callback", "command"]
KINDS: tuple[Kind, ...] = ("dataset", "model", "callback", "command")
# The commands of tinyclsf itself: no package can have their names.
OWN_COMMANDS = (
    *("fit", "runs", "evaluate", "report", "compare", "summary", "predict", "export", "script"),
    *("show", "check", "cache", "list", "info", "new"),
)
# How names begin that torchvision has for its models: its import, which would tell all of them, takes seconds.
_ARCHITECTURES = (
    *("alexnet", "convnext", "densenet", "efficientnet", "googlenet", "inception", "maxvit", "mnasnet", "mobilenet", "regnet"),
    *("resnet", "resnext", "shufflenet", "squeezenet", "swin", "vgg", "vit", "wide_resnet"),
)


@dataclass(frozen=True)
class Plugin:
    """A registered name and where it points to; nothing of it has been imported."""

    kind: Kind
    name: str
    package: str | None  # None for what was given in Python
    package_version: str | None
    target: str
    _load: Callable[[], Any] = field(repr=False, compare=False)


def plugins(kind: Kind, name: str | None = None) -> list[Plugin]:
    """The plugins of a kind, by name and package: all of them, or those of one name.

    An architecture of torchvision that no plugin is named after is the model torchvision with that.
    """
    # An installation changes the time of one of these places, or adds one.
    places = tuple((place, os.stat(place or ".").st_mtime_ns) for place in sys.path if os.path.exists(place or "."))
    found = [plugin for plugin in _registered(kind, places) if name in (None, plugin.name)]
    if not found and kind == "model" and name is not None and name.startswith(_ARCHITECTURES) and name.isidentifier():
        return [_architecture(plugin, name) for plugin in plugins(kind, "torchvision")]
    return found


@lru_cache(maxsize=len(KINDS))
def _registered(kind: Kind, places: tuple[tuple[str, int], ...]) -> list[Plugin]:
    """The plugins of a kind by name and package, from files of each package in these places: reading all takes a while."""
    packages: dict[int, tuple[str, str]] = {}
    found = []
    for entry in entry_points(group=f"tinyclsf.{kind}s"):
        if id(entry.dist) not in packages:
            packages[id(entry.dist)] = _name_and_version(entry.dist)
        found.append(Plugin(kind, entry.name, *packages[id(entry.dist)], entry.value, entry.load))
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package or "", plugin.target))


def _name_and_version(package: Distribution | None) -> tuple[str, str]:
    """What a package says of itself; "unknown" where it is missing or broken, which must not hide the plugins of others."""
    try:
        about: Any = None if package is None else package.metadata  # parsed at each asking
        return about["Name"] or "unknown", about["Version"] or "unknown"
    except Exception:
        return "unknown", "unknown"


def find(kind: Kind, name: str) -> Plugin:
    """The plugin of that name.

    Raises: ConfigurationError if there is none; PluginError if two packages registered the name, or it is a command of ours.
    """
    found = plugins(kind, name)
    if not found:
        tip = did_you_mean(name, {plugin.name for plugin in plugins(kind)})
        raise ConfigurationError(f"there is no {kind} '{name}'; 'tinyclsf list {kind}s' shows all", tip=tip)
    if len(found) > 1:
        owners = " and ".join(f"{plugin.package} ({plugin.target})" for plugin in found)
        raise PluginError(f"{kind} '{name}' is registered twice, by {owners}; uninstall one of the packages")
    if is_refused(found[0]):
        raise PluginError(f"{full_name(found[0])} is not used: tinyclsf has a command of that name; its author can rename it")
    return found[0]


def is_refused(plugin: Plugin) -> bool:
    """Whether a registered command is never used, as its name is that of a command of tinyclsf."""
    return plugin.kind == "command" and plugin.name in OWN_COMMANDS


def _architecture(plugin: Plugin, arch: str) -> Plugin:
    return replace(plugin, name=arch, _load=lambda: partial(plugin._load(), arch=arch))


def given_plugin(kind: Kind, factory: Callable[..., Any], *, name: str | None = None) -> Plugin:
    """A callable that was given in Python, as if it were registered; it has no package."""
    found = name or str(getattr(factory, "name" if kind == "command" else "__name__", type(factory).__name__))
    target = f"{getattr(factory, '__module__', type(factory).__module__)}:{getattr(factory, '__qualname__', found)}"
    return Plugin(kind, found, None, None, target, lambda: factory)


def load(plugin: Plugin) -> Callable[..., Any]:
    """Import a plugin, and nothing but it.

    Raises: PluginError if the import fails in any way or gives no callable.
    """
    with blamed_on(plugin, "cannot be imported"):
        target = plugin._load()
    if not callable(target):
        raise PluginError(f"{full_name(plugin)} is {type(target).__name__}, which cannot be called; wanted a function or class")
    return target  # type: ignore[no-any-return]


@contextmanager
def blamed_on(plugin: Plugin, what: str) -> Iterator[None]:
    """Turn whatever a plugin's own code raises into a PluginError that names the plugin; our own errors pass as they are."""
    try:
        yield
    except (TinyclsfError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin may even call sys.exit() when it is imported
        reason = " ".join(str(error).split())
        message = f"{full_name(plugin)} {what}: {type(error).__name__}: {reason}".rstrip(": ")
        raise PluginError(message, tip=_place(plugin, error)) from error


def _place(plugin: Plugin, error: BaseException) -> str | None:
    """Where in a plugin's own module an error came up."""
    import traceback  # which --help need not wait for

    module = plugin.target.partition(":")[0]
    own = [each for each in traceback.walk_tb(error.__traceback__) if each[0].f_globals.get("__name__") == module]
    if plugin.package == "tinyclsf" or not own:
        return None
    frame, line = own[-1]
    return f"look at {frame.f_code.co_filename}, line {line}"


@contextmanager
def blamed_for_batches(plugin: Plugin) -> Iterator[None]:
    """Blame on a data set's plugin what came out of its images, as the frames that an error went through tell."""
    try:
        yield
    except Exception as error:
        import traceback  # which --help need not wait for

        modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
        if not any(name.startswith(("tinyclsf.batches", "torch.utils.data")) for name in modules):
            raise
        with blamed_on(plugin, "failed to give a batch"):
            raise


def check_result(plugin: Plugin, result: object, wanted: type[Result]) -> Result:
    """What a plugin returned, if it is what its contract says.

    Raises: PluginError if the result is of another type.
    """
    if not isinstance(result, wanted):
        right = f"{wanted.__module__}.{wanted.__qualname__}"
        raise PluginError(f"{full_name(plugin)} returned {type(result).__name__}; wanted {right}")
    return result


def own_version() -> str:
    """The installed version of tinyclsf."""
    return version("tinyclsf")


def full_name(plugin: Plugin) -> str:
    """A plugin as a sentence names it: its kind, its name, and where it comes from."""
    package = "" if plugin.package is None else f" of package {plugin.package}"
    return f"{plugin.kind} '{plugin.name}'{package} ({plugin.target})"
