"""Takes batches of examples through a tree of cells: a stage that cells share is computed once.

A ranking is made once for the largest k and cut; prompts are built once for all generators that budget by
the same tokenizer. A component that fails takes only its own cells with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import PrlmBenchError
from ..host import ComponentChoice
from ..interfaces import Fingerprinted, Generator, Reasoner, Retriever, Reward
from ..prompting import max_prompt_tokens, parse_completion
from ..records import Completion, Example, Prompt, Ranking, Sample
from ._components import Components
from ._plan import Cell, component_key

if TYPE_CHECKING:
    pass

#: Retrieval measures, computed where relevant items are known, and the depth they look at.
RETRIEVAL_MEASURES = ("nDCG@5", "R@5")
RETRIEVAL_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Result:
    """A finished sample of one cell."""

    cell: int
    sample: Sample
    retrieval: dict[str, float]
    rewards: dict[str, float]


@dataclass
class MethodComponents:
    """The components of a cell, made."""

    retriever: Retriever
    reasoner: Reasoner
    generator: Generator


class Pipeline:
    """The cells of one dataset, ready to answer.

    Args:
        cells: what to run; the index into this list names a cell.
        rewards: scored for every sample of every cell.

    Raises:
        PrlmBenchError: a component cannot be made.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        rewards: Sequence[ComponentChoice],
        components: Components,
    ) -> None:
        self._cells = cells
        self._components = components
        self.parts = [self._parts(cell) for cell in cells]
        self.rewards: dict[str, Reward] = {str(choice): components.make(choice, 0)[0] for choice in rewards}
        #: One line for each cell that can go no further, by its index.
        self.failed: dict[int, str] = {}

    def run(self, examples: Sequence[Example], done: Callable[[int, str], bool]) -> Iterator[Result]:
        """Answer what is not done yet, yielding each sample the moment it is finished.

        Args:
            examples: one batch.
            done: whether a cell has a question (by id) already.
        """
        for members in self._grouped(range(len(self._cells)), lambda cell: (cell.seed, component_key(cell.retriever))):
            wanted = [e for e in examples if any(self._open(i) and not done(i, e.id) for i in members)]
            if not wanted:
                continue
            try:
                rankings = self._rank(members, wanted)
                retrieves = any(self._cells[i].k for i in members)
                retrieval = _judge_retrieval(wanted, rankings) if retrieves else [{}] * len(wanted)
            except Exception as error:
                self._fail(members, "retriever", error)
                continue
            for inner in self._grouped(members, lambda cell: (cell.k, component_key(cell.reasoner))):
                yield from self._answer(inner, wanted, rankings, retrieval, done)

    def _answer(
        self,
        members: Sequence[int],
        examples: Sequence[Example],
        rankings: Sequence[Ranking],
        retrieval: Sequence[dict[str, float]],
        done: Callable[[int, str], bool],
    ) -> Iterator[Result]:
        k = self._cells[members[0]].k
        cut = [Ranking(ranking.items[:k], ranking.scores[:k]) for ranking in rankings]
        built: dict[Any, Sequence[Prompt]] = {}
        for index in members:
            todo = [j for j, example in enumerate(examples) if not done(index, example.id)]
            if not todo or not self._open(index):
                continue
            stage = "reasoner"
            try:
                prompts = self._prompts(index, built, examples, cut)
                stage = "generator"
                for j, completion in self._generate(index, [prompts[j] for j in todo]):
                    prompt, stage = prompts[todo[j]], "reasoner"
                    answer = parse_completion(self.parts[index].reasoner, prompt, completion)
                    sample = Sample(prompt, completion, answer)
                    yield Result(index, sample, retrieval[todo[j]], {})
                    stage = "generator"
            except Exception as error:
                self._fail([index], stage, error)

    def score(self, results: Sequence[Result]) -> list[Result]:
        """The same results with their rewards, each reward called once for all of them."""
        samples = [result.sample for result in results]
        columns = {}
        for name, reward in self.rewards.items():
            values = [float(value) for value in reward.score(samples)]
            if len(values) != len(samples):
                raise PrlmBenchError(f"reward {name} gave {len(values)} scores for {len(samples)} samples")
            columns[name] = values
        return [
            Result(result.cell, result.sample, result.retrieval, {name: column[j] for name, column in columns.items()})
            for j, result in enumerate(results)
        ]

    def _rank(self, members: Sequence[int], examples: Sequence[Example]) -> list[Ranking]:
        depth = max(self._cells[i].k for i in members)
        if depth and any(example.relevant is not None for example in examples):
            depth = max(depth, RETRIEVAL_DEPTH)
        rankings = list(self.parts[members[0]].retriever.rank(examples, depth))
        if len(rankings) != len(examples):
            raise PrlmBenchError(f"gave {len(rankings)} rankings for {len(examples)} examples")
        for ranking in rankings:
            if len(ranking.items) != len(ranking.scores):
                raise PrlmBenchError(f"gave {len(ranking.items)} items and {len(ranking.scores)} scores")
        # Plain floats: numpy's are no JSON.
        return [Ranking(r.items[:depth], tuple(map(float, r.scores[:depth]))) for r in rankings]

    def _prompts(
        self,
        index: int,
        built: dict[Any, Sequence[Prompt]],
        examples: Sequence[Example],
        rankings: Sequence[Ranking],
    ) -> Sequence[Prompt]:
        parts = self.parts[index]
        # Prompts are shared where they are budgeted alike.
        if "generator" in self._cells[index].reasoner.component.needs:
            key: Any = component_key(self._cells[index].generator)
        else:
            tokenizer = parts.generator.tokenizer
            known: Any = index  # without an identity of its own: shared with no other cell
            if tokenizer is None or isinstance(tokenizer, Fingerprinted):
                known = tokenizer and (type(tokenizer).__qualname__, tokenizer.fingerprint())
            key = known, max_prompt_tokens(parts.generator)
        if key not in built:
            prompts = parts.reasoner.prompts(examples, rankings, parts.generator)
            if len(prompts) != len(examples):
                raise PrlmBenchError(f"gave {len(prompts)} prompts for {len(examples)} examples")
            built[key] = prompts
        return built[key]

    def _generate(self, index: int, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        missing = set(range(len(prompts)))
        for j, completion in self.parts[index].generator.generate(prompts):
            if j not in missing:
                raise PrlmBenchError(f"answered prompt {j} twice, or there is none of that number")
            missing.remove(j)
            completion.text.encode()  # a text that is no Unicode cannot be stored
            yield j, completion
        if missing:
            raise PrlmBenchError(f"left {len(missing)} of {len(prompts)} prompts without an answer")

    def _open(self, index: int) -> bool:
        return index not in self.failed

    def _fail(self, members: Sequence[int], kind: str, error: Exception) -> None:
        chosen: ComponentChoice = getattr(self._cells[members[0]], kind)
        reason = str(error) if isinstance(error, PrlmBenchError) else f"{type(error).__name__}: {error}"
        for index in members:
            message = f"{kind} {chosen} from {chosen.component.origin}: {' '.join(reason.split())}"
            self.failed.setdefault(index, message)

    def _grouped(self, members: Sequence[int] | range, key: Callable[[Cell], Any]) -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for index in members:
            groups.setdefault(key(self._cells[index]), []).append(index)
        return list(groups.values())

    def _parts(self, cell: Cell) -> MethodComponents:
        make = self._components.make
        return MethodComponents(
            retriever=make(cell.retriever, cell.seed)[0],
            reasoner=make(cell.reasoner, cell.seed)[0],
            generator=self._components.generator(cell.generator, cell.seed),
        )


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
