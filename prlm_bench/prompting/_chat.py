"""The project's own chat prompt: the user's items, the question, and the request for an answer object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..interfaces import Tokenizer
from ..records import Document, Example, Prompt, Ranking, Turn
from ..tasks import ChatPrompt, Task

#: Minimum tokens of an item's long field; an item with fewer is dropped.
_MIN_TOKENS = 4


def chat_prompt(
    template: ChatPrompt,
    example: Example,
    ranking: Ranking,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    block: str = "",
    mark: str = "",
    instruction: str = "",
    ask: str | None = None,
    reasons: bool = False,
) -> Prompt:
    """Build the user message of a chat: block, items, question, instruction, and the request for an answer.

    Items are shown best first, one per line. The remaining budget is divided equally among the remaining items, and the
    long field of an item is cut to its share. If shares get too small, the last items are dropped, and so is an item
    that does not fit even alone. Block, question and instruction are never cut; the prompt exceeds the budget only if
    they alone are too long.

    Args:
        template: the task's wording.
        example: the question.
        ranking: the items to show, cut to k.
        tokenizer: sets lengths.
        max_length: the budget in tokens, without the tokens of the chat template.
        block: a paragraph before the items, such as a summary of the profile.
        mark: template of the prefix of each item; `{n}` is its rank, from 1.
        instruction: how to answer; placed before the request for the answer.
        ask: in place of the template's request for an answer object, as `plain_ask` writes it.
        reasons: the instruction asks for reasoning before the answer.
    """
    key = template.key if ask is None else None
    template = template if ask is None else template.model_copy(update={"ask": ask})
    frame = _write(template, example, [], block, instruction)
    # Token counts of parts do not add up exactly; 8 tokens cover heading and line breaks.
    left = max_length - tokenizer.count(frame) - tokenizer.count(template.heading) - 8
    shown = _lines(template, ranking, tokenizer, left, mark)
    while True:
        text = _write(template, example, [each.text for each in shown], block, instruction)
        tokens = tokenizer.count(text)
        if tokens <= max_length or not shown:
            break
        shown.pop()  # a line may take more tokens next to others, or when it is cut and decoded
    cut = sum(each.cut for each in shown)
    dropped = len(ranking.items) - len(shown)
    counts = (tokens, len(shown), cut, dropped)
    ranks = tuple(each.rank for each in shown)
    first = ranks == tuple(range(1, len(shown) + 1))
    return Prompt(example, ranking, text, True, *counts, key=key, reasons=reasons, ranks=None if first else ranks)


def turns_prompt(
    example: Example,
    ranking: Ranking,
    turns: Sequence[Turn],
    *,
    tokens: int = 0,
    shown: int = 0,
    cut: int = 0,
    key: str | None = None,
    reasons: bool = False,
) -> Prompt:
    """A chat of several turns. Its text is all of them, with an empty line between.

    Args:
        example: the question.
        ranking: the items to show, cut to k.
        turns: who says what; the last one is the user's.
        tokens, shown, cut, key, reasons: see `Prompt`; the items that are not shown count as dropped.
    """
    text = "\n\n".join(turn.text for turn in turns)
    counts = (tokens, shown, cut, len(ranking.items) - shown)
    return Prompt(example, ranking, text, True, *counts, key=key, reasons=reasons, turns=tuple(turns))


def plain_ask(task: Task) -> str:
    """The request for the text of an answer alone, without an answer object: the task's own, or a general one."""
    if task.prompts.chat.plain_ask is not None:
        return task.prompts.chat.plain_ask
    if task.output == "text":
        return "Answer with the text alone, and nothing before or after it."
    return f"Answer with one of {', '.join(task.labels)}, written exactly so, and nothing else."


class _Line(NamedTuple):
    """The line of an item."""

    rank: int
    text: str
    cut: bool


def _lines(template: ChatPrompt, ranking: Ranking, tokenizer: Tokenizer, left: int, mark: str) -> list[_Line]:
    """The lines of the items that fit."""
    fitting = [
        (rank, item)
        for rank, item in enumerate(ranking.items, 1)
        if _line(template, rank, item, tokenizer, left, mark) is not None
    ]
    while fitting:
        shown = _share(template, fitting, tokenizer, left, mark)
        if len(shown) == len(fitting):
            return shown
        fitting.pop()
    return []


def _share(
    template: ChatPrompt, items: list[tuple[int, Document]], tokenizer: Tokenizer, left: int, mark: str
) -> list[_Line]:
    """The lines of the items up to the first whose share is too small."""
    shown: list[_Line] = []
    for index, (rank, document) in enumerate(items):
        line = _line(template, rank, document, tokenizer, left // (len(items) - index), mark)
        if line is None:
            break
        shown.append(line)
        left -= tokenizer.count(line.text) + 1
    return shown


def _line(
    template: ChatPrompt, rank: int, document: Document, tokenizer: Tokenizer, budget: int, mark: str
) -> _Line | None:
    """The item in at most `budget` tokens; None if it does not fit."""
    begin = mark.format(n=rank)
    fields = {name: " ".join(value.split()) for name, value in document.fields.items()}
    line = begin + template.item.format_map(fields)
    if tokenizer.count(line) <= budget:
        return _Line(rank, line, False)
    needed = tokenizer.count(begin + template.item.format_map({**fields, template.long: ""}))
    if budget - needed < _MIN_TOKENS:
        return None
    try:
        text, _ = tokenizer.truncate(fields[template.long], budget - needed)
    except ValueError:
        return None
    return _Line(rank, begin + template.item.format_map({**fields, template.long: text}), True)


def _write(template: ChatPrompt, example: Example, lines: list[str], block: str, instruction: str) -> str:
    first = [block, ""] if block else []
    shown = [template.heading, *lines, ""] if lines else []
    then = [instruction] if instruction else []
    return "\n".join([*first, *shown, example.input, *then, template.ask])
