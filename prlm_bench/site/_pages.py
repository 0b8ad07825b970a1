"""Renders the pages with jinja2 and autoescaping."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from .._util.html import safe_json
from ..host import PluginHost
from ..report import SeedSpread, Table, estimate, percent
from ..report._groups import group_name
from ..report._overview import Board
from ..report._text import REPORTED, speed_cells, value
from ..report.findings import Finding
from ..results import Estimate, Manifest, Stored
from ..results._select import method_line
from ._charts import WIDTH, draw
from ._entries import Entry
from ._legend import legend_lines, luck_of
from ._pictures import Picture
from ._samples import PAGE, SHORT
from ._views import anchor, gain_cell, overview_views, table_views

_TEMPLATES = Path(__file__).resolve().parent / "templates"
#: Maximum characters of a method shown with all options.
_LINE = 100


def index_page(board: Board, host: PluginHost | None = None, pictures: Sequence[Picture] = ()) -> str:
    """The leaderboard.

    Args:
        board: its tables and overviews.
        host: knows the components.
        pictures: of studies, in the folder `pictures`.
    """
    facets = {
        "task": sorted({table.task for table in board.tables}),
        "split": sorted({table.split for table in board.tables}),
        "protocol": sorted({table.protocol for table in board.tables}),
    }
    return _render(
        "index.html",
        title="Leaderboard",
        root=".",
        views=table_views(board, host),
        overviews=overview_views(board, host),
        legend=[_marked_up(text) for text in legend_lines(board, host, drawn=True)],
        pictures=pictures,
        facets=facets,
    )


def _marked_up(text: str) -> str:
    """A line of the legend as HTML: commands in backticks become code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def run_page(
    result: Stored,
    tables: Sequence[tuple[Table, Sequence[Entry]]],
    samples: Mapping[str, str],
    findings: Sequence[Finding] = (),
) -> str:
    """The page of one result: manifest, figures and samples.

    Args:
        result: the result.
        tables: the tables that contain it, with their entries.
        samples: the names of the indexes of samples, by fingerprint; rows without samples have none.
        findings: outcomes of its checks.
    """
    manifest = result.manifest
    mine = manifest.fingerprint
    known = [entry for _, entries in tables for entry in entries]
    seeds = next((entry.runs for entry in known if mine in entry.row.fingerprints), [])
    ranking = result.summary.metrics.get(manifest.metric_names[0]) if manifest.metrics else None
    settings = {
        "samples": samples.get(mine),
        "size": PAGE,
        "higher": ranking is None or ranking.higher_is_better,
        "neighbours": _neighbours(mine, known, samples),
    }
    return _render(
        "run.html",
        title=f"{manifest.task} {manifest.split}: {_name(result)}",
        root="../..",
        manifest=manifest,
        summary=result.summary,
        timing=result.timing,
        name=_name(result),
        tables=[(anchor(table), table) for table, _ in tables],
        seeds=[(seed, fingerprint[:12]) for seed, fingerprint in seeds] if len(seeds) > 1 else [],
        findings=findings,
        # Quotes mean nothing in the content of an element, and most of a manifest's bytes would be theirs.
        manifest_json=escape(_indented(manifest), quote=False),
        short=SHORT,
        has_samples=mine in samples,
        settings=safe_json(settings).decode(),
    )


def _indented(manifest: Manifest) -> str:
    return orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2).decode()


def _name(result: Stored) -> str:
    method = result.manifest.method
    return compose(method.retriever.spec, method.k, method.reasoner.spec, method.generator.spec)


def compose(retriever: str, k: int, reasoner: str, generator: str) -> str:
    """A method in one line; if it is too long, options are replaced by an ellipsis."""
    line = method_line(retriever, k, reasoner, generator)
    if len(line) <= _LINE:
        return line
    short = [spec.partition(":")[0] + ("…" if ":" in spec else "") for spec in (retriever, reasoner, generator)]
    return method_line(short[0], k, *short[1:])


def _neighbours(mine: str, entries: Sequence[Entry], samples: Mapping[str, str]) -> list[dict[str, str]]:
    """The other results on the same questions that have samples, best first, for side-by-side comparison."""
    found: dict[str, str] = {}
    for entry in entries:
        row = entry.row
        if not samples.keys() >= {*row.fingerprints}:
            continue
        for seed, fingerprint in entry.runs:
            suffix = f", seed {seed}" if len(entry.runs) > 1 else ""
            found[fingerprint] = compose(row.retriever, row.k, row.reasoner, row.generator) + suffix
    names = list(found.values())
    return [
        # Runs with equal names may differ, for example in a version.
        {"run": fingerprint[:12], "samples": samples[fingerprint]}
        | {"name": name if names.count(name) == 1 else f"{name} ({fingerprint[:8]})"}
        for fingerprint, name in found.items()
        if fingerprint != mine
    ]


def seed_range(spread: SeedSpread) -> str:
    """The range of a metric over seeds, as text."""
    known = [number for number in spread.values if number is not None]
    if not known:
        return ""
    low, high, sd = (_figure(number) for number in (min(known), max(known), spread.sd))
    return "seeds equal" if low == high else f"seeds {low} to {high}, sd {sd}"


def _figure(number: float | None) -> str:
    return value(Estimate(value=number, low=None, high=None))


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        estimate=estimate,
        figure=value,
        percent=percent,
        drawn=draw,
        letters=group_name,
        gained=gain_cell,
        seeds=seed_range,
        speed_cells=speed_cells,
    )
    environment.globals.update(luck=luck_of, version=__version__, reported_note=REPORTED, drawing_width=WIDTH)
    return environment


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


def _names(entries: Sequence[Entry], group: str) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in getattr(entry.row.figures, group)))
