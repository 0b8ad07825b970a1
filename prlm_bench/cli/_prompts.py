"""`prlm-bench prompts`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, cast

import typer

from .._util.progress_bars import make_progress
from .._util.text import printable
from ._output import print_or_write, print_or_write_pieces
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
    generator: Annotated[
        str | None, typer.Option(help="Show the first prompt as this generator's model reads it.")
    ] = None,
    reasoner: Annotated[str | None, typer.Option(help="With --generator: another reasoner than direct.")] = None,
    output: OutputOption = None,
) -> None:
    """Write the prompts of a split, one JSON line each: {"id": ..., "prompt": ..., and token counts}.

    With --generator only the first one, as the model reads it: in its chat template, special tokens included.
    """
    from ..errors import RunError, UnknownNameError
    from ..prompting import load_tokenizer

    if protocol not in _PROTOCOLS:
        raise UnknownNameError("prompt protocol", protocol, _PROTOCOLS)
    if generator is not None:
        spec = reasoner or {"name": "direct", "protocol": protocol, "max_length": max_length}
        text = _rendered(options, retriever, k, spec, generator)
        print_or_write(text if output is not None else printable(text), output)
        return
    if reasoner is not None:
        raise RunError("--reasoner shapes the prompt for a generator", "give --generator too, or --protocol alone")
    kind = cast(Literal["lamp", "chat", "plain"], protocol)
    counter = load_tokenizer(tokenizer)
    with make_progress() as progress, options.open(progress) as session:
        print_or_write_pieces(session.prompt_lines(retriever, k, kind, counter, max_length), output)


def _rendered(options: SplitOptions, retriever: str, k: int, reasoner: Any, generator: str) -> str:
    """The first prompt as the model reads it."""
    from ..errors import RunError
    from ..interfaces import RendersPrompts

    with make_progress() as progress, replace(options, limit=1).open(progress) as session:
        made = session.component("generator", generator)
        if not isinstance(made, RendersPrompts):
            raise RunError(f"generator {generator} does not show what it reads", "leave --generator out")
        return made.render(session.prompts(retriever, k, reasoner, generator)[0])
