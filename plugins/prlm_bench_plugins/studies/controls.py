"""Is it personal? The method with its own items against random own, another user's, shuffled, no and true items."""

from __future__ import annotations

from typing import Any

from prlm_bench.report import compare
from prlm_bench.stats import Difference

from .asking import Asked, Spec
from .report import Report, draw_intervals


def controls(asked: Asked) -> Report:
    """Swap what the method retrieves and keep the rest.

    The personalization gain is the method's score with its own user's items minus its score with another user's
    items chosen by the same retriever; it is paired, with users as the unit.
    """
    own = asked.retriever
    swaps: list[tuple[str, Spec]] = [
        ("another user's items", {"name": "other-user", "by": own}),
        ("random own items", "random"),
        ("own items, shuffled", {"name": "shuffled", "of": own, "k": asked.k}),
        ("no items", "none"),
    ]
    (base,) = asked.run()
    if base.summary.retrieval:
        swaps.append(("the true items", "oracle"))
    metric = asked.metric
    better = 1.0 if metric.higher_is_better else -1.0
    rows: list[list[Any]] = []
    gains = {}
    left_out = []
    for label, retriever in swaps:
        result = asked.with_retriever(retriever)
        if isinstance(result, str):
            left_out.append(f"Left out: {label}: {result}.")
            continue
        (comparison,) = compare([(base,)], (result,), [metric], asked.labels, correction="none")
        gains[label] = comparison.difference
        rows.append(_row(label, comparison.difference, better))
    labels = [row[0] for row in rows]
    return Report(
        "controls",
        f"{asked.task}: gain of own items ({own}, k={asked.k}) over other items, {metric.name}",
        [
            "instead of own items",
            "score with own",
            "score instead",
            "gain",
            "low",
            "high",
            "p",
            "users better/equal/worse",
        ],
        rows,
        [_finding(gains["another user's items"], better, metric.name), *left_out],
        lambda axes: draw_intervals(axes, labels, [row[3:6] for row in rows], f"gain in {metric.name}"),
    )


def _row(label: str, d: Difference, better: float) -> list[Any]:
    ends = sorted((better * d.low, better * d.high))
    counts = (d.higher, d.equal, d.lower) if better > 0 else (d.lower, d.equal, d.higher)
    return [label, d.first, d.second, better * d.difference, *ends, d.p, "/".join(map(str, counts))]


def _finding(d: Difference, better: float, metric: str) -> str:
    low, high = sorted((better * d.low, better * d.high))
    gain = f"personalization gain {better * d.difference:+.4f} [{low:+.4f}, {high:+.4f}] in {metric}"
    if low > 0:
        return f"The method uses whose items they are: {gain}."
    if high < 0:
        return f"The method does better with another user's items: {gain}."
    return f"It is not shown that the method uses whose items they are: {gain}."
