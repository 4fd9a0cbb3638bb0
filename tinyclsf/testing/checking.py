"""Checks of a plugin, each with a name: all of them in one call, or one test each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from tinyclsf.errors import ConfigurationError, TinyclsfError
from tinyclsf.registry.plugins import Kind, Plugin, find, given_plugin

if TYPE_CHECKING:
    import pytest

Subject = TypeVar("Subject")


class Broken(Exception):
    """What a check found: one sentence with what was found, what was wanted and how to mend it."""


class CannotRun(Exception):
    """Why a check says nothing about a plugin."""


class ChecksFailed(AssertionError):
    """All checks that a plugin failed, each in a sentence."""


@dataclass(frozen=True)
class Verdict:
    """What one check says of a plugin; `sentence` is empty where it passed."""

    check: str
    outcome: Literal["passed", "failed", "not run"]
    sentence: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.sentence or self.outcome}"


class Verdicts(list[Verdict]):
    """What each check says of a plugin, in the order of the checks."""

    @property
    def failed(self) -> list[Verdict]:
        """Those of the checks that failed."""
        return [each for each in self if each.outcome == "failed"]

    def __repr__(self) -> str:
        others = [each for each in self if each.outcome == "not run"]
        passed = sum(each.outcome == "passed" for each in self)
        lines = [f"{passed} of {len(self)} checks passed", *(f"  failed   {each}" for each in self.failed)]
        return "\n".join([*lines, *(f"  not run  {each}" for each in others)])


@dataclass(frozen=True)
class BoundCheck(Generic[Subject]):
    """One check of one plugin; called in a test, it fails or is skipped with its sentence."""

    name: str
    check: Callable[[Subject], None]
    subject: Subject

    def verdict(self) -> Verdict:
        """Run the check."""
        return self._judged()[0]

    def _judged(self) -> tuple[Verdict, Exception | None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.check(self.subject)
        except CannotRun as why:
            return Verdict(self.name, "not run", str(why)), why
        except (Broken, TinyclsfError) as error:
            return Verdict(self.name, "failed", str(error)), error
        except Exception as error:
            reason = " ".join(str(error).split())
            wanted = "wanted no error, or one of tinyclsf.plugin that says what to do"
            return Verdict(self.name, "failed", f"it raises {type(error).__name__}: {reason}; {wanted}"), error
        return Verdict(self.name, "passed"), None

    def __call__(self) -> None:
        import pytest

        verdict, error = self._judged()
        if verdict.outcome == "not run":
            pytest.skip(verdict.sentence)
        if verdict.outcome == "failed":
            raise ChecksFailed(str(verdict)) from error  # whose traceback shows the line of the plugin


class Checks(Generic[Subject]):
    """The checks of one kind of plugin.

    Called with a plugin, by name or as a callable, and options of it, they all run.
    Raises: ChecksFailed with a sentence for each check that failed.
    """

    def __init__(
        self,
        kind: Kind,
        subject: Callable[[Plugin, dict[str, Any], bool], Subject],
        checks: Sequence[Callable[[Subject], None]],
        quick: Sequence[Callable[[Subject], None]],
    ) -> None:
        self.kind, self._subject, self._checks, self._quick = kind, subject, checks, quick

    def bound(self, plugin: str | Callable[..., Any], *, quick: bool = False, **options: Any) -> list[BoundCheck[Subject]]:
        """The checks of a plugin, each to be run by itself; `quick` ones read no data and train nothing."""
        try:
            found = find(self.kind, plugin) if isinstance(plugin, str) else given_plugin(self.kind, plugin)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error}; if it is in this package, run python -m pip install -e . first", tip=error.tip
            ) from None
        subject = self._subject(found, options, quick)
        checks = self._quick if quick else self._checks
        return [BoundCheck(each.__name__.replace("_", "-"), each, subject) for each in checks]

    def __call__(self, plugin: str | Callable[..., Any], **options: Any) -> Verdicts:
        verdicts = Verdicts(each.verdict() for each in self.bound(plugin, **options))
        if verdicts.failed:
            name = f"{self.kind} {plugin if isinstance(plugin, str) else given_plugin(self.kind, plugin).name}"
            count = f"{len(verdicts.failed)} of {len(verdicts)} checks"
            raise ChecksFailed("\n".join([f"{name} fails {count}", *(f"- {each}" for each in verdicts.failed)]))
        return verdicts


def parametrize_with_checks(checks: Checks[Any], plugin: str | Callable[..., Any], **options: Any) -> pytest.MarkDecorator:
    """A decorator that makes of a test with the argument `check` one test for each check of a plugin.

    The test calls `check()`. A check that says nothing about the plugin is skipped with its reason.
    """
    import pytest

    bound = checks.bound(plugin, **options)
    return pytest.mark.parametrize("check", [pytest.param(each, id=each.name) for each in bound])
