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
from ..report import SeedSpread, Table, estimate, percent
from ..report._groups import group_name
from ..report._text import REPORTED, has_speed, notes_on, reported_cells, speed_cells, value
from ..report.findings import Finding
from ..results import Estimate, Manifest, Stored
from ._charts import WIDTH, axis_for, draw
from ._entries import Entry
from ._samples import PAGE, SHORT

_TEMPLATES = Path(__file__).resolve().parent / "templates"
#: Maximum characters of a component's options in a table.
_OPTIONS = 100
#: Maximum characters of a method shown with all options.
_LINE = 100


def index_page(tables: Sequence[tuple[Table, Sequence[Entry]]]) -> str:
    """The leaderboard.

    Args:
        tables: each with its entries, best first.
    """
    facets = {
        "task": sorted({table.task for table, _ in tables}),
        "split": sorted({table.split for table, _ in tables}),
        "protocol": sorted({table.protocol for table, _ in tables}),
    }
    views = [_view(table, entries) for table, entries in tables]
    bca = any(table.interval == "bca" for table, _ in tables)
    notes = [text.lstrip("§¶ ") for text in notes_on([table for table, _ in tables])]
    return _render("index.html", title="Leaderboard", root=".", views=views, facets=facets, bca=bca, notes=notes)


def _view(table: Table, entries: Sequence[Entry]) -> dict[str, Any]:
    better = {name: m.higher_is_better for row in table.rows for name, m in row.figures.metrics.items()}
    return {
        "table": table,
        "anchor": anchor(table),
        "entries": entries,
        "axes": {name: axis_for(entries, name, better.get(name, True)) for name in table.metrics},
        "better": {name: "high" if better.get(name, True) else "low" for name in table.metrics},
        "retrieval": _names(entries, "retrieval"),
        "rewards": _names(entries, "rewards"),
        "reported": reported_cells(table) if table.reported else None,
        "speed": has_speed(table),
    }


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
    parts = [retriever, f"k={k}", reasoner, generator]
    line = " × ".join(parts)
    if len(line) <= _LINE:
        return line
    names = [spec.partition(":")[0] + ("…" if ":" in spec else "") for spec in parts]
    return " × ".join(names)


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


def anchor(table: Table) -> str:
    """The id of a table in the index."""
    words = f"{table.task}-{table.split}-{table.protocol}-{table.n}-{table.data}"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", words)


def split_spec(spec: str) -> tuple[str, str]:
    """A component's name, and its options for a table cell: breakable after commas, truncated if long."""
    name, _, options = spec.partition(":")
    readable = options.replace(",", ", ")
    return name, readable if len(readable) <= _OPTIONS else readable[: _OPTIONS - 1] + "…"


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
        parts=split_spec,
        seeds=seed_range,
        speed_cells=speed_cells,
    )
    environment.globals.update(version=__version__, reported_note=REPORTED, drawing_width=WIDTH)
    return environment


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


def _names(entries: Sequence[Entry], group: str) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in getattr(entry.row.figures, group)))
