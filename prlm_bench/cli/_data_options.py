"""What the commands share that read one split: their options, and how they open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .._plugins import PluginHost
    from ..data import Dataset

TaskOption = Annotated[str, typer.Option("--task", help="Task name or task file.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder with <split>/<split>_questions.json, or its parent.")
]
SplitOption = Annotated[str, typer.Option("--split", help="Split: train, dev or test.")]
RetrieverOption = Annotated[str, typer.Option("--retriever", help="Retriever, as NAME:option=value.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of what is random.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first questions.")]
ViewOption = Annotated[str, typer.Option("--view", help="Texts that retrieval reads: lamp or prlm.")]
DatesOption = Annotated[bool, typer.Option("--dates", help="Append dates to what retrieval reads.")]
SkipOption = Annotated[bool, typer.Option("--skip-invalid", help="Leave malformed questions out.")]


def ready_retriever(host: PluginHost, dataset: Dataset, spec: str, seed: int) -> Any:
    """A retriever that can run on this split.

    Raises:
        PrlmBenchError: there is none of that name, or the split lacks what it needs.
    """
    from .._cache import cache_root
    from .._registry import NEEDS
    from ..errors import RunError
    from ..interfaces import Context
    from ..running.plan import lacks

    def build(kind: str, inner: Any) -> Any:
        return host.registry.choose(kind, inner).make(context)

    context = Context(dataset.task, dataset, seed, cache_root(), build)
    chosen = host.registry.choose("retriever", spec)
    for need in sorted(chosen.component.needs):
        if lacks(need, dataset):
            where = f"{dataset.task.name} {dataset.split}"
            raise RunError(f"retriever {chosen} cannot run on {where}: it needs {NEEDS[need]}")
    return chosen.make(context)
