"""Exports rankings and prompts for other programs, as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import orjson

from ..interfaces import Retriever, Tokenizer
from ..progress import Progress
from ..prompting import chat_prompt, lamp_prompts, plain_ask
from ..records import Example, Ranking
from ._calls import rank

if TYPE_CHECKING:
    from ..data import Dataset

_BATCH = 128


def ranking_file(dataset: Dataset, retriever: Retriever, limit: int | None, progress: Progress) -> Iterator[bytes]:
    """The pieces of LaMP's ranking file: {question id: [item ids of the whole profile, best first]}."""
    separator = b"{"
    for examples, rankings in _ranked(dataset, retriever, None, limit, progress):
        for example, ranking in zip(examples, rankings, strict=True):
            ids = orjson.dumps([item.id for item in ranking.items])
            yield separator + orjson.dumps(example.id) + b": " + ids
            separator = b",\n"
    yield b"}\n" if separator != b"{" else b"{}\n"


def prompt_lines(
    dataset: Dataset,
    retriever: Retriever,
    k: int,
    protocol: Literal["lamp", "chat", "plain"],
    tokenizer: Tokenizer,
    max_length: int,
    limit: int | None,
    progress: Progress,
) -> Iterator[bytes]:
    """One JSON line for each question: its id, its prompt, and how many items are shown, cut and dropped."""
    templates = dataset.task.prompts
    ask = plain_ask(dataset.task) if protocol == "plain" else None
    for examples, rankings in _ranked(dataset, retriever, k, limit, progress):
        cut = [Ranking(ranking.items[:k], ranking.scores[:k]) for ranking in rankings]
        if protocol == "lamp":
            prompts = lamp_prompts(templates.lamp, examples, cut, tokenizer, max_length)
        else:
            pairs = zip(examples, cut, strict=True)
            prompts = [chat_prompt(templates.chat, *pair, tokenizer, max_length, ask=ask) for pair in pairs]
        for prompt in prompts:
            counts = {"tokens": prompt.tokens, "shown": prompt.shown, "cut": prompt.cut, "dropped": prompt.dropped}
            yield orjson.dumps({"id": prompt.example.id, "prompt": prompt.text, **counts}) + b"\n"


def _ranked(
    dataset: Dataset, retriever: Retriever, k: int | None, limit: int | None, progress: Progress
) -> Iterator[tuple[Sequence[Example], Sequence[Ranking]]]:
    """Batches of examples with their rankings; a batch counts as done when the next one is requested."""
    count = min(limit or len(dataset), len(dataset))
    progress.start(f"{dataset.task.name} {dataset.split}", count)
    for examples in dataset.batches(_BATCH, 0, count):
        yield examples, rank(retriever, examples, k)
        progress.advance(len(examples))
