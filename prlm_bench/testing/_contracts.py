"""Contract tests: pytest classes that check any component of a kind.

from prlm_bench.testing import RetrieverContract

class TestMine(RetrieverContract):
    spec = "my-retriever:option=3"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..data import open_split
from ..host import PluginHost
from ..interfaces import Context, Fingerprinted
from ..records import Answer, Completion, Document, Example, Prompt, Ranking
from ..running import Components
from ..running._drafts import Drafting

#: Unusual profile texts: empty, very long, not ASCII, control characters.
ODD_TEXTS = ("", "   ", "a", "word " * 5000, "\u0000\u2028\r\n\t", "日本語 🙂 naïve", "{'title': 'x'}", '"quoted"')


def odd_example(profile_size: int = len(ODD_TEXTS), identifier: str = "odd") -> Example:
    """A question whose profile consists of `ODD_TEXTS`."""
    names = ("title", "text", "abstract", "description", "tag", "score")
    profile = tuple(
        Document(f"{identifier}-{i}", text, dict.fromkeys(names, text), "2020-01-02")
        for i, text in enumerate(ODD_TEXTS[:profile_size])
    )
    text = 'Generate a headline for the following article: a "word" of naïve 日本語'
    return Example(identifier, f"user-{identifier}", text, 'a "word" of naïve 日本語', profile, "gold", frozenset())


def installed(kind: str, dist: str) -> list[str]:
    """The names of the components of a kind that an installed distribution registers."""
    return [component.name for component in PluginHost().registry.all(kind) if component.origin.dist == dist]


class Contract:
    """The base of all contracts. Subclasses set `spec`, and `plugins` for local plugins."""

    kind: ClassVar[str]
    #: The component, as on the command line.
    spec: ClassVar[str | Mapping[str, Any]]
    #: Local plugins to load, as for `--plugin`.
    plugins: ClassVar[Sequence[str]] = ()
    #: The task of the test data; mini-LaMP tasks need no files.
    task: ClassVar[str] = "mini_lamp_4"
    #: Its split.
    split: ClassVar[str] = "dev"

    @pytest.fixture
    def context(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
        """The context of a component, with a small dataset of `task`."""
        monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
        host = PluginHost(self.plugins)
        task = host.tasks.get(self.task)
        dataset = open_split(task, self.split, synth_users=4)
        return Components(host, dataset, tmp_path / "cache").context(0)

    @pytest.fixture
    def component(self, context: Context) -> Any:
        """The component under test."""
        return context.build(self.kind, self.spec)

    @pytest.fixture
    def examples(self, context: Context) -> list[Example]:
        """All examples of the dataset."""
        return [example for batch in context.dataset.batches(64) for example in batch]

    def test_fingerprint_is_a_stable_string(self, component: Any, context: Context, tmp_path: Path) -> None:
        """Two components with the same spec have the same identity."""
        again = Components(PluginHost(self.plugins), context.dataset, tmp_path / "cache").ready(self.kind, self.spec, 0)
        assert again is not component
        if isinstance(component, Fingerprinted):  # optional: what else determines the results besides code and options
            assert isinstance(component.fingerprint(), str)
            assert component.fingerprint() == again.fingerprint()


class RetrieverContract(Contract):
    """A retriever ranks, does not depend on its batch, and handles unusual text."""

    kind = "retriever"

    def test_gives_one_ranking_for_each_example(self, component: Any, examples: list[Example]) -> None:
        """In order, items and scores aligned, best first, no item twice."""
        rankings = component.rank(examples, 3)
        assert len(rankings) == len(examples)
        for ranking in rankings:
            assert isinstance(ranking, Ranking)
            assert len(ranking.items) == len(ranking.scores)
            assert list(ranking.scores) == sorted(ranking.scores, reverse=True)
            assert len({id(item) for item in ranking.items}) == len(ranking.items)

    def test_is_the_same_alone_and_in_a_batch(self, component: Any, examples: list[Example]) -> None:
        """A resumed run has other batches and must give the same results."""
        together = component.rank(examples, None)
        alone = [component.rank([example], None)[0] for example in examples]
        assert [r.items for r in together] == [r.items for r in alone]

    def test_a_small_k_is_the_beginning_of_a_large_one(self, component: Any, examples: list[Example]) -> None:
        """Grids over k compute one ranking and cut it."""
        few, many = component.rank(examples, 2), component.rank(examples, None)
        assert [r.items[:2] for r in few] == [r.items[:2] for r in many]

    def test_stands_odd_texts_and_empty_profiles(self, component: Any) -> None:
        """No profile content is an error."""
        for size in (0, 1, len(ODD_TEXTS)):
            (ranking,) = component.rank([odd_example(size)], None)
            assert all(isinstance(item, Document) for item in ranking.items)

    def test_no_examples_give_no_rankings(self, component: Any) -> None:
        """An empty batch is valid."""
        assert list(component.rank([], 3)) == []


class GeneratorContract(Contract):
    """A generator answers every prompt once."""

    kind = "generator"

    @pytest.fixture
    def prompts(self, examples: list[Example]) -> list[Prompt]:
        """A prompt for each example, its profile as the ranking."""
        scores = [tuple(float(-i) for i in range(len(e.profile))) for e in examples]
        return [
            Prompt(example, Ranking(example.profile, score), example.input)
            for example, score in zip(examples, scores, strict=True)
        ]

    def test_answers_every_prompt_once(self, component: Any, prompts: list[Prompt]) -> None:
        """Each index occurs exactly once, and each completion is text."""
        answers = list(component.generate(prompts))
        assert sorted(index for index, _ in answers) == list(range(len(prompts)))
        assert all(isinstance(completion, Completion) and isinstance(completion.text, str) for _, completion in answers)

    def test_has_a_tokenizer_or_none(self, component: Any) -> None:
        """Reasoners use it for token budgets."""
        tokenizer = component.tokenizer
        assert tokenizer is None or tokenizer.count("two words") > 0

    def test_no_prompts_give_no_answers(self, component: Any) -> None:
        """An empty batch is valid."""
        assert list(component.generate([])) == []


class _Repeats:
    """A generator that repeats the prompt, for reasoners that call one."""

    tokenizer = None

    def generate(self, prompts: Sequence[Prompt]) -> Any:
        return ((i, Completion(prompt.text)) for i, prompt in enumerate(prompts))


class ReasonerContract(Contract):
    """A reasoner builds a prompt for each example and parses any completion."""

    kind = "reasoner"

    def test_makes_one_prompt_for_each_example(self, component: Any, examples: list[Example]) -> None:
        """In order, with consistent counts: shown and dropped items add up."""
        rankings = [Ranking(e.profile[:3], (3.0, 2.0, 1.0)[: len(e.profile)]) for e in examples]
        prompts = component.prompts(examples, rankings, _Repeats())
        assert [prompt.example.id for prompt in prompts] == [example.id for example in examples]
        for prompt in prompts:
            assert prompt.text
            assert prompt.shown + prompt.dropped == len(prompt.ranking.items)
            assert 0 <= prompt.cut <= prompt.shown
            assert len(prompt.shown_items) == prompt.shown

    def test_what_it_asks_is_the_same_alone_and_in_a_batch(
        self, component: Any, context: Context, examples: list[Example], tmp_path: Path
    ) -> None:
        """What it has the generator write for a prompt is in the record, and must not depend on other questions.

        A reasoner that keeps what it asked for one question to use it for others states it in `Prompt.drafts`.
        """
        host = PluginHost(self.plugins)
        choice = host.registry.choose(self.kind, self.spec)
        asks = "generator" in choice.component.needs
        rankings = [Ranking(e.profile[:3], (3.0, 2.0, 1.0)[: len(e.profile)]) for e in examples]
        together = Drafting().prompts(component, examples, rankings, _Repeats(), asks=asks)
        for place in (0, len(examples) - 1):
            fresh = Components(host, context.dataset, tmp_path / "cache").ready(self.kind, choice, 0)
            (alone,) = Drafting().prompts(
                fresh, examples[place : place + 1], rankings[place : place + 1], _Repeats(), asks=asks
            )
            assert alone.text == together[place].text
            asked = [[(each.prompt.text, each.completion.text) for each in p.drafts] for p in (alone, together[place])]
            assert asked[0] == asked[1]

    @pytest.mark.parametrize("text", [*ODD_TEXTS, "{'title':", "</think>", "<think>x</think>{'title': 'it''s'}"])
    def test_parses_anything(self, component: Any, text: str) -> None:
        """Unusual completions are parse failures, never exceptions."""
        example = odd_example()
        answer = component.parse(Prompt(example, Ranking(), example.input), Completion(text))
        assert isinstance(answer, Answer)
        assert isinstance(answer.text, str)
