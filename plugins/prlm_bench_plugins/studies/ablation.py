"""What does each part of a trained method bring? The method, its parts taken away, and baselines on the same data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prlm_bench.errors import RunError
from prlm_bench.report import Comparison, compare
from prlm_bench.results import Stored

from .cells import seed_values
from .report import Report, draw_intervals
from .training import Training

#: Of the corrected tests.
_LEVEL = 0.05


def ablation(asked: Training) -> Report:
    """Train once for each seed, run everything that the trainer names, and compare it with the first of it.

    Scores are means over seeds; intervals and tests resample users with all of their seeds, and the spread
    between seeds stands beside them.
    """
    if len(asked.tasks) != 1:
        raise RunError("an ablation is of one task", "give --task once")
    (task,) = asked.tasks
    seed_groups = {label: tuple(asked.run(task, method)) for label, method in asked.train(task).items()}
    first, *others = seed_groups
    metric = asked.metric(task)
    labels = asked.host.tasks.get(task).labels
    found = compare([seed_groups[label] for label in others], seed_groups[first], [metric], labels, correction="holm")
    compared: dict[str, Comparison | None] = {first: None, **dict(zip(others, found, strict=True))}
    rows = [_row(label, seed_groups[label], metric.name, compared[label]) for label in seed_groups]
    rows.sort(key=lambda row: -row[1] if metric.higher_is_better else row[1])
    sign = 1 if metric.higher_is_better else -1
    return Report(
        "ablation",
        f"{task} {asked.split}: {first}, what it is made of, and baselines on the same data; {metric.name}",
        ["method", "mean", "seed sd", "seeds", f"minus {first}", "low", "high", "p (Holm)", "parse failures"],
        rows,
        _findings(first, rows, sign),
        lambda axes: _draw(axes, rows, f"{metric.name}, minus that of {first}"),
    )


def _row(label: str, family: Sequence[Stored], metric: str, compared: Comparison | None) -> list[Any]:
    values = seed_values(family, metric)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    failures = float(np.mean([result.summary.parse_failures.value or 0.0 for result in family]))
    d = compared.difference if compared else None
    gain = [None] * 4 if d is None or compared is None else [d.difference, d.low, d.high, compared.p_corrected]
    return [label, float(np.mean(values)), spread, len(values), *gain, failures]


def _findings(first: str, rows: Sequence[Sequence[Any]], sign: int) -> list[str]:
    """Who is shown to be below, above, or neither, by the corrected tests."""
    below: list[str] = []
    above: list[str] = []
    open_: list[str] = []
    for label, _mean, _sd, _seeds, difference, _low, _high, p, _failures in rows:
        if label != first:
            shown = p < _LEVEL
            (open_ if not shown else below if sign * difference < 0 else above).append(label)
    told = [(f"Shown to be worse than {first}", below), (f"Shown to be better than {first}", above)]
    told.append((f"Not to be told from {first}", open_))
    return [f"{text}: {', '.join(names)}." for text, names in told if names]


def _draw(axes: Any, rows: Sequence[Sequence[Any]], what: str) -> None:
    compared = [row for row in rows if row[4] is not None]
    draw_intervals(axes, [row[0] for row in compared], [row[4:7] for row in compared], what)
    axes.axvline(0.0, color="tab:gray", linewidth=1)
