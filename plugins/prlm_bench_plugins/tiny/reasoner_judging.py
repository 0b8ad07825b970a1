"""What the tiny reasoner makes of held-out users: without items, from items at once, and by reasoning."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prlm_bench.prompting import split_reasoning

from .judging import ITEMS, score, write
from .skills import Skills

if TYPE_CHECKING:
    from prlm_bench.progress import Progress

#: Tokens of a trace with its answer, at most.
_MOST = 96
#: What traces are sampled at, as in reinforcement learning.
_TEMPERATURE = 0.7


def judge(model: Any, tokenizer: Any, skills: Skills, progress: Progress) -> dict[str, dict[str, float]]:
    """The task's first metric by way of asking; for traces also what they state.

    Returns:
        By way of asking: `score`; `unread`, the share of answers that cannot be read; for traces
        `lines` and `claims`, how many of each a trace has, and `true`, the share of claims that are.
    """
    import torch

    examples = skills.book.examples
    golds = [example.gold or "" for example in examples]
    rng = random.Random("judge")
    shown = [skills.items(example, [(ITEMS, 1.0)], rng) for example in examples]
    direct, explicit = (
        [skills.prompt(reasoner, each, items) for each, items in zip(examples, shown, strict=True)]
        for reasoner in ("direct", "prlm")
    )
    bare = [skills.prompt("direct", example, ()) for example in examples]
    torch.manual_seed(0)
    ways = {"zero-shot": (bare, 0.0), "direct": (direct, 0.0), "prlm": (explicit, 0.0)}
    ways["prlm sampled"] = (explicit, _TEMPERATURE)
    figures = {}
    progress.start("judging held-out users, ways of asking", len(ways))
    for way, (prompts, temperature) in ways.items():
        texts = write(model, tokenizer, prompts, _MOST, temperature)
        thinks = way.startswith("prlm")
        value, unread = score(skills.book.task, texts, golds, thinks=thinks)
        figures[way] = {"score": value, "unread": unread / len(golds)} | (_stated(skills, texts) if thinks else {})
        figures[way] = {name: round(number, 4) for name, number in figures[way].items()}
        progress.note(f"{way}: {figures[way]}")
        progress.advance()
    return figures


def _stated(skills: Skills, texts: Sequence[str]) -> dict[str, float]:
    read = [skills.claims.read(split_reasoning(text)[0] or "") for text in texts]
    claims = [[claim for claim in lines if claim] for lines in read]
    pairs = zip(skills.book.examples, claims, strict=True)
    true = [skills.claims.holds(example, claim) for example, made in pairs for claim in made]
    return {
        "lines": sum(map(len, read)) / len(read),
        "claims": sum(map(len, claims)) / len(read),
        "true": sum(true) / max(1, len(true)),
    }
