"""Text that is made from a template file: the page of a report, the loop of a script."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import jinja2


@cache
def load_template(path: Path, *, autoescape: bool = False, **filters: Callable[..., str]) -> jinja2.Template:
    """A template, which fails where a name is missing; with `autoescape` what is put in is no markup. It is compiled once."""
    environment = jinja2.Environment(
        autoescape=autoescape, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= filters
    return environment.from_string(path.read_text(encoding="utf-8"))
