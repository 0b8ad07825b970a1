"""Keeps what a reasoner asks of a generator while it makes prompts, so that it is in the record with its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from ..errors import PrlmBenchError
from ..interfaces import ContinuesCompletions, Generator, Reasoner, Samples, ScoresContinuations, Tokenizer
from ..prompting import max_prompt_tokens
from ..records import Completion, Draft, Example, Prompt, Ranking
from ._calls import completions, drawn, make_prompts


class DraftingGenerator:
    """A generator as a reasoner gets it: everything that it writes is kept as a draft.

    Args:
        generator: the generator.
        asked: whether the reasoner is registered as one that asks it. Where it is not, its prompts are shared with
            other generators, and asking is an error.
    """

    #: Only there if the generator has them, so that `isinstance` says of this one what it says of that one.
    sample: Callable[[Sequence[Prompt], int], Iterator[tuple[int, Sequence[Completion]]]]
    continued: Callable[[Sequence[Prompt], Sequence[str]], Iterator[tuple[int, Completion]]]
    loglikelihood: Callable[[Sequence[Prompt], Sequence[Sequence[str]]], list[list[float]]]

    def __init__(self, generator: Generator, asked: bool) -> None:
        self.inner: Generator = generator
        self._asked = asked
        #: Drafts by the number of the call, the place in it, and the number of the sample: they arrive in any order.
        self._kept: dict[tuple[int, int, int], Draft] = {}
        self._calls = count()
        if isinstance(generator, Samples):
            self.sample = partial(self._sample, generator)
        if isinstance(generator, ContinuesCompletions):
            self.continued = partial(self._continued, generator)
        if isinstance(generator, ScoresContinuations):
            self.loglikelihood = partial(self._loglikelihood, generator)

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "sample", "continued", "loglikelihood", "stream"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The generator's."""
        return self.inner.tokenizer

    @property
    def max_prompt_tokens(self) -> int | None:
        """The generator's."""
        return max_prompt_tokens(self.inner)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """What the generator yields.

        Raises:
            PrlmBenchError: the reasoner is not one that asks.
        """
        call = self._begin()

        def produced() -> Iterator[tuple[int, Completion]]:
            for index, completion in completions(self.inner, partial(self.inner.generate, prompts)):
                self._kept[call, index, 0] = Draft(prompts[index], completion)
                yield index, completion

        return produced()

    def take(self) -> list[Draft]:
        """What was written since the last call, in the order of asking."""
        kept, self._kept = self._kept, {}
        return [kept[place] for place in sorted(kept)]

    def _sample(
        self, generator: Samples, prompts: Sequence[Prompt], n: int
    ) -> Iterator[tuple[int, Sequence[Completion]]]:
        call = self._begin()
        for index, samples in drawn(generator, prompts, n):
            for number, sample in enumerate(samples):
                self._kept[call, index, number] = Draft(prompts[index], sample)
            yield index, samples

    def _continued(
        self, generator: ContinuesCompletions, prompts: Sequence[Prompt], beginnings: Sequence[str]
    ) -> Iterator[tuple[int, Completion]]:
        call = self._begin()
        for index, rest in completions(self.inner, partial(generator.continued, prompts, beginnings), "continued"):
            whole = replace(rest, text=beginnings[index] + rest.text)
            self._kept[call, index, 0] = Draft(prompts[index], whole)
            yield index, rest

    def _loglikelihood(
        self, generator: ScoresContinuations, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        self._begin()
        return generator.loglikelihood(prompts, continuations)

    def _begin(self) -> int:
        if not self._asked:
            raise PrlmBenchError(
                "asked the generator while it made prompts, which it did not announce",
                "register it with needs={'generator'}",
            )
        return next(self._calls)


class Drafting:
    """Has reasoners make prompts, and puts what they asked into the prompts.

    One object serves a run, so that a reasoner that remembers what it asked of a generator finds the same one again.
    """

    def __init__(self) -> None:
        self._generators: dict[tuple[int, bool], DraftingGenerator] = {}

    def prompts(
        self,
        reasoner: Reasoner,
        examples: Sequence[Example],
        rankings: Sequence[Ranking],
        generator: Generator,
        *,
        asks: bool,
    ) -> list[Prompt]:
        """One prompt for each example, with its drafts.

        Args:
            reasoner: makes them.
            examples: the questions.
            rankings: the items to show, of each.
            generator: answers the prompts, and what the reasoner asks before.
            asks: whether the reasoner is registered with `needs={"generator"}`.

        Raises:
            WrongResultError: the reasoner, or the generator that it asked, gives something of another type.
            Exception: whatever these raise themselves.
        """
        drafting = self._generators.setdefault((id(generator), asks), DraftingGenerator(generator, asks))
        drafting.take()
        prompts = make_prompts(reasoner, examples, rankings, drafting)
        kept: dict[str, list[Draft]] = {}
        for draft in drafting.take():
            kept.setdefault(draft.prompt.example.id, []).append(draft)
        found = []
        for prompt in prompts:
            own = () if prompt.drafts else tuple(kept.get(prompt.example.id, ()))
            found.append(replace(prompt, drafts=own) if own else prompt)
        return found
