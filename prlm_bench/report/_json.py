"""Tables as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from .._util.text import printable
from ._leaderboard import Row, Table


def render_json(tables: Sequence[Table]) -> str:
    """All tables, indented."""
    return printable(orjson.dumps(to_json(tables), option=orjson.OPT_INDENT_2).decode()) + "\n"


def to_json(tables: Sequence[Table]) -> dict[str, Any]:
    """The full content of the tables as plain data."""

    def plain(row: Row) -> dict[str, Any]:
        fields = asdict(row)
        fields |= fields.pop("figures")
        fields |= fields.pop("speed")
        for name in ("metrics", "rewards", "retrieval"):
            fields[name] = {key: value.model_dump() for key, value in getattr(row.figures, name).items()}
        for name in ("parse_failures", "truncated_prompts"):
            fields[name] = getattr(row.figures, name).model_dump()
        return fields

    return {
        "tables": [
            {
                **{k: getattr(t, k) for k in ("task", "title", "benchmark", "split", "protocol", "metrics")},
                **{k: getattr(t, k) for k in ("n", "n_total", "n_users", "data", "interval")},
                "rows": [plain(row) for row in t.rows],
                "groups": asdict(t.groups),
                "reported": [r.model_dump() for r in t.reported],
            }
            for t in tables
        ]
    }
