"""The options that the commands share which read one split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
