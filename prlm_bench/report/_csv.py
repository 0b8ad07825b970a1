"""Tables as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._util.cells import csv_text
from .._util.text import printable
from ._groups import group_name
from ._leaderboard import Table

_CSV_COLUMNS = (
    *("task", "split", "protocol", "data", "kind", "rank", "source", "retriever", "k", "reasoner", "generator"),
    *("seed", "control", "n", "n_total", "n_users", "metric", "value", "low", "high"),
    *("user_macro", "user_macro_low", "user_macro_high", "parse_failures", "truncated_prompts", "fingerprint"),
    *("interval", "seed_sd", "between_users_sd", "between_seeds_sd", "rest_sd"),
    *("truncated_completions", "no_interval", "group", "refused"),
    *(
        "prompt_tokens",
        "completion_tokens",
        "seconds",
        "timed_answers",
        "verified",
        "batch_invariant",
        "contributed_by",
    ),
)


def render_csv(tables: Sequence[Table]) -> str:
    """One line for each row and metric; published figures have the kind `reported`."""
    lines: list[Sequence[Any]] = [_CSV_COLUMNS]
    for table in tables:
        where = [table.task, table.split, table.protocol, table.data]
        for row in table.rows:
            method = ["measured", row.rank, "", row.retriever, row.k, row.reasoner, row.generator]
            size = ["+".join(map(str, row.seeds)), row.control, row.n, row.n_total, row.n_users]
            shares = [row.figures.parse_failures.value, row.figures.truncated_prompts.value, row.fingerprint]
            known = row.figures.speed
            speed = [known.prompt_tokens, known.completion_tokens, known.seconds, known.timed_answers]
            for name, m in row.figures.metrics.items():
                macro = [m.user_macro.value, m.user_macro.low, m.user_macro.high] if m.user_macro else [None] * 3
                s = row.figures.spread.get(name)
                spread = [s.sd, s.between_users, s.between_seeds, s.rest] if s else [None] * 4
                figures = [name, m.value, m.low, m.high, *macro, *shares, table.interval, *spread]
                group = group_name(table.groups.numbers[row.rank - 1]) if table.groups.numbers else ""
                lines.append(
                    [
                        *where,
                        *method,
                        *size,
                        *figures,
                        row.figures.truncated_completions,
                        m.why,
                        group,
                        row.figures.refused,
                        *speed,
                        row.verified,
                        row.batch_invariant,
                        row.contributed_by,
                    ]
                )
        for r in table.reported:
            method = ["reported", "", r.source, r.method, "", "", r.model]
            for name, number in r.metrics.items():
                lines.append([table.task, r.split, table.protocol, "", *method, *[""] * 5, name, number, *[""] * 24])
    return csv_text([printable(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
