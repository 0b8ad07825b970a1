"""Processes batches of examples through a tree of cells; a stage shared by cells is computed once.

Rankings are computed once for the largest k and cut; prompts are built once for all generators with the same tokenizer
and limit. A failing component affects only the cells that use it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._util.text import well_formed
from ..errors import PrlmBenchError
from ..host import ComponentChoice
from ..interfaces import Fingerprinted, Generator, Reasoner, Retriever, Reward
from ..prompting import max_prompt_tokens, parse_completion
from ..records import Completion, Example, Prompt, Ranking, Sample
from ._checked_records import check_prompt, checked
from ._components import Components
from ._plan import Cell, component_key

if TYPE_CHECKING:
    pass

#: Retrieval measures, computed if there are relevance labels, and their depth.
RETRIEVAL_MEASURES = ("nDCG@5", "R@5")
RETRIEVAL_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Result:
    """A finished sample of one cell."""

    cell: int
    sample: Sample
    retrieval: dict[str, float]
    rewards: dict[str, float]
    #: Why a reward gave no value, in one line, by its name.
    reward_failures: dict[str, str] = field(default_factory=dict)


@dataclass
class MethodComponents:
    """The created components of a cell."""

    retriever: Retriever
    reasoner: Reasoner
    generator: Generator


class Pipeline:
    """Runs the cells of one dataset.

    Args:
        cells: the cells to run, identified by their index in this list.
        rewards: computed for every sample of every cell.

    Raises:
        PrlmBenchError: a component cannot be created.
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
        #: The error, in one line, of each failed cell by index.
        self.failed: dict[int, str] = {}
        #: Why a reward failed, by cell and the name of the reward.
        self._lost: defaultdict[int, dict[str, str]] = defaultdict(dict)

    def run(self, examples: Sequence[Example], done: Callable[[int, str], bool]) -> Iterator[Result]:
        """Answer the questions that are not done, yielding each sample as soon as it is finished.

        Args:
            examples: one batch.
            done: whether a cell has already answered a question, by id.
        """
        for members in _grouped(range(len(self._cells)), self._retrieval_key):
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
            for inner in _grouped(members, self._prompts_key):
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
                    answer = checked(parse_completion(self.parts[index].reasoner, prompt, completion))
                    sample = Sample(prompt, completion, answer)
                    yield Result(index, sample, retrieval[todo[j]], {})
                    stage = "generator"
            except Exception as error:
                self._fail([index], stage, error)

    def score(self, results: Sequence[Result]) -> list[Result]:
        """Copies of the results with rewards; each reward is called once for all of them.

        A reward that raises, or does not give one number for each sample, is called again for each cell alone, so that
        it has no value only in the cells where it fails. There it is not called for later samples.
        """
        scored = list(results)
        for name in self.rewards:
            places = [j for j, result in enumerate(scored) if name not in self._lost[result.cell]]
            if places:
                self._score(name, places, scored)
        return [replace(result, reward_failures=dict(self._lost[result.cell])) for result in scored]

    def _score(self, name: str, places: Sequence[int], scored: list[Result]) -> None:
        try:
            values = _reward_values(self.rewards[name], [scored[j].sample for j in places])
        except Exception as error:
            cells = _grouped(places, lambda j: scored[j].cell)
            if len(cells) == 1:
                self._lost[scored[places[0]].cell][name] = _one_line(error)
                return
            for cell in cells:
                self._score(name, cell, scored)
            return
        for j, value in zip(places, values, strict=True):
            scored[j] = replace(scored[j], rewards=scored[j].rewards | {name: value})

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
        # Plain floats, since numpy floats cannot be written as JSON.
        return [Ranking(r.items[:depth], tuple(map(float, r.scores[:depth]))) for r in rankings]

    def _prompts(
        self,
        index: int,
        built: dict[Any, Sequence[Prompt]],
        examples: Sequence[Example],
        rankings: Sequence[Ranking],
    ) -> Sequence[Prompt]:
        parts = self.parts[index]
        # Prompts are shared between generators with the same token budget.
        if "generator" in self._cells[index].reasoner.component.needs:
            key: Any = component_key(self._cells[index].generator)
        else:
            tokenizer = parts.generator.tokenizer
            known: Any = index  # a tokenizer without a fingerprint is not shared with other cells
            if tokenizer is None or isinstance(tokenizer, Fingerprinted):
                known = tokenizer and (type(tokenizer).__qualname__, tokenizer.fingerprint())
            key = known, max_prompt_tokens(parts.generator)
        if key not in built:
            prompts = parts.reasoner.prompts(examples, rankings, parts.generator)
            if len(prompts) != len(examples):
                raise PrlmBenchError(f"gave {len(prompts)} prompts for {len(examples)} examples")
            for prompt in prompts:
                check_prompt(prompt)
            built[key] = prompts
        return built[key]

    def _generate(self, index: int, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        missing = set(range(len(prompts)))
        for j, completion in self.parts[index].generator.generate(prompts):
            if j not in missing:
                raise PrlmBenchError(f"answered prompt {j} twice, or it does not exist")
            missing.remove(j)
            yield j, checked(completion)
        if missing:
            raise PrlmBenchError(f"left {len(missing)} of {len(prompts)} prompts without an answer")

    def _retrieval_key(self, index: int) -> Any:
        return self._cells[index].seed, component_key(self._cells[index].retriever)

    def _prompts_key(self, index: int) -> Any:
        return self._cells[index].k, component_key(self._cells[index].reasoner)

    def _open(self, index: int) -> bool:
        return index not in self.failed

    def _fail(self, members: Sequence[int], kind: str, error: Exception) -> None:
        choice: ComponentChoice = getattr(self._cells[members[0]], kind)
        for index in members:
            message = f"{kind} {choice} from {choice.component.origin}: {_one_line(error)}"
            self.failed.setdefault(index, message)

    def _parts(self, cell: Cell) -> MethodComponents:
        make = self._components.make
        retriever, reasoner = make(cell.retriever, cell.seed)[0], make(cell.reasoner, cell.seed)[0]
        generator = self._components.generator(cell.generator, cell.seed)
        return MethodComponents(retriever, reasoner, self._components.reading(generator, reasoner))


def _grouped(members: Sequence[int], key: Callable[[int], Any]) -> list[list[int]]:
    groups: dict[Any, list[int]] = {}
    for index in members:
        groups.setdefault(key(index), []).append(index)
    return list(groups.values())


def _reward_values(reward: Reward, samples: Sequence[Sample]) -> list[float]:
    """One number for each sample; nan where the reward gives None or no finite number.

    Raises:
        Exception: the reward raises, or gives something else; its message does not depend on the number of samples.
    """
    given = reward.score(samples)
    if isinstance(given, str | bytes | Mapping):
        raise PrlmBenchError(f"gave a {type(given).__name__}, not a sequence of numbers")
    values = list(given)
    if len(values) != len(samples):
        raise PrlmBenchError(f"gave {'fewer' if len(values) < len(samples) else 'more'} scores than samples")
    if any(isinstance(value, str | bytes) for value in values):
        raise PrlmBenchError("gave text, not numbers")
    numbers = [math.nan if value is None else float(value) for value in values]
    return [value if math.isfinite(value) else math.nan for value in numbers]


def _one_line(error: Exception) -> str:
    reason = str(error) if isinstance(error, PrlmBenchError) else f"{type(error).__name__}: {error}"
    return well_formed(" ".join(reason.split()))


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
