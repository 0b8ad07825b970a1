"""Generators that ask another one only for what the completion cache does not hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from ..errors import PrlmBenchError
from ..interfaces import (
    ContinuesCompletions,
    Fingerprinted,
    Generator,
    Samples,
    ScoresContinuations,
    Streams,
    Tokenizer,
)
from ..prompting import max_prompt_tokens
from ..records import Completion, Prompt
from ._checked_records import checked
from ._generation_cache import GenerationCache, prompt_key

#: Prompts that a stream may hold while it waits for its generator, besides those that it has asked.
LOOKAHEAD = 1024


class CachedGenerator:
    """A generator that calls another one only on cache misses.

    Args:
        generator: called on a cache miss.
        cache: its cached completions.
    """

    #: These are only there if the generator has them, so that `isinstance` says of this one what it says of that one.
    fingerprint: Callable[[], str]
    loglikelihood: Callable[[Sequence[Prompt], Sequence[Sequence[str]]], list[list[float]]]
    sample: Callable[[Sequence[Prompt], int], Iterator[tuple[int, Sequence[Completion]]]]
    #: Not cached.
    continued: Callable[[Sequence[Prompt], Sequence[str]], Iterator[tuple[int, Completion]]]

    def __init__(self, generator: Generator, cache: GenerationCache) -> None:
        if isinstance(generator, CachedGenerator):  # one cache is enough
            generator = generator.inner
        self.inner: Generator = generator
        self._cache = cache
        if isinstance(generator, Fingerprinted):
            self.fingerprint = generator.fingerprint
        if isinstance(generator, ScoresContinuations):
            self.loglikelihood = partial(self._loglikelihood, generator)
        if isinstance(generator, Samples):
            self.sample = partial(self._sample, generator)
        if isinstance(generator, ContinuesCompletions):
            self.continued = generator.continued
        #: Whether the completion that was yielded last came from the cache, or was that of an equal prompt.
        self.reused = False

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the generator."""
        return self.inner.tokenizer

    @property
    def max_prompt_tokens(self) -> int | None:
        """The prompt limit of the generator, in tokens."""
        return max_prompt_tokens(self.inner)

    def close(self) -> None:
        """Close the file of the cache."""
        self._cache.close()

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield cached completions first, then new ones; equal prompts are generated once."""
        places: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            places.setdefault(prompt_key(prompt), []).append(index)
        missing = []
        for indices in places.values():
            known = self._cache.get(prompts[indices[0]])
            if known is None:
                missing.append(indices)
            else:
                yield from self._reusing((index, known) for index in indices)
        requested = [prompts[indices[0]] for indices in missing]
        for number, given in self.inner.generate(requested) if requested else ():
            yield from self._answered(requested[number], given, missing[number])

    def _answered(self, prompt: Prompt, given: Completion, numbers: Sequence[int]) -> Iterator[tuple[int, Completion]]:
        """Store a new completion, and yield it for each number that has its prompt."""
        completion = checked(given)
        self._cache.put(prompt, completion)
        self.reused = False
        yield numbers[0], completion
        yield from self._reusing((number, completion) for number in numbers[1:])

    def _reusing(self, pairs: Iterable[tuple[int, Completion]]) -> Iterator[tuple[int, Completion]]:
        for pair in pairs:
            self.reused = True
            yield pair

    def _sample(
        self, generator: Samples, prompts: Sequence[Prompt], n: int
    ) -> Iterator[tuple[int, Sequence[Completion]]]:
        """Yield prompts with n cached samples first, then new ones; see `Samples`."""
        missing = []
        for index, prompt in enumerate(prompts):
            known = [self._cache.get(prompt, number) for number in range(n)]
            samples = [completion for completion in known if completion is not None]
            if len(samples) == n:
                yield index, samples
            else:
                missing.append(index)
        requested = [prompts[index] for index in missing]
        for place, given in generator.sample(requested, n) if requested else ():
            samples = [checked(completion) for completion in given]
            for number, completion in enumerate(samples):
                self._cache.put(requested[place], completion, number)
            yield missing[place], samples

    def _loglikelihood(
        self, generator: ScoresContinuations, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Cached log-probabilities, and those of prompts of which one is missing; see `ScoresContinuations`."""
        found: list[list[float]] = []
        missing = []
        for index, (prompt, wanted) in enumerate(zip(prompts, continuations, strict=True)):
            known = [self._cache.get_likelihood(prompt, continuation) for continuation in wanted]
            found.append([value for value in known if value is not None])
            if len(found[index]) < len(wanted):
                missing.append(index)
        if missing:
            misses = [prompts[index] for index in missing], [continuations[index] for index in missing]
            for index, values in zip(missing, generator.loglikelihood(*misses), strict=True):
                for continuation, value in zip(continuations[index], values, strict=True):
                    self._cache.put_likelihood(prompts[index], continuation, value)
                found[index] = list(values)
        return found


class CachedStream(CachedGenerator):
    """A `CachedGenerator` whose generator streams."""

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[tuple[int, Completion]]:
        """Yield completions as they are found in the cache or generated; equal prompts are generated once.

        Where the generator draws so many prompts that are in the cache that `LOOKAHEAD` answers wait for it to answer,
        its stream ends, and a new one begins with the next prompt that is not in the cache.

        Raises:
            PrlmBenchError: the generator did not answer every prompt once.
        """
        numbered = enumerate(prompts)
        while True:
            segment = _Segment(numbered, self._cache)
            for number, prompt in numbered:
                known = self._cache.get(prompt)
                if known is None:
                    segment.first = (number, prompt)
                    break
                yield from self._reusing([(number, known)])
            if segment.first is None:
                return
            yield from self._generated(segment)

    def _generated(self, segment: _Segment) -> Iterator[tuple[int, Completion]]:
        if not isinstance(self.inner, Streams):
            raise PrlmBenchError("cannot stream")
        for place, given in self.inner.stream(segment.missing()):
            prompt, numbers = segment.answered(place)
            yield from self._answered(prompt, given, numbers)
            yield from self._reusing(segment.take())
        yield from self._reusing(segment.take())
        segment.check()


class _Segment:
    """One stream of the generator behind a cache: the misses of a sequence of prompts, and the hits between them."""

    def __init__(self, numbered: Iterator[tuple[int, Prompt]], cache: GenerationCache) -> None:
        self._numbered, self._cache = numbered, cache
        #: The prompt that the stream begins with.
        self.first: tuple[int, Prompt] | None = None
        #: What the generator was asked and did not answer, by its own numbers, and how many prompts it was asked.
        self._requested: dict[int, Prompt] = {}
        self._drawn = 0
        #: The numbers that have the same prompt, by its key.
        self._numbers: dict[str, list[int]] = {}
        self._hits: deque[tuple[int, Completion]] = deque()
        #: Prompts that wait besides those in `_requested`.
        self._held = 0

    def missing(self) -> Iterator[Prompt]:
        """The prompts to ask; the end where too many others wait for an answer to one of them."""
        for number, prompt in chain([self.first] if self.first else [], self._numbered):
            key = prompt_key(prompt)
            if key in self._numbers:
                self._numbers[key].append(number)
                self._held += 1
            elif (known := self._cache.get(prompt)) is not None:
                self._hits.append((number, known))
                self._held += 1
            else:
                self._numbers[key] = [number]
                self._requested[self._drawn] = prompt
                self._drawn += 1
                yield prompt
            if self._held >= LOOKAHEAD:
                return

    def answered(self, place: int) -> tuple[Prompt, list[int]]:
        """The prompt that the generator answers now, and all numbers that have it.

        Raises:
            PrlmBenchError: it was not asked, or was answered before.
        """
        prompt = self._requested.pop(place, None)
        if prompt is None:
            raise PrlmBenchError(f"answered prompt {place} twice, or it does not exist")
        numbers = self._numbers.pop(prompt_key(prompt))
        self._held -= len(numbers) - 1
        return prompt, numbers

    def take(self) -> Iterator[tuple[int, Completion]]:
        """The hits since the last call."""
        while self._hits:
            self._held -= 1
            yield self._hits.popleft()

    def check(self) -> None:
        """Check that every prompt was answered.

        Raises:
            PrlmBenchError: some were not.
        """
        if self._requested:
            raise PrlmBenchError(f"left {len(self._requested)} of {self._drawn} prompts without an answer")
