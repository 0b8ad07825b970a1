"""The contracts catch what is broken: each check is run on a sound component and on one with a single fault."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prlm_bench import Answer, Completion, Example, Prompt, Ranking, Sample
from prlm_bench.data import open_split
from prlm_bench.tasks import TaskRegistry
from prlm_bench.testing import GeneratorContract, ReasonerContract, RetrieverContract, RewardContract


class Broken:
    """What the broken components below have in common: nothing wrong."""

    tokenizer: Any = None

    def fingerprint(self) -> str:
        return ""


class Whole(Broken):
    """A sound retriever: the profile as it stands."""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return [self.one(example, len(example.profile) if k is None else k) for example in examples]

    def one(self, example: Example, k: int) -> Ranking:
        items = example.profile[:k]
        return Ranking(items, tuple(-float(place) for place in range(len(items))))


class ForgetsOne(Whole):
    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return super().rank(examples[1:], k)


class WorstFirst(Whole):
    def one(self, example: Example, k: int) -> Ranking:
        return Ranking(example.profile[:k], tuple(map(float, range(len(example.profile[:k])))))


class Repeats(Whole):
    def one(self, example: Example, k: int) -> Ranking:
        return Ranking(example.profile[:1] * k, (0.0,) * (k if example.profile else 0))


class WithoutScores(Whole):
    def one(self, example: Example, k: int) -> Ranking:
        return Ranking(example.profile[:k], ())


class SeesItsBatch(Whole):
    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return [self.one(replace(e, profile=e.profile[:: 1 if len(examples) > 1 else -1]), k or 99) for e in examples]


class OtherForEachK(Whole):
    def one(self, example: Example, k: int) -> Ranking:
        return super().one(replace(example, profile=example.profile[k % 2 :]), k)


class FailsOnEmptyProfiles(Whole):
    def one(self, example: Example, k: int) -> Ranking:
        assert max(len(item.text) for item in example.profile) >= 0
        return super().one(example, k)


class GivesTexts(Whole):
    def one(self, example: Example, k: int) -> Any:
        return SimpleNamespace(items=tuple(item.text for item in example.profile), scores=())


class FailsOnNothing(Whole):
    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return [self.one(examples[0], k or 99), *super().rank(examples[1:], k)]


class Echoes(Broken):
    """A sound generator."""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        return ((index, Completion(prompt.text)) for index, prompt in enumerate(prompts))


class SkipsOne(Echoes):
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        return super().generate(prompts[1:])


class AnswersTwice(Echoes):
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        yield from super().generate(prompts)
        yield 0, Completion("again")


class AnswersBytes(Echoes):
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Any]]:
        return ((index, Completion(prompt.text.encode())) for index, prompt in enumerate(prompts))  # type: ignore[arg-type]


class AlwaysAnswers(Echoes):
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        yield from super().generate(prompts)
        if not prompts:
            yield 0, Completion("unasked")


class CountsNothing(Echoes):
    tokenizer = SimpleNamespace(count=lambda text: 0)


class Shows(Broken):
    """A sound reasoner."""

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        return [Prompt(e, r, e.input, shown=len(r.items)) for e, r in zip(examples, rankings, strict=True)]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        return Answer(completion.text, "whole")


class Reverses(Shows):
    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        return super().prompts(examples, rankings, generator)[::-1]


class LosesItems(Shows):
    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        return [replace(prompt, shown=0) for prompt in super().prompts(examples, rankings, generator)]


class SaysNothing(Shows):
    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        return [replace(prompt, text="") for prompt in super().prompts(examples, rankings, generator)]


class AnswersNone(Shows):
    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        return Answer(None, None)  # type: ignore[arg-type]


class Even(Broken):
    """A sound reward."""

    def score(self, samples: Sequence[Sample]) -> list[float]:
        return [1.0] * len(samples)


class NotANumber(Even):
    def score(self, samples: Sequence[Sample]) -> list[float]:
        return [float("nan")] * len(samples)


class Infinite(Even):
    def score(self, samples: Sequence[Sample]) -> list[float]:
        return [float("-inf")] * len(samples)


class OneForAll(Even):
    def score(self, samples: Sequence[Sample]) -> list[float]:
        return [1.0]


class NormsItsBatch(Even):
    def score(self, samples: Sequence[Sample]) -> list[float]:
        return [1.0 / len(samples)] * len(samples)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    dataset = open_split(TaskRegistry().get("mini_lamp_4"), "dev", synth_users=4)
    return [example for batch in dataset.batches(64) for example in batch]


@pytest.fixture(scope="module")
def prompts(examples: list[Example]) -> list[Prompt]:
    return [Prompt(example, Ranking(), example.input) for example in examples]


ORDER = "test_gives_one_ranking_for_each_example"
BATCH = "test_is_the_same_alone_and_in_a_batch"
CUT = "test_a_small_k_is_the_beginning_of_a_large_one"
ODD = "test_stands_odd_texts_and_empty_profiles"
SHAPES = "test_makes_one_prompt_for_each_example"
REWARD = "test_gives_each_sample_a_finite_number"


@pytest.mark.parametrize(
    ("broken", "method"),
    [
        (ForgetsOne, ORDER),
        (WorstFirst, ORDER),
        (Repeats, ORDER),
        (WithoutScores, ORDER),
        (GivesTexts, ORDER),
        (SeesItsBatch, BATCH),
        (OtherForEachK, CUT),
        (GivesTexts, ODD),
        (FailsOnEmptyProfiles, ODD),
        (FailsOnNothing, "test_no_examples_give_no_rankings"),
        (Reverses, SHAPES),
        (LosesItems, SHAPES),
        (SaysNothing, SHAPES),
        (NotANumber, REWARD),
        (Infinite, REWARD),
        (OneForAll, REWARD),
        (NormsItsBatch, REWARD),
    ],
)
def test_what_is_broken_is_caught(broken: type[Broken], method: str, examples: list[Example]) -> None:
    sound = {Whole: RetrieverContract(), Shows: ReasonerContract(), Even: RewardContract()}
    base = next(base for base in sound if issubclass(broken, base))
    check = getattr(sound[base], method)
    arguments = {"examples": examples} if "examples" in check.__code__.co_varnames else {}
    check(base(), **arguments)
    with pytest.raises((AssertionError, ValueError, IndexError)):
        check(broken(), **arguments)


@pytest.mark.parametrize("broken", [SkipsOne, AnswersTwice, AnswersBytes])
def test_a_generator_that_does_not_answer_each_once_is_caught(broken: type[Broken], prompts: list[Prompt]) -> None:
    check = GeneratorContract().test_answers_every_prompt_once
    check(Echoes(), prompts)
    with pytest.raises(AssertionError):
        check(broken(), prompts)


def test_other_broken_generators_and_reasoners_are_caught() -> None:
    contract = GeneratorContract()
    contract.test_no_prompts_give_no_answers(Echoes())
    contract.test_has_a_tokenizer_or_none(Echoes())
    with pytest.raises(AssertionError):
        contract.test_no_prompts_give_no_answers(AlwaysAnswers())
    with pytest.raises(AssertionError):
        contract.test_has_a_tokenizer_or_none(CountsNothing())
    ReasonerContract().test_parses_anything(Shows(), "x")
    with pytest.raises(AssertionError):
        ReasonerContract().test_parses_anything(AnswersNone(), "x")


COUNTER = """
from itertools import count
from prlm_bench import Ranking, hookimpl

NUMBERS = count()

class Restless:
    def fingerprint(self):
        return str(next(NUMBERS))
    def rank(self, examples, k=None):
        return [Ranking() for _ in examples]

@hookimpl
def prlm_bench_register_retrievers(register):
    register("restless", Restless)
"""


MINE = """
from prlm_bench.testing import RetrieverContract

class TestRestless(RetrieverContract):
    spec = "restless"
    plugins = ["restless.py"]
"""


@pytest.mark.slow
def test_the_kit_fails_for_a_plugin_author(tmp_path: Path) -> None:
    """From the outside: a local plugin whose identity changes, and the one failing test that says so."""
    (tmp_path / "restless.py").write_text(COUNTER)
    (tmp_path / "test_restless.py").write_text(MINE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stdout
    assert "1 failed, 5 passed" in ended.stdout
    assert "TestRestless::test_fingerprint_is_a_stable_string" in ended.stdout
