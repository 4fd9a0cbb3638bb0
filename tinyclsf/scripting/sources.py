"""The source of a class or function together with all that it uses of its own package, as text that runs by itself."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tinyclsf import errors
from tinyclsf.errors import ConfigurationError

_OWN = ("tinyclsf", "tinyclsf_plugins")
_MARKS = {"recipe", "prepared", "scripted"}  # decorators that tell tinyclsf something and leave the object as it is
_ERRORS = "tinyclsf.errors"
_PIECE = "the code for a script"
_RAISED = [name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, errors.TinyclsfError)]
_SECTION = re.compile(r"\s*([A-Z]\w+:|\"\"\"$)")


class Sources(NamedTuple):
    """Import statements, and definitions by name in an order that runs."""

    imports: list[str]
    definitions: dict[str, str]


def sources_of(*targets: Any) -> Sources:
    """The source of classes and functions, with the constants, functions and classes of their own packages that they use.

    What tinyclsf alone has a use for is left out: its decorators, and checks that can do nothing but raise one of its errors.
    Raises: ConfigurationError if a source is not there, or cannot be taken out of its module.
    """
    collector = _Collector()
    for target in targets:
        module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
        if not isinstance(module, str) or not name.isidentifier():
            found = name or type(target).__name__
            raise ConfigurationError(f"{found} is no class or function of a module, so that its source cannot be written out")
        collector.own.add(module.partition(".")[0])
        collector.add(module, name)
    return collector.sources()


def sources_in(code: str, *packages: str) -> tuple[Sources, str]:
    """The imports and definitions of a piece of code, constants first, and the expression that it ends with, if any.

    What it imports from tinyclsf or from those packages comes with its source.
    Raises: ConfigurationError if a source is not there, or cannot be taken out of its module.
    """
    collector = _Collector()
    collector.own.update(packages)
    bindings, tree = collector.take(_PIECE, code), ast.parse(code)
    used = set(_names(tree, set()))
    constants = [name for name, node in bindings.items() if isinstance(node, (ast.Assign, ast.AnnAssign))]
    for name in (*constants, *bindings):
        if not isinstance(bindings[name], (ast.Import, ast.ImportFrom)) or (name in used and collector.is_own(_PIECE, name)):
            collector.add(_PIECE, name)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        return collector.sources(), ""
    for name in _names(last, set()):
        collector.add(_PIECE, name)
    return collector.sources(), ast.get_source_segment(code, last) or ""


def import_lines(statements: Iterable[str]) -> list[str]:
    """Import statements merged and sorted, in two groups: Python's own, and all others."""
    plain, members = set(), dict[str, set[str]]()
    for statement in statements:
        node = ast.parse(statement).body[0]
        if isinstance(node, ast.Import):
            plain.add(statement)
        elif isinstance(node, ast.ImportFrom):
            members.setdefault(str(node.module), set()).update(map(ast.unparse, node.names))
    lines = sorted(plain) + [f"from {module} import {', '.join(sorted(members[module]))}" for module in sorted(members)]
    groups: list[list[str]] = [[], []]
    for line in lines:
        groups[line.split()[1].partition(".")[0] not in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group).splitlines()


class _Collector:
    """What has been collected; definitions come after those that they use."""

    def __init__(self) -> None:
        self.own = set(_OWN)
        self.imports: dict[str, None] = {}
        self.homes: dict[str, str] = {}  # the module of each name
        self.texts: dict[tuple[str, str], str] = {}
        self._modules: dict[str, _Module] = {}
        self._seen: set[tuple[str, str]] = set()

    def sources(self) -> Sources:
        """All that was added."""
        return Sources(list(self.imports), {name: self.texts[home, name] for name, home in self.homes.items()})

    def take(self, module: str, source: str) -> dict[str, ast.stmt]:
        """Take a text for a module, and return the statements that its names come from."""
        self._modules[module] = _Module("", source)
        return self._modules[module].bindings

    def is_own(self, module: str, name: str) -> bool:
        """Whether an imported name is written out."""
        return self._definition(module, name)[0] != module

    def add(self, module: str, name: str) -> None:
        """Add what a name means in a module, and what that uses."""
        home, statement = self._definition(module, name)
        if statement is None or (home, name) in self._seen:
            return
        self._seen.add((home, name))
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            self._add_import(home, statement, name)
            return
        lines, used = self._written(home, statement)
        for each in used:
            self.add(home, each)
        if self.homes.setdefault(name, home) != home:
            raise ConfigurationError(
                f"{self.homes[name]} and {home} both define {name}, which one file cannot; give one of them another name"
            )
        self.texts[home, name] = "\n".join(lines)

    def _definition(self, module: str, name: str) -> tuple[str, ast.stmt | None]:
        """The statement that defines a name and its module, followed through the imports of own packages."""
        statement = self._module(module).bindings.get(name)
        if not isinstance(statement, ast.ImportFrom):
            return module, statement
        source = importlib.util.resolve_name("." * statement.level + (statement.module or ""), self._module(module).package)
        if source.partition(".")[0] not in self.own:
            return module, statement
        if any(alias.asname == name != alias.name for alias in statement.names):
            raise ConfigurationError(
                f"{module} imports a thing of {source} as {name}; it can be written out under its own name"
            )
        home, found = self._definition(source, name)
        if found is None:
            raise ConfigurationError(f"{module} uses {source}.{name}, a module of its own, which cannot be written out")
        return home, found

    def _add_import(self, module: str, statement: ast.Import | ast.ImportFrom, name: str) -> None:
        for alias in statement.names:
            if name != (alias.asname or alias.name).partition(".")[0]:
                continue
            if isinstance(statement, ast.ImportFrom):
                self.imports[f"from {statement.module} import {ast.unparse(alias)}"] = None
            elif alias.name.partition(".")[0] in self.own:
                raise ConfigurationError(f"{module} uses the module {alias.name} as a whole, which cannot be written out")
            else:
                self.imports[f"import {ast.unparse(alias)}"] = None

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            module = importlib.import_module(name)
            read = getattr(getattr(module.__spec__, "loader", None), "get_source", None)
            source = None if read is None else read(name)
            if source is None:
                raise ConfigurationError(f"the source of module {name} is not there, so that it cannot be written out")
            self._modules[name] = _Module(module.__package__ or "", source)
        return self._modules[name]

    def _written(self, module: str, statement: ast.stmt) -> tuple[list[str], list[str]]:
        """A definition's lines without what tinyclsf alone needs, and the names that those use."""
        lines, removed = self._module(module).lines, set[int]()
        dropped: set[ast.AST] = set()
        for mark in getattr(statement, "decorator_list", []):
            if self._is_mark(module, mark):
                dropped.add(mark)
                removed.update(range(mark.lineno, (mark.end_lineno or 0) + 1))
        for node in ast.walk(statement):
            body = getattr(node, "body", None)
            checks = [each for each in body if self._is_check(module, each)] if isinstance(body, list) else []
            if checks and any(not _is_text(each) and each not in checks for each in body or ()):
                dropped.update(checks)
                for each in checks:
                    removed.update(range(each.lineno, (each.end_lineno or 0) + 1))
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.body and _is_text(node.body[0]):
                removed.update(_raises(lines, node.body[0]))
        start, end = _first_line(statement, lines), statement.end_lineno or 0
        text = [lines[at - 1] for at in range(start, end + 1) if at not in removed]
        return [re.sub(r"\s*# type: ignore(\[[\w-]+\])?", "", line).rstrip() for line in _tidied(text)], list(
            dict.fromkeys(_names(statement, dropped))
        )

    def _is_mark(self, module: str, decorator: ast.expr) -> bool:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not isinstance(name, ast.Name) or name.id not in _MARKS:
            return False
        return self._definition(module, name.id)[0].startswith("tinyclsf.")

    def _is_check(self, module: str, statement: ast.stmt) -> bool:
        """Whether a statement can do nothing but raise one of tinyclsf's errors, which a run that went through did not meet."""
        if isinstance(statement, ast.If):
            binds = any(isinstance(node, ast.NamedExpr) for node in ast.walk(statement.test))
            return not binds and not statement.orelse and all(self._raises_own(module, each) for each in statement.body)
        if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
            return False
        called = statement.value.func
        home, found = self._definition(module, called.id) if isinstance(called, ast.Name) else (module, None)
        if not isinstance(found, ast.FunctionDef):
            return False
        return all(_is_text(each) or (isinstance(each, ast.If) and self._is_check(home, each)) for each in found.body)

    def _raises_own(self, module: str, statement: ast.stmt) -> bool:
        raised = statement.exc if isinstance(statement, ast.Raise) else None
        name = raised.func if isinstance(raised, ast.Call) else raised
        return isinstance(name, ast.Name) and self._definition(module, name.id)[0] == _ERRORS


class _Module:
    """A module's lines, and the statement that each of its names comes from."""

    def __init__(self, package: str, source: str) -> None:
        self.package = package
        self.lines = source.split("\n")
        self.bindings = {name: node for node in _top(ast.parse(source).body) for name in _bound(node)}


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from node.body
        else:
            yield node


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]


def _names(node: ast.AST, dropped: set[ast.AST]) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    for child in ast.iter_child_nodes(node):
        if child not in dropped:
            yield from _names(child, dropped)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _first_line(statement: ast.stmt, lines: list[str]) -> int:
    start: int = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
    while start > 1 and lines[start - 2].startswith("#"):
        start -= 1
    return start


def _raises(lines: list[str], text: ast.stmt) -> list[int]:
    found: list[int] = []
    for at in range(text.lineno, (text.end_lineno or 0) + 1):
        line = lines[at - 1]
        begins = line.strip().startswith("Raises:")
        if begins or (found and found[-1] == at - 1 and not _SECTION.match(line)):
            found.append(at)
    told = " ".join(lines[at - 1] for at in found)
    return found if any(name in told for name in _RAISED) else []


def _tidied(lines: list[str]) -> list[str]:
    text = re.sub(r"\n[ \t]*\n[ \t]*\"\"\"(?=\n|$)", '"""', "\n".join(lines))
    return textwrap.dedent(text).splitlines()
