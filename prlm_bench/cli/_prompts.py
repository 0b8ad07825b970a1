"""`prlm-bench prompts`."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from .._util.progress_bars import make_progress
from ._output import print_or_write_pieces
from .options import OutputOption, RetrieverOption, SplitOptions, takes

_PROTOCOLS = ("lamp", "chat", "plain")
_PROTOCOL_HELP = "lamp: LaMP's own prompt; chat: asks for an answer object; plain: asks for the text of the answer."


@takes(SplitOptions)
def prompts(
    options: SplitOptions,
    retriever: RetrieverOption = "none",
    k: Annotated[int, typer.Option("-k", min=0, help="Number of items to show.")] = 4,
    protocol: Annotated[str, typer.Option(help=_PROTOCOL_HELP)] = "lamp",
    tokenizer: Annotated[str, typer.Option(help="words, or a tokenizer by folder or hub name.")] = "words",
    max_length: Annotated[int, typer.Option(min=1, help="Token budget of a prompt.")] = 512,
    output: OutputOption = None,
) -> None:
    """Write the prompts of a split, one JSON line each: {"id": ..., "prompt": ..., and token counts}."""
    from ..errors import UnknownNameError
    from ..prompting import load_tokenizer

    if protocol not in _PROTOCOLS:
        raise UnknownNameError("prompt protocol", protocol, _PROTOCOLS)
    kind = cast(Literal["lamp", "chat", "plain"], protocol)
    counter = load_tokenizer(tokenizer)
    with make_progress() as progress, options.open(progress) as session:
        print_or_write_pieces(session.prompt_lines(retriever, k, kind, counter, max_length), output)
