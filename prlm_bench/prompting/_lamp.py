"""The `lamp` prompt protocol, byte for byte: profile items written into the prompt within a token budget.

Source: LaMP (Salemi et al., arXiv 2304.11406), section 4.1, and the `prompts.py` of its code; the formulas
are in `docs/reference/protocols.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..interfaces import Tokenizer
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

    The input may take up to 60 % of `max_length` tokens; the items share the rest, and what one leaves
    unused the next may use. Where the tokenizer refuses a length, the input's share falls by a tenth at a
    time; when nothing is left of it, or the input lacks the word that the items follow, the prompt is the
    input alone and every item counts as dropped.

    What the prompts show is tokenized together, and so are the prompts, by a tokenizer that can do so: it has
    a method `prepare(texts)`.

    Args:
        template: the task's prompt.
        examples: the questions.
        rankings: the items to show, cut to k, for each question.
        tokenizer: sets lengths; special tokens are counted, as LaMP's code counts them.
        max_length: the budget M in tokens.
    """
    prepare: Callable[[list[str]], None] = getattr(tokenizer, "prepare", _nothing)
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
    """Build one prompt, as `lamp_prompts` builds many."""
    return lamp_prompts(template, [example], [ranking], tokenizer, max_length)[0]


def _nothing(texts: list[str]) -> None:
    """What a tokenizer that cannot prepare texts does with them."""


def _write(
    template: LampPrompt, text: str, ranking: Ranking, tokenizer: Tokenizer, max_length: int
) -> tuple[str, int, int]:
    """The prompt, how many items it shows, and how many of them were cut."""
    share = 0.6
    # LaMP's code lowers the share by repeated subtraction; the rounding of these floats is part of it.
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
    """The items as written, and how many of them were cut."""
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
    """The input with the items in it; None where it lacks the word that they follow."""
    joined = template.join.join(items)
    if template.prompt is not None:
        return template.prompt.format(items=joined, input=text)
    assert template.insert_after is not None
    before, found, after = text.partition(template.insert_after)
    return f"{before}{found}, and {joined}{after}" if found else None
