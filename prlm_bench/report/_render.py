"""Renders tables in a format by name; a new format is a module and an entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from ..errors import PrlmBenchError
from ._leaderboard import Table
from ._terminal import TableView

#: Each is a module of this package with a function `render_FORMAT`.
FORMATS = ("terminal", "markdown", "csv", "json", "latex", "html")


def render(tables: Sequence[Table], form: str, view: TableView | None = None) -> str:
    """All tables in one of `FORMATS`, with a final line break.

    Args:
        tables: the tables.
        form: the format.
        view: what a terminal shows of them.

    Raises:
        PrlmBenchError: another format has no such view, or no table has what the view names.
    """
    renderer: Callable[..., str] = getattr(import_module(f"{__package__}._{form}"), f"render_{form}")
    if form == "terminal":
        return renderer(tables, view)
    if view not in (None, TableView()):
        raise PrlmBenchError(f"--columns, --metrics and --wide are of the format terminal, not of {form}")
    return renderer(tables)
