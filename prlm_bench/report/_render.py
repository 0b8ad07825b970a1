"""Renders tables in a format by name; a new format is a module and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from ._leaderboard import Table

#: Each is a module of this package with a function `render_FORMAT`.
FORMATS = ("terminal", "markdown", "csv", "json", "latex", "html")


def render(tables: Sequence[Table], form: str) -> str:
    """All tables in one of `FORMATS`, with a final line break."""
    renderer: Callable[[Sequence[Table]], str] = getattr(import_module(f"{__package__}._{form}"), f"render_{form}")
    return renderer(tables)
