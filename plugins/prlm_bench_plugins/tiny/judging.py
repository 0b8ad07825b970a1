"""What the tiny model makes of held-out users, with and without their items."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from prlm_bench import Document, Example
from prlm_bench.metrics import Pairs, prlm_bench_register_metrics
from prlm_bench.prompting import find_answer
from prlm_bench.tasks import Task

from .books import Book
from .lessons import choose, lesson
from .vocabulary import ASSISTANT, END, USER

#: Ways to choose items; `stranger` shows the items of another user.
WAYS = ("none", "stranger", "random", "words", "relevant")
ITEMS = 4
_ROWS = 64
_MOST = 48


def judge(model: Any, tokenizer: Any, book: Book) -> dict[str, float]:
    """The task's first metric for each way to choose four items, and the share of answers that cannot be read."""
    found: dict[str, float] = {}
    task = book.task
    golds = [example.gold or "" for example in book.examples]
    unread = 0
    for way in WAYS:
        rng = random.Random(f"judge {way}")
        asked = [
            lesson(task, example, _items(book.examples, index, way, rng)).prompt
            for index, example in enumerate(book.examples)
        ]
        value, unreadable = score(task, write(model, tokenizer, asked), golds)
        found[way] = round(value, 4)
        unread += unreadable
    return {**found, "unread": round(unread / len(WAYS) / len(golds), 4)}


def score(task: Task, texts: Sequence[str], golds: Sequence[str], *, thinks: bool = False) -> tuple[float, int]:
    """The task's first metric of answers in completions, and how many of them cannot be read."""
    parsed = [find_answer(task, text, task.prompts.chat.key, thinks=thinks) for text in texts]
    pairs = Pairs([answer.text if answer.parsed else "" for answer in parsed], golds, task.labels)
    metric = _metrics()[task.metrics[0]]()
    value = float(metric.value(metric.statistics(pairs).sum(axis=0)))
    return value, sum(answer.parsed is None for answer in parsed)


def write(model: Any, tokenizer: Any, asked: Sequence[str], most: int = _MOST, temperature: float = 0.0) -> list[str]:
    """Completions of prompts, in their order; sampled ones depend on torch's seed.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        asked: prompts, as users' turns.
        most: tokens of a completion at most.
        temperature: 0 writes the most likely token each time.
    """
    import torch

    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    answers = [""] * len(asked)
    order = sorted(range(len(asked)), key=lambda index: len(asked[index]))
    tokenizer.padding_side = "left"
    for start in range(0, len(order), _ROWS):
        rows = order[start : start + _ROWS]
        texts = [f"{USER}{asked[index]}{END}{ASSISTANT}" for index in rows]
        inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            ids = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=most,
                **sampling,
            )
        written = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for index, text in zip(rows, written, strict=True):
            answers[index] = text
    return answers


def _items(examples: Sequence[Example], index: int, way: str, rng: random.Random) -> Sequence[Document]:
    example = examples[index]
    if way != "stranger":
        return choose(example, way, ITEMS, rng)
    others = [other for other in examples if other.user != example.user]
    return choose(rng.choice(others), "random", ITEMS, rng)


def _metrics() -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    prlm_bench_register_metrics(lambda name, factory, **_: found.__setitem__(name, factory))
    return found
