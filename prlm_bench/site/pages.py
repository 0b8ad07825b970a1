"""The pages, filled in by jinja2 with everything escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from ..report.formats import LEGEND, REPORTED, estimate, heading, percent, reported_cells, value
from ..report.leaderboard import Table
from ..results.schema import Estimate
from ..results.store import Stored
from .samples import PAGE

_TEMPLATES = Path(__file__).resolve().parent / "templates"
#: Width of a drawn interval in pixels.
_WIDTH = 96


def index_page(tables: Sequence[Table], groups: Mapping[int, Sequence[int]]) -> str:
    """The leaderboard.

    Args:
        tables: the tables.
        groups: for the `id` of each table, the group number of each row.
    """
    views = [
        {
            "table": table,
            "heading": heading(table),
            "scales": {name: _scale(table, name) for name in table.metrics},
            "groups": groups[id(table)],
            "retrieval": _names(table, "retrieval"),
            "rewards": _names(table, "rewards"),
            "reported": reported_cells(table) if table.reported else None,
        }
        for table in tables
    ]
    facets = {
        "task": sorted({table.task for table in tables}),
        "split": sorted({table.split for table in tables}),
        "protocol": sorted({table.protocol for table in tables}),
    }
    return _render("index.html", title="Leaderboard", root=".", views=views, facets=facets, legend=LEGEND)


def run_page(result: Stored, tables: Sequence[Table], neighbours: Sequence[Mapping[str, str]], pages: int) -> str:
    """One result: its manifest, figures and samples."""
    manifest, summary = result.manifest, result.summary
    method = manifest.method
    name = f"{method.retriever.spec} × k={method.k} × {method.reasoner.spec} × {method.generator.spec}"
    settings = {
        "run": manifest.fingerprint[:12],
        "pages": pages,
        "size": PAGE,
        "n": summary.n,
        "metrics": manifest.metrics,
        "neighbours": list(neighbours),
    }
    return _render(
        "run.html",
        title=f"{manifest.task} {manifest.split}: {name}",
        root="../..",
        manifest=manifest,
        summary=summary,
        name=name,
        headings=[heading(table) for table in tables],
        manifest_json=orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2).decode(),
        settings=orjson.dumps(settings).decode(),
    )


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(estimate=estimate, figure=value, percent=percent, drawn=_drawn)
    return environment.get_template(template).render(version=__version__, reported_note=REPORTED, **values)


def _names(table: Table, group: str) -> list[str]:
    return list(dict.fromkeys(name for row in table.rows for name in getattr(row, group)))


def _scale(table: Table, metric: str) -> tuple[float, float]:
    """The range that all intervals of a metric are drawn in."""
    found = [row.metrics[metric] for row in table.rows if metric in row.metrics]
    ends = [end for each in found for end in (each.low, each.high, each.value) if end is not None]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _drawn(found: Estimate, scale: tuple[float, float]) -> dict[str, float] | None:
    """Where an interval and its point stand on the scale, in pixels."""
    if found.value is None or found.low is None or found.high is None:
        return None
    low, high = scale
    unit = (_WIDTH - 8) / (high - low) if high > low else 0.0
    at = [4 + (end - low) * unit for end in (found.low, found.value, found.high)]
    return {"low": round(at[0], 1), "value": round(at[1], 1), "high": round(at[2], 1), "width": _WIDTH}
