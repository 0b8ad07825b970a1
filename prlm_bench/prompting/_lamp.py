"""The `lamp` prompt protocol, byte for byte: profile items in the prompt, within a token budget.

Source: LaMP (Salemi et al., arXiv 2304.11406), section 4.1, and the `prompts.py` of its code; the formulas
are in `docs/reference/protocols.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..interfaces import PreparesTexts, Tokenizer
from ..records import Example, Prompt, Ranking
from ..tasks import LampPrompt


def lamp_prompts(
    template: LampPrompt,
    examples: Sequence[Example],
    rankings: Sequence[Ranking],
    tokenizer: Tokenizer,
    max_length: int,
) -> list[Prompt]:
    """Build a prompt for each example.

    The input may take up to 60 % of `max_length` tokens. The items share the rest, and unused tokens pass to the next
    item. If the tokenizer cannot cut to a length, the share of the input is reduced by 0.1 at a time. If it falls below
    0, or the input lacks the word that the items follow, the prompt is the input alone and all items are dropped.

    Texts and prompts are tokenized in batches if the tokenizer has a method `prepare(texts)`.

    Args:
        template: the task's prompt.
        examples: the questions.
        rankings: the items to show, cut to k, for each question.
        tokenizer: sets lengths, special tokens included as in LaMP's code.
        max_length: the budget M in tokens.
    """
    prepare = tokenizer.prepare if isinstance(tokenizer, PreparesTexts) else _nothing
    shown = [item.fields[template.long] for ranking in rankings for item in ranking.items]
    prepare([*(example.input for example in examples), *shown])
    pairs = list(zip(examples, rankings, strict=True))
    written = [_write(template, example.input, ranking, tokenizer, max_length) for example, ranking in pairs]
    prepare([text for text, _, _ in written])
    return [
        Prompt(
            example,
            ranking,
            text,
            tokens=tokenizer.count(text),
            shown=shown,
            cut=cut,
            dropped=len(ranking.items) - shown,
        )
        for (example, ranking), (text, shown, cut) in zip(pairs, written, strict=True)
    ]


def lamp_prompt(
    template: LampPrompt, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int
) -> Prompt:
    """Build one prompt (see `lamp_prompts`)."""
    return lamp_prompts(template, [example], [ranking], tokenizer, max_length)[0]


def _nothing(texts: list[str]) -> None:
    """The default `prepare` of tokenizers without one."""


def _write(
    template: LampPrompt, text: str, ranking: Ranking, tokenizer: Tokenizer, max_length: int
) -> tuple[str, int, int]:
    """The prompt, the number of its items, and how many of them were cut."""
    share = 0.6
    # LaMP's code subtracts repeatedly, and the rounding of these floats matters.
    while ranking.items and share >= 0:
        budget = max_length - min(tokenizer.count(text), int(share * max_length))
        try:
            items, cut = _items(template, ranking, tokenizer, budget)
        except ValueError:
            share -= 0.1
            continue
        prompt = _insert(template, text, items)
        if prompt is None:
            break
        return prompt, len(items), cut
    return text, 0, 0


def _items(template: LampPrompt, ranking: Ranking, tokenizer: Tokenizer, budget: int) -> tuple[list[str], int]:
    """The formatted items, and how many of them were cut."""
    count = len(ranking.items)
    reserve = tokenizer.count(template.reserve) if template.reserve else 0
    per_item = (budget - template.overhead - 2 * (count - 1) - reserve) // count
    saved = 0
    cut = 0
    items = []
    for document in ranking.items:
        fields = document.fields
        needed = template.needed
        if isinstance(needed, str):
            needed = tokenizer.count(needed.format_map(fields))
        long = fields[template.long]
        shown, kept = tokenizer.truncate(long, per_item + saved - needed)
        cut += kept < tokenizer.count(long)
        saved += per_item - kept - needed
        items.append(template.item.format_map({**fields, template.long: shown}))
    return items, cut


def _insert(template: LampPrompt, text: str, items: list[str]) -> str | None:
    """The input with the items inserted; None if it lacks the word that they follow."""
    joined = template.join.join(items)
    if template.prompt is not None:
        return template.prompt.format(items=joined, input=text)
    assert template.insert_after is not None
    before, found, after = text.partition(template.insert_after)
    return f"{before}{found}, and {joined}{after}" if found else None
