"""Pairs for the reward model: what the base answers with the user's items, against what it answers without.

Source: PrLM (arXiv 2508.07342), the contrastive reward. Both answers come from the same base model, so that
what tells them apart is what the items brought. The extras go beyond the paper and are off by default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from prlm_bench import Example, Ranking, Sample
from prlm_bench.cli.plugin_api import write_whole
from prlm_bench.errors import RunError
from prlm_bench.interfaces import Reasoner

from .artefact import Artefact
from .identity import hash_files
from .workshop import Workshop

FILE = "pairs.jsonl"


@dataclass(frozen=True)
class Pair:
    """A better and a worse answer to one question."""

    id: str
    user: str
    query: str
    better: str
    worse: str
    #: The texts of the items that the better answer saw, best first.
    items: tuple[str, ...]
    #: Where the worse answer comes from: `no-items`, `other-user` or `echo`.
    against: str
    gold: str
    #: The question's user is kept back: the pair judges, and nothing is trained on it.
    held_back: bool
    #: The prompt with items and the whole completions; empty where an answer was not the model's.
    prompt: str
    chosen: str
    rejected: str


def make_pairs(shop: Workshop) -> Artefact:
    """The pairs of a recipe: `pairs.jsonl`, and a manifest that says how many were dropped, and why."""
    return shop.stage("pairs", shop.recipe.pairs, lambda folder: _make(shop, folder), alone=True)


def read_pairs(artefact: Artefact) -> list[Pair]:
    """All pairs of an artefact."""
    rows = map(orjson.loads, (artefact.folder / FILE).read_bytes().splitlines())
    return [Pair(**{**row, "items": tuple(row["items"])}) for row in rows]


def _make(shop: Workshop, folder: Path) -> Mapping[str, Any]:
    settings = shop.recipe.pairs
    examples = shop.questions(settings.questions) + shop.questions(settings.questions, held_back=True)
    reasoner = shop.reasoner(shop.recipe.reasoner)
    shown = shop.rank(examples)
    told = _ask(shop, reasoner, "answering with items", examples, shown)
    worse = {"no-items": _ask(shop, reasoner, "answering without items", examples, None)}
    if "other-user" in settings.negatives:
        others = _others(examples, shown, shop.held_back)
        worse["other-user"] = _ask(shop, reasoner, "answering with another user's items", examples, others)
    if "echo" in settings.negatives:
        worse["echo"] = [_Said(None, example.query, "", "") for example in examples]
    dropped: Counter[str] = Counter()
    pairs = [
        pair
        for against, answers in worse.items()
        for place, example in enumerate(examples)
        for pair in _pairs(shop, example, shown[place], told[place], answers[place], against, dropped)
    ]
    if not any(not pair.held_back for pair in pairs) or not any(pair.held_back for pair in pairs):
        reasons = ", ".join(f"{why}: {count}" for why, count in dropped.most_common()) or "nothing dropped"
        raise RunError(f"no pairs to train or to judge on: of {len(examples)} questions, {reasons}")
    write_whole(folder / FILE, b"".join(orjson.dumps(asdict(pair)) + b"\n" for pair in pairs))
    return {
        "questions": len(examples),
        "pairs": len(pairs),
        "held_back_pairs": sum(pair.held_back for pair in pairs),
        "by_negative": dict(Counter(pair.against for pair in pairs)),
        "dropped": dict(dropped),
        "files": hash_files(folder, FILE),
    }


@dataclass(frozen=True)
class _Said:
    #: Why there is no answer; None where there is one.
    unread: str | None
    answer: str
    prompt: str
    completion: str


def _ask(
    shop: Workshop, reasoner: Reasoner, label: str, examples: Sequence[Example], rankings: Sequence[Ranking] | None
) -> list[_Said]:
    prompts = shop.prompts(reasoner, examples, rankings)
    answering = [prompt for prompt in prompts if shop.fits(prompt)]
    samples: dict[str, Sample] = {
        done.prompt.example.id: done for done in shop.answers(label, reasoner, answering, shop.generator())
    }
    return [_said(samples.get(prompt.example.id), prompt.text) for prompt in prompts]


def _said(sample: Sample | None, prompt: str) -> _Said:
    if sample is None:
        return _Said("the question is too long", "", prompt, "")
    unread = "an answer cannot be read" if sample.answer.parsed is None else None
    return _Said(unread, sample.answer.text, prompt, sample.completion.text)


def _others(examples: Sequence[Example], rankings: Sequence[Ranking], held_back: frozenset[str]) -> list[Ranking]:
    """For each question the items of the next question that another user asks, kept back or not like its own."""
    kept = [example.user in held_back for example in examples]
    found = []
    for place, example in enumerate(examples):
        after = [*range(place + 1, len(examples)), *range(place)]
        fit = (at for at in after if examples[at].user != example.user and kept[at] == kept[place])
        other = next(fit, None)
        found.append(Ranking() if other is None else rankings[other])
    return found


def _pairs(
    shop: Workshop, example: Example, ranking: Ranking, better: _Said, worse: _Said, against: str, dropped: Counter[str]
) -> Iterator[Pair]:
    """None, one, or with the gold two pairs of a question."""
    items = tuple(item.text for item in ranking.items)
    held_back = example.user in shop.held_back
    gold = example.gold or ""

    def pair(answer: str, chosen: str) -> Pair:
        rejected = worse.completion
        head = (example.id, example.user, example.query, answer, worse.answer, items, against, gold, held_back)
        return Pair(*head, better.prompt if chosen and rejected else "", chosen, rejected)

    if worse.unread or better.unread:
        dropped[worse.unread or better.unread or ""] += 1
    elif better.answer.strip() == worse.answer.strip():
        dropped["both answers are the same"] += 1
    else:
        yield pair(better.answer, better.completion)
    if shop.recipe.pairs.gold and not worse.unread and gold.strip() != worse.answer.strip():
        yield pair(gold, "")
