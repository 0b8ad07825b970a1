"""Writes the site: one index, and for each result a page with its samples in numbered data files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from .._files import write_whole
from ..report.leaderboard import Table, build_tables
from ..results.store import Stored
from ..running.progress import Progress, Silent
from ..tasks import TaskBook
from .groups import tied_groups
from .pages import index_page, run_page
from .samples import write_samples

_STATIC = Path(__file__).resolve().parent / "static"


def write_site(stored: Sequence[Stored], tasks: TaskBook, output: Path, progress: Progress | None = None) -> Path:
    """Write the whole site below `output`.

    Args:
        stored: finished results.
        tasks: gives titles.
        output: the site's folder; what an earlier site left there is replaced, other files are left alone.
        progress: told about each result.

    Returns:
        The index page.
    """
    progress = progress or Silent()
    by_fingerprint = {result.manifest.fingerprint: result for result in stored}
    tables = build_tables(stored, tasks)
    groups = {
        id(table): tied_groups([by_fingerprint[row.fingerprint] for row in table.rows], table.metrics[0])
        for table in tables
    }
    runs = output / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    for file in sorted(_STATIC.iterdir()):
        write_whole(output / "static" / file.name, file.read_bytes())
    progress.start("site", len(by_fingerprint))
    for fingerprint, result in by_fingerprint.items():
        folder = runs / fingerprint[:12]
        mine = [table for table in tables if any(row.fingerprint == fingerprint for row in table.rows)]
        pages = write_samples(result, folder)
        write_whole(folder / "index.html", run_page(result, mine, _neighbours(result, mine), pages).encode())
        progress.advance()
    index = output / "index.html"
    write_whole(index, index_page(tables, groups).encode())
    return index


def _neighbours(result: Stored, tables: Sequence[Table]) -> list[dict[str, str]]:
    """The other results over the same questions, for side-by-side reading."""
    rows = {row.fingerprint: row for table in tables for row in table.rows}
    rows.pop(result.manifest.fingerprint, None)
    return [
        {"run": fingerprint[:12], "name": f"{row.retriever} × k={row.k} × {row.reasoner} × {row.generator}, {row.seed}"}
        for fingerprint, row in rows.items()
    ]
