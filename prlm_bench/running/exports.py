"""Rankings and prompts as files for other programs, written as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import orjson

from ..interfaces import Retriever, Tokenizer
from ..prompting import chat_prompt, lamp_prompt
from ..records import Example, Ranking
from .progress import Progress

if TYPE_CHECKING:
    from ..data import Dataset

_BATCH = 128


def ranking_file(dataset: Dataset, retriever: Retriever, limit: int | None, progress: Progress) -> Iterator[bytes]:
    """The pieces of LaMP's ranking file: {question id: [item ids, best first, the whole profile]}."""
    separator = b"{"
    for example, ranking in _ranked(dataset, retriever, None, limit, progress):
        ids = orjson.dumps([item.id for item in ranking.items])
        yield separator + orjson.dumps(example.id) + b": " + ids
        separator = b",\n"
    yield b"}\n" if separator != b"{" else b"{}\n"


def prompt_lines(
    dataset: Dataset,
    retriever: Retriever,
    k: int,
    protocol: Literal["lamp", "chat"],
    tokenizer: Tokenizer,
    max_length: int,
    limit: int | None,
    progress: Progress,
) -> Iterator[bytes]:
    """One JSON line for each question: its id, its prompt, and how many items are shown, cut and dropped."""
    templates = dataset.task.prompts
    for example, ranking in _ranked(dataset, retriever, k, limit, progress):
        top = Ranking(ranking.items[:k], ranking.scores[:k])
        if protocol == "lamp":
            prompt = lamp_prompt(templates.lamp, example, top, tokenizer, max_length)
        else:
            prompt = chat_prompt(templates.chat, example, top, tokenizer, max_length)
        counts = {"tokens": prompt.tokens, "shown": prompt.shown, "cut": prompt.cut, "dropped": prompt.dropped}
        yield orjson.dumps({"id": example.id, "prompt": prompt.text, **counts}) + b"\n"


def _ranked(
    dataset: Dataset, retriever: Retriever, k: int | None, limit: int | None, progress: Progress
) -> Iterator[tuple[Example, Ranking]]:
    count = min(limit or len(dataset), len(dataset))
    progress.start(f"{dataset.task.name} {dataset.split}", count)
    for examples in dataset.batches(_BATCH, 0, count):
        yield from zip(examples, retriever.rank(examples, k), strict=True)
        progress.advance(len(examples))
