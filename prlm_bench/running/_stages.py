"""Rankings and prompts of a batch of examples, each computed when it is first needed, and once for all that share it.

Rankings are computed once for the largest k and cut; prompts are built once for all generators with the same tokenizer
and limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..interfaces import Fingerprinted, Generator, Reasoner, Retriever
from ..profiling import timed
from ..prompting import max_prompt_tokens
from ..records import Example, Prompt, Ranking
from ._calls import rank
from ._drafts import Drafting
from ._feed import Question
from ._plan import Cell, component_key

#: Retrieval measures, computed if there are relevance labels, and their depth.
RETRIEVAL_MEASURES = ("nDCG@5", "R@5")
RETRIEVAL_DEPTH = 5

#: Whether a cell has already answered a question, by id.
Done = Callable[[int, str], bool]


@dataclass
class MethodComponents:
    """The created components of a cell."""

    retriever: Retriever
    reasoner: Reasoner
    generator: Generator


class StageError(Exception):
    """A retriever or a reasoner failed."""

    def __init__(self, kind: str, members: Sequence[int], error: Exception) -> None:
        super().__init__(kind)
        self.kind, self.members, self.error = kind, members, error


@dataclass(frozen=True)
class _Ranked:
    """The examples of a batch that some cell has not done, with their rankings."""

    examples: Sequence[Example]
    rankings: Sequence[Ranking]
    retrieval: Sequence[dict[str, float]]


@dataclass
class Batch:
    """A batch of examples, with what was computed for it so far."""

    examples: Sequence[Example]
    ranked: dict[Any, _Ranked] = field(default_factory=dict)
    prompts: dict[Any, Sequence[Prompt]] = field(default_factory=dict)


class Stages:
    """The stages before the generator.

    Args:
        cells: the cells, and `parts` their components.
        is_open: whether a cell has not failed.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        parts: Sequence[MethodComponents],
        is_open: Callable[[int], bool],
    ) -> None:
        self._cells, self._parts, self._is_open = cells, parts, is_open
        self._drafting = Drafting()
        retrieval = grouped(range(len(cells)), self._retrieval_key)
        self._sharing = {index: members for members in retrieval for index in members}
        #: All cells, those that share something next to each other.
        self.order = [i for members in retrieval for inner in grouped(members, self._prompts_key) for i in inner]

    def questions(self, index: int, batch: Batch, done: Done) -> list[Question]:
        """What a cell has to ask of a batch.

        Raises:
            StageError: its retriever or its reasoner failed.
        """
        if not self._is_open(index) or all(done(index, example.id) for example in batch.examples):
            return []
        members = self._sharing[index]
        key = self._retrieval_key(index)
        if key not in batch.ranked:
            try:
                with timed("retrieval", [self._cells[i].name for i in members if self._is_open(i)]):
                    batch.ranked[key] = self._ranked(members, batch.examples, done)
            except Exception as error:
                raise StageError("retriever", members, error) from error
        ranked = batch.ranked[key]
        try:
            with timed("prompts", [self._cells[index].name]):
                prompts = self._prompts(index, batch, ranked)
        except Exception as error:
            raise StageError("reasoner", [index], error) from error
        return [
            Question(index, prompt, retrieval)
            for example, prompt, retrieval in zip(ranked.examples, prompts, ranked.retrieval, strict=True)
            if not done(index, example.id)
        ]

    def _ranked(self, members: Sequence[int], examples: Sequence[Example], done: Done) -> _Ranked:
        wanted = [e for e in examples if any(self._is_open(i) and not done(i, e.id) for i in members)]
        rankings = self._rank(members, wanted)
        retrieves = any(self._cells[i].k for i in members)
        return _Ranked(wanted, rankings, _judge_retrieval(wanted, rankings) if retrieves else [{}] * len(wanted))

    def _rank(self, members: Sequence[int], examples: Sequence[Example]) -> list[Ranking]:
        depth = max(self._cells[i].k for i in members)
        if depth and any(example.relevant is not None for example in examples):
            depth = max(depth, RETRIEVAL_DEPTH)
        return rank(self._parts[members[0]].retriever, examples, depth)

    def _prompts(self, index: int, batch: Batch, ranked: _Ranked) -> Sequence[Prompt]:
        key = self._retrieval_key(index), self._prompts_key(index), self._budget_key(index)
        if key not in batch.prompts:
            parts, k = self._parts[index], self._cells[index].k
            cut = [Ranking(ranking.items[:k], ranking.scores[:k]) for ranking in ranked.rankings]
            asks = "generator" in self._cells[index].reasoner.component.needs
            batch.prompts[key] = self._drafting.prompts(
                parts.reasoner, ranked.examples, cut, parts.generator, asks=asks
            )
        return batch.prompts[key]

    def _retrieval_key(self, index: int) -> Any:
        return self._cells[index].seed, component_key(self._cells[index].retriever)

    def _prompts_key(self, index: int) -> Any:
        return self._cells[index].k, component_key(self._cells[index].reasoner)

    def _budget_key(self, index: int) -> Any:
        """Prompts are shared between generators with the same token budget."""
        if "generator" in self._cells[index].reasoner.component.needs:
            return component_key(self._cells[index].generator)
        tokenizer = self._parts[index].generator.tokenizer
        known: Any = index  # a tokenizer without a fingerprint is not shared with other cells
        if tokenizer is None or isinstance(tokenizer, Fingerprinted):
            known = tokenizer and (type(tokenizer).__qualname__, tokenizer.fingerprint())
        return known, max_prompt_tokens(self._parts[index].generator)


def grouped(members: Sequence[int], key: Callable[[int], Any]) -> list[list[int]]:
    """Members with equal keys together, in the order of their first."""
    groups: dict[Any, list[int]] = {}
    for index in members:
        groups.setdefault(key(index), []).append(index)
    return list(groups.values())


def _judge_retrieval(examples: Sequence[Example], rankings: Sequence[Ranking]) -> list[dict[str, float]]:
    known = [j for j, example in enumerate(examples) if example.relevant is not None]
    scores: list[dict[str, float]] = [{} for _ in examples]
    if known:
        from ..metrics._retrieval import retrieval_scores

        ranked = [[item.id for item in rankings[j].items] for j in known]
        relevant = [examples[j].relevant or frozenset() for j in known]
        for name, values in retrieval_scores(ranked, relevant, RETRIEVAL_MEASURES).items():
            for j, value in zip(known, values, strict=True):
                scores[j][name] = value
    return scores
