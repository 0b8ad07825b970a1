"""Which retriever? The same reasoner and generator behind each."""

from __future__ import annotations

from typing import Any

from prlm_bench.data import open_split
from prlm_bench.running import missing_requirement

from .asking import Asked
from .report import Report, draw_intervals, spread


def retrievers(asked: Asked) -> Report:
    """Run the method behind every retriever that needs no options, and behind its own.

    Named in the findings: retrieval that does no better than random own items, and what could not run.
    """
    task = asked.host.tasks.get(asked.task)
    dataset = open_split(task, asked.split, asked.data, synth_users=asked.synth_users)
    names = []
    for component in asked.host.registry.all("retriever"):
        if not any(o.required for o in component.options.values()) and missing_requirement(component, dataset) is None:
            names.append(component.name)
    tried = {name: asked.with_retriever(name) for name in dict.fromkeys([*names, asked.retriever])}
    results = [result for result in tried.values() if not isinstance(result, str)]
    metric = asked.metric
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
    return Report(
        "retrievers",
        f"{asked.task}: retrievers before {asked.reasoner} × {asked.generator}, k={asked.k}",
        ["retriever", metric.name, "low", "high", "nDCG@5", "R@5"],
        rows,
        findings,
        lambda axes: draw_intervals(axes, [str(row[0]) for row in rows], [row[1:4] for row in rows], metric.name),
    )
