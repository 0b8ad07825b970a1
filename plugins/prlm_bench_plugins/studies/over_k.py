"""How many items? The score over k, beside how often the budget cut an item."""

from __future__ import annotations

from typing import Any

from .asking import Asked
from .report import Report, spread

KS = (0, 1, 2, 4, 8, 16)


def over_k(asked: Asked) -> Report:
    """Run the method with k = 0, 1, 2, 4, 8 and 16; rankings are computed once and cut."""
    metric = asked.metric.name
    rows: list[list[Any]] = []
    for result in asked.run(ks=KS):
        summary = result.summary
        figures = spread(summary.metrics[metric])
        cut = summary.truncated_prompts.value
        rows.append([result.manifest.method.k, *figures, summary.items_shown, cut, summary.parse_failures.value])
    best = max(rows, key=lambda row: row[1] if asked.metric.higher_is_better else -row[1])
    findings = [f"The best of these k is {best[0]}, chosen on the split that is reported."]
    if rows[-1][5]:
        findings.append(
            f"At k = {rows[-1][0]} the budget cut or dropped an item in {100 * rows[-1][5]:.0f} % of prompts."
        )

    def draw(axes: Any) -> None:
        places = range(len(rows))
        axes.fill_between(places, [row[2] for row in rows], [row[3] for row in rows], alpha=0.2)
        axes.plot(places, [row[1] for row in rows], "o-", label=metric)
        axes.plot(places, [row[5] for row in rows], "s--", color="tab:gray", label="share of cut prompts")
        axes.set_xticks(places, [str(row[0]) for row in rows])
        axes.set_xlabel("items shown (k)")
        axes.legend()

    columns = ["k", metric, "low", "high", "items shown", "cut prompts", "parse failures"]
    title = f"{asked.task}: {asked.retriever} × {asked.reasoner} × {asked.generator} over k"
    return Report("k", title, columns, rows, findings, draw)
