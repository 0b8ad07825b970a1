"""`prlm-bench score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._util.text import MAX_ANSWER
from ._output import print_json, print_table, say
from .options import AnyTaskOption, JsonOption, PluginOption, host_for

if TYPE_CHECKING:
    from ..results import Scores


def score(
    task: Annotated[str, typer.Option(help="Task name or task file.")],
    golds: Annotated[Path, typer.Option(help="The split's <split>_outputs.json.")],
    predictions: Annotated[Path, typer.Option(help="Predictions, in the format of the golds.")],
    questions: Annotated[
        Path | None, typer.Option(help="The split's <split>_questions.json, which names the users for intervals.")
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out golds that cannot be scored, with their predictions.")
    ] = False,
    any_task: AnyTaskOption = False,
    max_answer: Annotated[
        int, typer.Option("--max-answer", min=1, help="Characters of a prediction or a gold at most.")
    ] = MAX_ANSWER,
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Only these metrics. Repeatable.")] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Score predictions against golds, joined by id, under both metric protocols.

    Without --questions each question counts as its own user, as does a question without a user_id.
    """
    from .. import api
    from ..report import estimate

    scores = api.score(
        predictions,
        golds,
        task=task,
        users=questions,
        metrics=metric,
        any_task=any_task,
        skip_invalid=skip_invalid,
        max_answer=max_answer,
        host=host_for(plugin),
    )
    if json:
        print_json(scores.to_dict())
        _end(scores)
        return
    several = scores.n > scores.n_users
    rows = [
        [name, estimate(found), *([estimate(found.user_macro)] if several else [])]
        for name, found in scores.metrics.items()
    ]
    title = f"{scores.task}: {scores.n} questions, {scores.n_users} users; [ ] 95 % interval over users"
    rows += [[name, *["failed"] * (1 + several)] for name in scores.failures]
    print_table(title, ["metric", "value", *(["by user"] if several else [])], rows)
    for note in scores.notes:
        say(note)
    _end(scores)


def _end(scores: Scores) -> None:
    """Say which metrics failed, and end with status 1 if one did."""
    from ..host._faults import keep_fault

    for name, fault in scores.failures.items():
        plugin = f" from {fault.origin}" if fault.origin is not None else ""
        say(f"FAILED metric {name}{plugin}: {fault}", err=True)
        keep_fault(f"metric {name}: {fault}", fault)
    if scores.failures:
        raise typer.Exit(1)
