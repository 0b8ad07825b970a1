"""`prlm-bench score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._host import JsonOption, PluginOption, host_for
from ._output import print_json, print_table


def score(
    task: Annotated[str, typer.Option(help="Task name or task file.")],
    golds: Annotated[Path, typer.Option(help="The split's <split>_outputs.json.")],
    predictions: Annotated[Path, typer.Option(help="Predictions in the golds' shape.")],
    questions: Annotated[
        Path | None, typer.Option(help="The split's <split>_questions.json: names users, for their intervals.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Only these metrics. Repeatable.")] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Score a file of predictions against golds, joined by id, under both metric protocols.

    Without --questions every question counts as its own user.
    """
    from ..report._formats import estimate
    from ..results._predictions import read_outputs, read_users
    from ..results._summarize import score_answers
    from ..running._execute import load_metrics

    host = host_for(plugin)
    found = host.tasks.get(task)
    gold = read_outputs(golds)
    answers = read_outputs(predictions, like=gold, name=str(predictions))
    users = read_users(questions, list(gold)) if questions else list(gold)
    metrics = load_metrics(host, metric or found.metrics)
    scored = score_answers([answers[i] for i in gold], list(gold.values()), users, found.labels, metrics)
    if json:
        figures = {name: summary.model_dump() for name, summary in scored.summaries.items()}
        print_json({"task": found.name, "n": len(gold), "n_users": len(set(users)), "metrics": figures})
        return
    rows = [[name, estimate(s), estimate(s.user_macro)] for name, s in scored.summaries.items()]
    title = f"{found.name}: {len(gold)} questions, {len(set(users))} users; [ ] 95 % interval over users"
    print_table(title, ["metric", "value", "by user"], rows)
