"""Studies of what a method retrieves: controls, number of items, retrievers, and profile size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prlm_bench.report import compare
from prlm_bench.results import ClusterEstimates, as_mean
from prlm_bench.running import missing_requirement
from prlm_bench.stats import Difference

from ._base import Spec, StudyConfig, Values, scores, study
from ._report import StudyReport, draw_intervals, spread

_OTHER_USER = "another user's items"
_COUNTS = "users better/equal/worse"


@study("controls")
def controls(config: StudyConfig) -> StudyReport:
    """Compare the method's own items with random own, another user's, shuffled, no and true items.

    The personalization gain is the method's score with the user's own items minus its score with another user's
    items that the same retriever chooses; the comparison is paired, with users as the unit.
    """
    (base,) = config.run()
    metric = config.metric
    better = 1.0 if metric.higher_is_better else -1.0
    rows: list[list[Any]] = []
    gains: dict[str, Difference] = {}
    left_out = []
    for label, retriever in _swaps(config, has_oracle=bool(base.summary.retrieval)).items():
        result = config.with_retriever(retriever)
        if isinstance(result, str):
            left_out.append(f"Left out: {label}: {result}.")
            continue
        (comparison,) = compare([(base,)], (result,), [metric], config.task.labels, correction="none")
        gains[label] = comparison.difference
        rows.append(_gain(label, comparison.difference, better))
    return StudyReport(
        "controls",
        f"{config.task_name}: gain of own items ({config.retriever}, k={config.k}) over other items, {metric.name}",
        ["instead of own items", "score with own", "score instead", "gain", "low", "high", "p", _COUNTS],
        rows,
        [*(_personal(gains[label], better, metric.name) for label in gains if label == _OTHER_USER), *left_out],
        lambda axes: draw_intervals(
            axes, [row[0] for row in rows], [row[3:6] for row in rows], f"gain in {metric.name}"
        ),
    )


def _swaps(config: StudyConfig, has_oracle: bool) -> dict[str, Spec]:
    """The retrievers that replace the method's own, by what they show instead."""
    swaps: dict[str, Spec] = {
        _OTHER_USER: {"name": "other-user", "by": config.retriever},
        "random own items": "random",
        "own items, shuffled": {"name": "shuffled", "of": config.retriever, "k": config.k},
        "no items": "none",
    }
    return {**swaps, "the true items": "oracle"} if has_oracle else swaps


def _gain(label: str, d: Difference, better: float) -> list[Any]:
    ends: list[float | None] = [None, None]
    if not d.why:
        ends = [*sorted((better * d.low, better * d.high))]
    counts = (d.higher, d.equal, d.lower) if better > 0 else (d.lower, d.equal, d.higher)
    return [label, d.first, d.second, better * d.difference, *ends, d.p, "/".join(map(str, counts))]


def _personal(d: Difference, better: float, metric: str) -> str:
    gain = f"personalization gain {better * d.difference:+.4f}"
    if d.higher == d.lower == 0:
        return f"Not shown to be personal: no user's answers differ in {metric} with another user's items."
    if d.why:
        return f"Not enough users to tell whether the method is personal: {gain} in {metric} ({d.why})."
    low, high = sorted((better * d.low, better * d.high))
    gain += f" [{low:+.4f}, {high:+.4f}] in {metric}"
    if low > 0:
        return f"The method is personal: own items help more than another user's: {gain}."
    if high < 0:
        return f"Another user's items help more than own items: {gain}."
    return f"Not shown to be personal, that is, that own items help more than another user's: {gain}."


@study("k")
def over_k(config: StudyConfig, ks: Sequence[int] = (0, 1, 2, 4, 8, 16)) -> StudyReport:
    """Run the method for each k; rankings are computed once and cut."""
    metric, higher_is_better = config.metric.name, config.metric.higher_is_better
    rows: list[list[Any]] = []
    for result in config.run(k=list(ks)):
        summary = result.summary
        figures = spread(summary.metrics[metric])
        cut = summary.truncated_prompts.value
        rows.append([result.manifest.method.k, *figures, summary.items_shown, cut, summary.parse_failures.value])
    best = max(rows, key=lambda row: row[1] if higher_is_better else -row[1])
    findings = [f"The best of these k is {best[0]}, chosen on the split that is reported."]
    if rows[-1][5]:
        findings.append(
            f"At k = {rows[-1][0]} the token budget cut or dropped an item in {100 * rows[-1][5]:.0f} % of prompts."
        )
    columns = ["k", metric, "low", "high", "items shown", "cut prompts", "parse failures"]
    title = f"{config.task_name}: {config.retriever} × {config.reasoner} × {config.generator} over k"
    return StudyReport("k", title, columns, rows, findings, lambda axes: _draw_over_k(axes, rows, metric))


def _draw_over_k(axes: Any, rows: list[list[Any]], metric: str) -> None:
    places = range(len(rows))
    low, high = (np.array([row[column] for row in rows], dtype=float) for column in (2, 3))  # None becomes nan
    axes.fill_between(places, low, high, alpha=0.2)
    axes.plot(places, [row[1] for row in rows], "o-", label=metric)
    axes.plot(places, [row[5] for row in rows], "s--", color="tab:gray", label="share of cut prompts")
    axes.set_xticks(places, [str(row[0]) for row in rows])
    axes.set_xlabel("items shown (k)")
    axes.legend()


@study("retrievers")
def retrievers(config: StudyConfig) -> StudyReport:
    """Run the method behind every retriever without required options, and behind its own.

    The findings name the retrievers that are no better than random own items, and those that could not run.
    """
    dataset = config.open()
    names = []
    for component in config.host.registry.all("retriever"):
        if not any(o.required for o in component.options.values()) and missing_requirement(component, dataset) is None:
            names.append(component.name)
    tried = {name: config.with_retriever(name) for name in dict.fromkeys([*names, config.retriever])}
    results = [result for result in tried.values() if not isinstance(result, str)]
    metric = config.metric
    rows: list[list[Any]] = [
        [r.manifest.method.retriever.spec, *spread(r.summary.metrics[metric.name])]
        + [r.summary.retrieval[name].value if name in r.summary.retrieval else None for name in ("nDCG@5", "R@5")]
        for r in results
    ]
    rows.sort(key=lambda row: -float(row[1] or 0) if metric.higher_is_better else float(row[1] or 0))
    random = next((row for row in rows if row[0] == "random"), None)
    weak = [str(row[0]) for row in rows[rows.index(random) + 1 :]] if random else []
    findings = [f"No better than random own items: {', '.join(weak)}."] if weak else []
    findings += [f"Left out: {name}: {result}." for name, result in tried.items() if isinstance(result, str)]
    return StudyReport(
        "retrievers",
        f"{config.task_name}: retrievers with {config.reasoner} × {config.generator}, k={config.k}",
        ["retriever", metric.name, "low", "high", "nDCG@5", "R@5"],
        rows,
        findings,
        lambda axes: draw_intervals(axes, [str(row[0]) for row in rows], [row[1:4] for row in rows], metric.name),
    )


@study("cold-start")
def cold_start(config: StudyConfig, bins: int = 4) -> StudyReport:
    """Score the method, and the method without items, by profile size, in bins of about equally many questions."""
    (with_items,) = config.run()
    without = config.with_retriever("none")
    metric = config.metric.name
    ids, users, values = scores(with_items, metric)
    # A method that cannot run without items has no gain over running without them.
    baseline = np.full(len(values), np.nan) if isinstance(without, str) else scores(without, metric)[2]
    sizes = _profile_sizes(config, len(ids))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, bins + 1)))
    rows: list[list[Any]] = []
    for low, high in pairwise(edges.tolist()):
        chosen = np.flatnonzero((sizes >= low) & ((sizes < high) | (high == edges[-1])))
        if chosen.size:
            found = _score_and_gain([users[i] for i in chosen], values[chosen], baseline[chosen])
            label = f"{int(sizes[chosen].min())} to {int(sizes[chosen].max())}"
            rows.append([label, len(chosen), len({users[i] for i in chosen}), *found])
    columns = ["profile items", "n", "users", metric, "low", "high", "gain over no items", "gain low", "gain high"]
    return StudyReport(
        "cold-start",
        f"{config.task_name}: {config.retriever}, k={config.k}, {config.generator} by profile size",
        columns,
        rows,
        [f"Left out: the gain over no items: {without}."] if isinstance(without, str) else [],
        lambda axes: draw_intervals(axes, [row[0] for row in rows], [row[3:6] for row in rows], metric),
    )


def _score_and_gain(users: list[str], values: Values, baseline: Values) -> list[float | None]:
    """Value, low and high end of the mean score and of the mean gain over the baseline."""
    figures = ClusterEstimates(users)
    figures.add("score", as_mean(values.tolist()))
    figures.add("gain", as_mean((values - baseline).tolist()))
    found = figures.estimates()
    return [*spread(found["score"]), *spread(found["gain"])]


def _profile_sizes(config: StudyConfig, count: int) -> NDArray[np.int64]:
    """The number of profile items of the first `count` questions."""
    batches = config.open().batches(256, 0, count)
    return np.array([len(example.profile) for batch in batches for example in batch])
