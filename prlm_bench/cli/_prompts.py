"""`prlm-bench prompts`."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from ._data_options import (
    DataOption,
    DatesOption,
    LimitOption,
    OutputOption,
    RetrieverOption,
    SeedOption,
    SkipOption,
    SplitOption,
    TaskOption,
    ViewOption,
)
from ._host import PluginOption, host_for
from ._output import print_or_write_pieces
from ._progress import make_progress


def prompts(
    task: TaskOption,
    retriever: RetrieverOption = "none",
    k: Annotated[int, typer.Option("-k", min=0, help="Items to show.")] = 4,
    protocol: Annotated[str, typer.Option(help="lamp: LaMP's own prompt; chat: ours, with an answer object.")] = "lamp",
    tokenizer: Annotated[str, typer.Option(help="words, a tokenizer's folder, or its hub name.")] = "words",
    max_length: Annotated[int, typer.Option(min=1, help="Token budget of a prompt.")] = 512,
    data: DataOption = None,
    split: SplitOption = "dev",
    output: OutputOption = None,
    seed: SeedOption = 0,
    limit: LimitOption = None,
    view: ViewOption = "lamp",
    dates: DatesOption = False,
    skip_invalid: SkipOption = False,
    plugin: PluginOption = None,
) -> None:
    """Write the prompts of a split, one JSON line each: {"id": ..., "prompt": ..., and token counts}."""
    from .._util.cache_folder import cache_root
    from ..errors import UnknownNameError
    from ..prompting._tokenizers import load_tokenizer
    from ..running._components import Components
    from ..running._exports import prompt_lines
    from ..running._prepare import open_split

    if protocol not in ("lamp", "chat"):
        raise UnknownNameError("prompt protocol", protocol, ("lamp", "chat"))
    host = host_for(plugin)
    counter = load_tokenizer(tokenizer)
    with make_progress() as progress:
        dataset = open_split(
            host.tasks.get(task), split, data, view=view, dates=dates, skip_invalid=skip_invalid, progress=progress
        )
        ranker = Components(host, dataset, cache_root()).ready("retriever", retriever, seed)
        kind = cast(Literal["lamp", "chat"], protocol)
        lines = prompt_lines(dataset, ranker, k, kind, counter, max_length, limit, progress)
        print_or_write_pieces(lines, output)
