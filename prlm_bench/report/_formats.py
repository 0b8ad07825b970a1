"""Tables as terminal text, Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from ..results._schema import Estimate
from ._leaderboard import Row, Table

FORMATS = ("terminal", "markdown", "csv", "json", "latex")


def render(tables: Sequence[Table], form: str) -> str:
    """All tables in one of `FORMATS`, ended by a line break."""
    if form == "json":
        return orjson.dumps(to_json(tables), option=orjson.OPT_INDENT_2).decode() + "\n"
    if form == "csv":
        return _csv(tables)
    if not tables:
        return "No finished results.\n"
    if form == "terminal":
        from ._terminal import render_terminal

        return render_terminal(tables)
    one: Callable[[Table], str] = {"markdown": _markdown, "latex": _latex}[form]
    return "\n".join(one(table) for table in tables)


def to_json(tables: Sequence[Table]) -> dict[str, Any]:
    """Everything that the tables hold."""

    def plain(row: Row) -> dict[str, Any]:
        fields = asdict(row)
        for name in ("metrics", "rewards", "retrieval"):
            fields[name] = {key: value.model_dump() for key, value in getattr(row, name).items()}
        for name in ("parse_failures", "truncated_prompts"):
            fields[name] = getattr(row, name).model_dump()
        return fields

    return {
        "tables": [
            {
                **{k: getattr(t, k) for k in ("task", "title", "benchmark", "split", "protocol", "metrics")},
                **{k: getattr(t, k) for k in ("n", "n_total", "n_users", "data", "interval")},
                "rows": [plain(row) for row in t.rows],
                "reported": [r.model_dump() for r in t.reported],
            }
            for t in tables
        ]
    }


def heading(table: Table) -> str:
    """What a table is about, in one line."""
    return (
        f"{table.task} {table.split}, {table.protocol} protocol: {table.title}; "
        f"{table.n} of {table.n_total} questions, {table.n_users} users, data {table.data}"
    )


def columns(table: Table) -> list[str]:
    """The column titles of a table for people."""
    seeds = ["seed"] if len({row.seeds for row in table.rows}) > 1 or _has_spread(table) else []
    spread = ["seed sd", "user sd"] if _has_spread(table) else []
    retrieval, rewards = _names(table, "retrieval"), _names(table, "rewards")
    shares = ["parse failures", "cut prompts"]
    parts = ["#", "retriever", "k", "reasoner", "generator", *seeds]
    return [*parts, *table.metrics, "by user", *spread, *retrieval, *rewards, *shares]


def cells(table: Table, row: Row, *, break_line: bool = False) -> list[str]:
    """A row's cells, aligned with `columns`."""
    shown = len({other.seeds for other in table.rows}) > 1 or _has_spread(table)
    seeds = [", ".join(map(str, row.seeds))] if shown else []
    gap = "\n" if break_line else " "
    metrics = [estimate(row.metrics.get(name), gap) for name in table.metrics]
    first = row.metrics.get(table.metrics[0])
    macro = [estimate(first.user_macro if first else None, gap)]
    between = row.spread.get(table.metrics[0])
    found = [between.sd, between.between_users] if between else [None, None]
    spread = [value(Estimate(value=each, low=None, high=None)) for each in found] if _has_spread(table) else []
    retrieval = [value(row.retrieval.get(name)) for name in _names(table, "retrieval")]
    rewards = [estimate(row.rewards.get(name), gap) for name in _names(table, "rewards")]
    shares = [percent(row.parse_failures), percent(row.truncated_prompts)]
    generator = row.generator + (" †" if row.control else "")
    return [
        str(row.rank), row.retriever, str(row.k), row.reasoner, generator,
        *seeds, *metrics, *macro, *spread, *retrieval, *rewards, *shares,
    ]  # fmt: skip


def reported_cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Column titles and rows of the published figures."""
    names = [name for name in table.metrics if any(name in r.metrics for r in table.reported)]
    rows = [
        [r.source, r.method, r.model, r.split, *(f"{r.metrics[n]:.4f}" if n in r.metrics else "-" for n in names)]
        for r in table.reported
    ]
    return ["source", "method", "model", "split", *names], rows


LEGEND = (
    "† control row. [ ] 95 % interval, users resampled. by user: the ranking metric as the mean of users' own means. "
    "Cut prompts: an item was shortened or left out to fit the token budget."
)
#: What the legend adds for intervals of another kind, and for rows of several seeds.
BCA = "Intervals are bias-corrected and accelerated (BCa)."
SEEDS = (
    "Several seeds of a method are one row, their mean; its interval is over users alone. seed sd: standard deviation "
    "of the ranking metric between seeds. user sd: between users' own means, seeds taken out."
)
REPORTED = "Reported by others, not measured here and not ranked: other split, model or prompt."


def legend(tables: Sequence[Table]) -> str:
    """What the signs of these tables mean."""
    bca = [BCA] if any(table.interval == "bca" for table in tables) else []
    seeds = [SEEDS] if any(map(_has_spread, tables)) else []
    return " ".join([LEGEND, *bca, *seeds])


def value(found: Estimate | None) -> str:
    """A figure with four digits, two from 10 on."""
    if found is None or found.value is None:
        return "-"
    return f"{found.value:.2f}" if abs(found.value) >= 10 else f"{found.value:.4f}"


def estimate(found: Estimate | None, gap: str = " ") -> str:
    """A figure with its interval."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return value(found)
    digits = 1 if abs(found.value) >= 10 else 3
    return f"{value(found)}{gap}[{found.low:.{digits}f}, {found.high:.{digits}f}]"


def percent(found: Estimate) -> str:
    """A share as a percentage."""
    return "-" if found.value is None else f"{100 * found.value:.1f}%"


def _has_spread(table: Table) -> bool:
    return any(row.spread for row in table.rows)


def _names(table: Table, group: str) -> list[str]:
    return list(dict.fromkeys(name for row in table.rows for name in getattr(row, group)))


def _markdown(table: Table) -> str:
    titles = columns(table)
    lines = [f"### {heading(table)}", "", _pipe(titles), _pipe(["---"] * len(titles))]
    lines += [_pipe(cells(table, row)) for row in table.rows]
    lines += ["", legend([table])]
    if table.reported:
        names, rows = reported_cells(table)
        lines += ["", f"_{REPORTED}_", "", _pipe(names), _pipe(["---"] * len(names)), *map(_pipe, rows)]
    return "\n".join(lines) + "\n"


def _pipe(words: Sequence[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|").replace("\n", " ") for word in words) + " |"


def _latex(table: Table) -> str:
    titles = columns(table)
    lines = [
        "\\begin{table}",
        f"\\caption{{{_escape(heading(table))}. {_escape(legend([table]))}}}",
        "\\begin{tabular}{" + "l" * len(titles) + "}",
        "\\hline",
        " & ".join(map(_escape, titles)) + " \\\\",
        "\\hline",
        *(" & ".join(map(_escape, cells(table, row))) + " \\\\" for row in table.rows),
    ]
    if table.reported:
        names, rows = reported_cells(table)
        lines += ["\\hline", f"\\multicolumn{{{len(titles)}}}{{l}}{{{_escape(REPORTED)}}} \\\\"]
        # One line of text a row: the published columns are not those of the measured rows.
        for row in rows:
            text = ", ".join(f"{name}: {cell}" for name, cell in zip(names, row, strict=True))
            lines.append(f"\\multicolumn{{{len(titles)}}}{{l}}{{{_escape(text)}}} \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}", "\\end{table}"]) + "\n"


def _escape(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special |= {char: "\\" + char for char in "&%$#_{}"} | {"†": "$\\dagger$", "×": "$\\times$", "\n": " "}
    return "".join(special.get(char, char) for char in text)


_CSV_COLUMNS = (
    *("task", "split", "protocol", "data", "kind", "rank", "source", "retriever", "k", "reasoner", "generator"),
    *("seed", "control", "n", "n_total", "n_users", "metric", "value", "low", "high"),
    *("user_macro", "user_macro_low", "user_macro_high", "parse_failures", "truncated_prompts", "fingerprint"),
    *("interval", "seed_sd", "between_users_sd", "between_seeds_sd", "rest_sd"),
)


def _csv(tables: Sequence[Table]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for table in tables:
        where = [table.task, table.split, table.protocol, table.data]
        for row in table.rows:
            method = ["measured", row.rank, "", row.retriever, row.k, row.reasoner, row.generator]
            size = ["+".join(map(str, row.seeds)), row.control, row.n, row.n_total, row.n_users]
            shares = [row.parse_failures.value, row.truncated_prompts.value, row.fingerprint]
            for name, m in row.metrics.items():
                macro = [m.user_macro.value, m.user_macro.low, m.user_macro.high] if m.user_macro else [None] * 3
                s = row.spread.get(name)
                spread = [s.sd, s.between_users, s.between_seeds, s.rest] if s else [None] * 4
                figures = [name, m.value, m.low, m.high, *macro, *shares, table.interval, *spread]
                writer.writerow([*where, *method, *size, *figures])
        for r in table.reported:
            method = ["reported", "", r.source, r.method, "", "", r.model]
            for name, number in r.metrics.items():
                writer.writerow([table.task, r.split, table.protocol, "", *method, *[""] * 5, name, number, *[""] * 13])
    return out.getvalue()
