"""Who gains? The score by size of the user's profile."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from prlm_bench.data import open_split
from prlm_bench.results import ClusterEstimates, as_mean

from .asking import Asked, scores
from .report import Report, draw_intervals

#: Bins of about equal numbers of questions.
BINS = 4


def cold_start(asked: Asked) -> Report:
    """Split the questions by profile size and score the method, and the method without items, in each bin."""
    (with_items,) = asked.run()
    without = asked.with_retriever("none")
    metric = asked.metric.name
    ids, users, values = scores(with_items, metric)
    # A method that cannot run without items has no gain over that.
    baseline = np.full(len(values), np.nan) if isinstance(without, str) else scores(without, metric)[2]
    sizes = _profile_sizes(asked, len(ids))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, BINS + 1)))
    rows: list[list[Any]] = []
    for low, high in pairwise(edges.tolist()):
        chosen = np.flatnonzero((sizes >= low) & ((sizes < high) | (high == edges[-1])))
        if not chosen.size:
            continue
        figures = ClusterEstimates([users[i] for i in chosen])
        figures.add("score", as_mean(values[chosen].tolist()))
        figures.add("gain", as_mean((values - baseline)[chosen].tolist()))
        found = figures.estimates()
        label = f"{int(sizes[chosen].min())} to {int(sizes[chosen].max())}"
        cells = [end for name in ("score", "gain") for end in (found[name].value, found[name].low, found[name].high)]
        rows.append([label, len(chosen), len({users[i] for i in chosen}), *cells])
    columns = ["profile items", "n", "users", metric, "low", "high", "gain over no items", "gain low", "gain high"]
    return Report(
        "cold-start",
        f"{asked.task}: {asked.retriever}, k={asked.k}, {asked.generator} by profile size",
        columns,
        rows,
        [f"Left out: the gain over no items: {without}."] if isinstance(without, str) else [],
        lambda axes: draw_intervals(axes, [row[0] for row in rows], [row[3:6] for row in rows], metric),
    )


def _profile_sizes(asked: Asked, count: int) -> np.typing.NDArray[np.int64]:
    task = asked.host.tasks.get(asked.task)
    dataset = open_split(task, asked.split, asked.data, synth_users=asked.synth_users)
    return np.array([len(example.profile) for batch in dataset.batches(256, 0, count) for example in batch])
