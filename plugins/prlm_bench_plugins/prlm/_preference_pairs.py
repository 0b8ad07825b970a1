"""Preference pairs: what the base model answers with the user's items, against what it answers without them.

Source: PrLM (arXiv 2508.07342), the contrastive reward. Both answers come from the same base model, so that they
differ by what the items contribute. Without items the model is asked by another reasoner (`plain`): a request to
reason about what "the above" shows of a user confuses it where nothing is above. Other negatives and gold answers go
beyond the paper and are off by default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from prlm_bench import Example, Ranking, Sample
from prlm_bench.errors import RunError
from prlm_bench.files import load_json_lines, write_whole
from prlm_bench.interfaces import Reasoner

from .._training import Artefact, file_hashes
from ._context import TrainingContext

FILE = "pairs.jsonl"


@dataclass(frozen=True)
class Pair:
    """A better and a worse answer to one question."""

    id: str
    user: str
    query: str
    better: str
    worse: str
    #: Texts of the items that the better answer was given, best first.
    items: tuple[str, ...]
    #: Origin of the worse answer: `no-items`, `other-user` or `echo`.
    against: str
    gold: str
    #: Whether the user is a validation user: the pair evaluates the reward model and is not trained on.
    held_back: bool
    #: The prompt with items and the whole completions; empty if one of the answers is not the model's.
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class _Reply:
    """The base model's answer to one prompt."""

    #: Why there is no answer; None if there is one.
    missing: str | None
    answer: str
    prompt: str
    completion: str
    #: Tokens of the completion.
    tokens: int = 0


def make_pairs(ctx: TrainingContext) -> Artefact:
    """The pairs of a recipe: `pairs.jsonl`, and a manifest that counts the dropped ones by reason."""
    settings = ctx.recipe.pairs
    plain = ctx.context.identity_of("reasoner", settings.plain)
    return ctx.stage("pairs", settings, lambda folder: _make(ctx, folder), one_process=True, plain=plain)


def read_pairs(artefact: Artefact) -> list[Pair]:
    """All pairs of an artefact.

    Raises:
        DataError: a line is damaged; names it.
    """
    return list(load_json_lines(artefact.folder / FILE, Pair, "remove their folder, and repeat the training"))


def _make(ctx: TrainingContext, folder: Path) -> Mapping[str, Any]:
    settings = ctx.recipe.pairs
    examples = ctx.questions(settings.questions) + ctx.questions(settings.questions, validation=True)
    reasoner = ctx.reasoner(ctx.recipe.reasoner)
    rankings = ctx.rank(examples)
    better = _replies(ctx, reasoner, "answering with items", examples, rankings)
    plain = ctx.reasoner(settings.plain)
    worse = {"no-items": _replies(ctx, plain, "answering without items", examples, None)}
    if "other-user" in settings.negatives:
        others = _rankings_of_others(examples, rankings, ctx.validation_users)
        worse["other-user"] = _replies(ctx, reasoner, "answering with another user's items", examples, others)
    if "echo" in settings.negatives:
        worse["echo"] = [_Reply(None, example.query, "", "") for example in examples]
    dropped: Counter[str] = Counter()
    pairs = [
        pair
        for against, replies in worse.items()
        for place, example in enumerate(examples)
        for pair in _pairs(ctx, example, rankings[place], better[place], replies[place], against, dropped)
    ]
    if not any(not pair.held_back for pair in pairs) or not any(pair.held_back for pair in pairs):
        reasons = ", ".join(f"{why}: {count}" for why, count in dropped.most_common()) or "none was dropped"
        raise RunError(f"no pairs for training or validation: of {len(examples)} questions, {reasons}")
    write_whole(folder / FILE, b"".join(orjson.dumps(asdict(pair)) + b"\n" for pair in pairs))
    return {
        "questions": len(examples),
        "pairs": len(pairs),
        "held_back_pairs": sum(pair.held_back for pair in pairs),
        "by_negative": dict(Counter(pair.against for pair in pairs)),
        "dropped": dict(dropped),
        "files": file_hashes(folder, FILE),
        "cost": {
            "tokens_generated": sum(reply.tokens for replies in (better, *worse.values()) for reply in replies),
            "tokens_trained": 0,
        },
    }


def _replies(
    ctx: TrainingContext,
    reasoner: Reasoner,
    label: str,
    examples: Sequence[Example],
    rankings: Sequence[Ranking] | None,
) -> list[_Reply]:
    prompts = ctx.prompts(reasoner, examples, rankings)
    if any(prompt.turns for prompt in prompts):
        raise RunError(f"the prompts of {label} have several turns, and preference pairs hold one text")
    fitting = [prompt for prompt in prompts if ctx.fits(prompt)]
    samples: dict[str, Sample] = {
        done.prompt.example.id: done for done in ctx.answers(label, reasoner, fitting, ctx.base_model())
    }
    return [_reply(samples.get(prompt.example.id), prompt.text) for prompt in prompts]


def _reply(sample: Sample | None, prompt: str) -> _Reply:
    if sample is None:
        return _Reply("the question is too long", "", prompt, "")
    missing = "an answer cannot be read" if sample.answer.parsed is None else None
    return _Reply(missing, sample.answer.text, prompt, sample.completion.text, sample.completion.tokens or 0)


def _rankings_of_others(
    examples: Sequence[Example], rankings: Sequence[Ranking], validation_users: frozenset[str]
) -> list[Ranking]:
    """For each question the items of the next question of another user in the same split."""
    validation = [example.user in validation_users for example in examples]
    found = []
    for place, example in enumerate(examples):
        following = [*range(place + 1, len(examples)), *range(place)]
        fitting = (at for at in following if examples[at].user != example.user and validation[at] == validation[place])
        other = next(fitting, None)
        found.append(Ranking() if other is None else rankings[other])
    return found


def _pairs(
    ctx: TrainingContext,
    example: Example,
    ranking: Ranking,
    better: _Reply,
    worse: _Reply,
    against: str,
    dropped: Counter[str],
) -> Iterator[Pair]:
    """No pair, one, or two if the gold answer is used too."""
    items = tuple(item.text for item in ranking.items)
    validation = example.user in ctx.validation_users
    gold = example.gold or ""

    def pair(answer: str, chosen: str) -> Pair:
        rejected = worse.completion
        head = (example.id, example.user, example.query, answer, worse.answer, items, against, gold, validation)
        return Pair(*head, better.prompt if chosen and rejected else "", chosen, rejected)

    missing = worse.missing or better.missing
    if missing:
        dropped[missing] += 1
    elif better.answer.strip() == worse.answer.strip():
        dropped["both answers are the same"] += 1
    else:
        yield pair(better.answer, better.completion)
    if ctx.recipe.pairs.gold and not worse.missing and gold.strip() != worse.answer.strip():
        yield pair(gold, "")
