"""Where does the score come from? Shares of the variance owed to retriever, k, reasoner and generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from prlm_bench.errors import DataError
from prlm_bench.results import find_results

from .asking import Asked
from .report import Report

PARTS = ("retriever", "k", "reasoner", "generator")


def attribution(asked: Asked) -> Report:
    """Attribute the variance of the stored rows of a task to the parts of their methods.

    Each part's share is its Shapley value: the mean, over all orders of the parts, of the variance between rows
    that it explains beyond the parts before it (Lindeman, Merenda and Gold 1980). Explained variance is that of
    the group means. What parts explain only together shows as their joint share, divided between them.

    Raises:
        DataError: fewer than two rows are stored for the task and split.
    """
    metric = asked.metric.name
    stored = [
        r for r in find_results(asked.results)[0] if (r.manifest.task, r.manifest.split) == (asked.task, asked.split)
    ]
    rows = []
    for result in stored:
        method, found = result.manifest.method, result.summary.metrics.get(metric)
        if found is not None and found.value is not None:
            specs = (method.retriever.spec, str(method.k), method.reasoner.spec, method.generator.spec)
            rows.append((specs, found.value))
    if len(rows) < 2:
        raise DataError(f"{len(rows)} results of {asked.task} {asked.split} in {asked.results}", "run a grid first")
    shares = shapley_shares([specs for specs, _ in rows], np.array([value for _, value in rows]))
    table = [
        [part, len({specs[place] for specs, _ in rows}), share]
        for place, (part, share) in enumerate(zip(PARTS, shares, strict=True))
    ]
    table.append(["all together", len(rows), float(sum(shares))])

    def draw(axes: Any) -> None:
        axes.barh(range(len(PARTS)), shares, color="tab:blue")
        axes.set_yticks(range(len(PARTS)), PARTS)
        axes.invert_yaxis()
        axes.set_xlabel(f"share of the variance of {metric} between {len(rows)} rows")

    title = f"{asked.task} {asked.split}: where differences between methods come from"
    return Report("attribution", title, ["part", "values", "share of variance"], table, [], draw)


def shapley_shares(parts: list[tuple[str, ...]], values: np.typing.NDArray[np.float64]) -> list[float]:
    """The Shapley share of each part in the variance of `values`.

    Args:
        parts: for each of n rows, the value of each of p parts.
        values: n numbers.

    Returns:
        p shares; they add up to the share that all parts explain together.
    """
    count = len(parts[0])
    explained = {mask: _explained(parts, values, mask) for mask in range(1 << count)}
    shares = []
    for part in range(count):
        share = 0.0
        for mask in range(1 << count):
            if mask >> part & 1:
                continue
            size = mask.bit_count()
            weight = 1 / (count * np.prod([(count - 1 - i) / (i + 1) for i in range(size)]))
            share += float(weight) * (explained[mask | 1 << part] - explained[mask])
        shares.append(share)
    return shares


def _explained(parts: list[tuple[str, ...]], values: np.typing.NDArray[np.float64], mask: int) -> float:
    total = float(((values - values.mean()) ** 2).sum())
    if not mask or total == 0:
        return 0.0
    groups: dict[tuple[str, ...], list[float]] = {}
    for row, value in zip(parts, values.tolist(), strict=True):
        groups.setdefault(tuple(p for i, p in enumerate(row) if mask >> i & 1), []).append(value)
    between = sum(len(group) * (np.mean(group) - values.mean()) ** 2 for group in groups.values())
    return float(between) / total
