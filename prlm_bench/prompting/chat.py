"""The project's own chat prompt: the user's items, the question, and the answer object that is asked for."""

from __future__ import annotations

from ..interfaces import Tokenizer
from ..records import Document, Example, Prompt, Ranking
from ..tasks import ChatPrompt

#: An item that would keep fewer tokens of its long field than this says nothing and is dropped.
_LEAST = 4


def chat_prompt(
    template: ChatPrompt, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int
) -> Prompt:
    """Build the user's turn of a chat.

    Items are shown best first, one a line. What the question leaves of `max_length` tokens is shared
    equally by the items that are still to come; an item's long field is cut to its share, and an item
    without room is dropped. The question itself is never cut.

    Args:
        template: the task's wording.
        example: the question.
        ranking: the items to show, cut to k.
        tokenizer: sets lengths.
        max_length: the budget in tokens, the chat template's own tokens not counted.
    """
    frame = _write(template, example, [])
    # The heading and the line breaks cost tokens that only the whole prompt shows; 8 covers the joints.
    left = max_length - tokenizer.count(frame) - tokenizer.count(template.heading) - 8
    lines: list[str] = []
    cut = 0
    for index, document in enumerate(ranking.items):
        room = left // (len(ranking.items) - index)
        line, shortened = _item(template, document, tokenizer, room)
        if line is None:
            continue
        lines.append(line)
        cut += shortened
        left -= tokenizer.count(line) + 1
    text = _write(template, example, lines)
    tokens = tokenizer.count(text)
    dropped = len(ranking.items) - len(lines)
    return Prompt(example, ranking, text, chat=True, tokens=tokens, shown=len(lines), cut=cut, dropped=dropped)


def _item(template: ChatPrompt, document: Document, tokenizer: Tokenizer, room: int) -> tuple[str | None, bool]:
    fields = {name: " ".join(value.split()) for name, value in document.fields.items()}
    line = template.item.format_map(fields)
    if tokenizer.count(line) <= room:
        return line, False
    needed = tokenizer.count(template.item.format_map({**fields, template.long: ""}))
    if room - needed < _LEAST:
        return None, True
    try:
        text, _ = tokenizer.truncate(fields[template.long], room - needed)
    except ValueError:
        return None, True
    return template.item.format_map({**fields, template.long: text}), True


def _write(template: ChatPrompt, example: Example, lines: list[str]) -> str:
    shown = [template.heading, *lines, ""] if lines else []
    return "\n".join([*shown, example.input, template.ask])
