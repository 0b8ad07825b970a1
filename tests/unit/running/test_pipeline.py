"""Stages that cells share run once, a component that fails takes only its own cells with it, rewards get a batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prlm_bench import Answer, Completion, Document, Example, Prompt, Ranking, Sample
from prlm_bench.data import Dataset, open_split
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.running import Components, RunConfig
from prlm_bench.running._pipeline import Pipeline, Result
from prlm_bench.running._plan import plan_cells

MINE = Origin("mine", "my-dist", "1.2", "mine.py")


class Stub:
    """A component of any kind that behaves well and remembers its calls."""

    tokenizer: Any = None

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def fingerprint(self) -> str:
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        self.calls.append((len(examples), k))
        return [Ranking(e.profile[:k], tuple(-float(i) for i in range(len(e.profile[:k])))) for e in examples]

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        self.calls.append((len(examples), generator))
        return [Prompt(e, r, f"{e.id}: {len(r.items)} items") for e, r in zip(examples, rankings, strict=True)]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        return Answer(completion.text.upper(), "shout", "because")

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        self.calls.append(len(prompts))
        yield from ((j, Completion(f"answer {prompts[j].text}")) for j in reversed(range(len(prompts))))

    def score(self, samples: Sequence[Sample]) -> list[float]:
        self.calls.append(len(samples))
        return [float(len(sample.answer.text)) for sample in samples]


@pytest.fixture
def dataset(host: PluginHost) -> Dataset:
    return open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)


@pytest.fixture
def examples(dataset: Dataset) -> list[Example]:
    return next(dataset.batches(100))


class PipelineMaker:
    """Registers components and runs the pipeline of a study."""

    def __init__(self, host: PluginHost, dataset: Dataset, tmp_path: Path) -> None:
        self._host, self._dataset, self._cache = host, dataset, tmp_path

    def add(self, kind: str, name: str, made: Any, **traits: Any) -> Any:
        self._host.registry.add(make_component(kind, MINE, name, lambda: made, **traits))
        return made

    def pipeline(self, **fields: Any) -> Pipeline:
        study = RunConfig(tasks=["mini_lamp_4"], controls=False, **fields)
        rewards = [self._host.registry.choose("reward", spec) for spec in study.rewards]
        cells = plan_cells(study, self._host, self._dataset).cells
        return Pipeline(cells, rewards, Components(self._host, self._dataset, self._cache))


@pytest.fixture
def bench(host: PluginHost, dataset: Dataset, tmp_path: Path) -> PipelineMaker:
    made = PipelineMaker(host, dataset, tmp_path)
    for kind in ("retriever", "reasoner", "generator", "reward"):
        made.add(kind, "stub", Stub())
    return made


def run(
    pipeline: Pipeline, examples: Sequence[Example], done: Callable[[int, str], bool] = lambda cell, identifier: False
) -> list[Result]:
    return list(pipeline.run([examples], done))


def counts(results: Sequence[Result], cells: int) -> list[int]:
    return [sum(result.cell == cell for result in results) for cell in range(cells)]


def test_a_ranking_is_made_once_for_the_largest_k(bench: PipelineMaker, examples: list[Example]) -> None:
    retriever = bench.add("retriever", "mine", Stub())
    pipeline = bench.pipeline(retrievers=["mine"], k=[1, 8, 4], generators=["stub", "copy"], reasoners=["stub"])
    results = run(pipeline, examples)
    assert retriever.calls == [(12, 8)]
    assert counts(results, 6) == [12] * 6
    ks = [1, 1, 8, 8, 4, 4]
    for result in results:
        sample = result.sample
        assert sample.prompt.ranking.items == sample.prompt.example.profile[: ks[result.cell]]
        assert len(sample.prompt.ranking.scores) == ks[result.cell]


def test_it_looks_deeper_only_where_relevant_items_are_known(bench: PipelineMaker, examples: list[Example]) -> None:
    retriever = bench.add("retriever", "mine", Stub())
    pipeline = bench.pipeline(retrievers=["mine"], k=[1], generators=["stub"])
    run(pipeline, examples)
    results = run(pipeline, [replace(example, relevant=None) for example in examples])
    assert retriever.calls == [(12, 5), (12, 1)]
    assert {len(result.sample.prompt.ranking.items) for result in results} == {1}
    assert all(result.retrieval == {} for result in results)


def test_each_seed_ranks_for_itself(bench: PipelineMaker, examples: list[Example]) -> None:
    results = run(bench.pipeline(retrievers=["random"], k=[3], generators=["stub"], seeds=[0, 1]), examples)
    first, second = (
        [[item.id for item in r.sample.prompt.ranking.items] for r in results if r.cell == cell] for cell in (0, 1)
    )
    assert first != second


def test_prompts_are_shared_by_generators_with_one_tokenizer(bench: PipelineMaker, examples: list[Example]) -> None:
    reasoner = bench.add("reasoner", "mine", Stub())
    one, two, own = (bench.add("generator", name, Stub()) for name in ("one", "two", "own"))
    own.tokenizer = object()
    pipeline = bench.pipeline(retrievers=["bm25"], k=[2], reasoners=["mine"], generators=["one", "own", "two"])
    assert counts(run(pipeline, examples), 3) == [12, 12, 12]
    assert [(n, generator.inner) for n, generator in reasoner.calls] == [(12, one), (12, own)]
    assert (one.calls, two.calls, own.calls) == ([12], [12], [12])


def test_a_tokenizer_made_anew_at_every_look_is_not_taken_for_another(
    bench: PipelineMaker, examples: list[Example]
) -> None:
    # Of an uncommon size, so that the next one is likely to lie where the last one lay.
    tokenizer = type("Wide", (), {"__slots__": tuple(f"slot_{number}" for number in range(53))})

    class Fickle(Stub):
        @property
        def tokenizer(self) -> Any:  # type: ignore[override]
            return tokenizer()

    reasoner = bench.add("reasoner", "mine", Stub())
    one, two = (bench.add("generator", name, Fickle()) for name in ("one", "two"))
    run(bench.pipeline(retrievers=["bm25"], reasoners=["mine"], generators=["one", "two"]), examples)
    assert [(n, generator.inner) for n, generator in reasoner.calls] == [(12, one), (12, two)]


def test_a_reasoner_that_calls_the_generator_works_for_each(bench: PipelineMaker, examples: list[Example]) -> None:
    reasoner = bench.add("reasoner", "mine", Stub(), needs={"generator"})
    one, two = (bench.add("generator", name, Stub()) for name in ("one", "two"))
    run(bench.pipeline(retrievers=["bm25"], reasoners=["mine"], generators=["one", "two"]), examples)
    assert [(n, generator.inner) for n, generator in reasoner.calls] == [(12, one), (12, two)]


def test_only_what_is_not_done_is_asked(bench: PipelineMaker, examples: list[Example]) -> None:
    retriever, generator = bench.add("retriever", "mine", Stub()), bench.add("generator", "mine", Stub())
    pipeline = bench.pipeline(retrievers=["mine"], k=[5], generators=["mine", "stub"])
    ids = [example.id for example in examples]
    done = {0: set(ids[:7]), 1: set(ids[:9])}
    results = run(pipeline, examples, lambda cell, identifier: identifier in done[cell])
    assert retriever.calls == [(5, 5)]
    assert generator.calls == [5]
    for cell, first in ((0, 7), (1, 9)):
        assert {r.sample.prompt.example.id for r in results if r.cell == cell} == set(ids[first:])
    whole = run(bench.pipeline(retrievers=["stub"], k=[5], generators=["stub"]), examples)
    judged = {r.sample.prompt.example.id: r.retrieval for r in whole}
    assert len({str(retrieval) for retrieval in judged.values()}) > 3
    assert all(result.retrieval == judged[result.sample.prompt.example.id] for result in results)
    assert run(pipeline, examples, lambda cell, identifier: True) == []
    assert retriever.calls == [(5, 5)]


def test_samples_come_as_they_are_finished(bench: PipelineMaker, examples: list[Example]) -> None:
    class Slow(Stub):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
            for j in range(len(prompts)):
                self.calls.append(j)
                yield j, Completion("x")

    generator = bench.add("generator", "mine", Slow())
    pipeline = bench.pipeline(retrievers=["bm25"], generators=["mine"])
    stream = pipeline.run([examples], lambda cell, identifier: False)
    for number in range(4):
        assert next(stream).sample.prompt.example.id == examples[number].id
        assert generator.calls == list(range(number + 1))


def test_an_answer_needs_no_parsing(bench: PipelineMaker, examples: list[Example]) -> None:
    texts = ["  as it is\n", "", " \t"]

    class Given(Stub):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
            yield from ((j, Completion(text, is_answer=True)) for j, text in enumerate(texts))

    bench.add("generator", "mine", Given())
    pipeline = bench.pipeline(retrievers=["bm25"], reasoners=["stub"], generators=["mine", "stub"])
    results = run(pipeline, examples[:3])
    assert [r.sample.answer for r in results[:3]] == [Answer(texts[0], "given"), *(Answer(t, None) for t in texts[1:])]
    assert results[3].sample.answer == Answer(f"ANSWER {examples[2].id}: 4 ITEMS".upper(), "shout", "because")


def test_retrieval_is_judged_where_the_truth_is_known(bench: PipelineMaker, examples: list[Example]) -> None:
    profile = tuple(Document(f"d{i}", "", {"title": "", "text": ""}) for i in range(8))
    known = [
        replace(examples[0], id="all", profile=profile, relevant=frozenset({"d0", "d1"})),
        replace(examples[0], id="third", profile=profile, relevant=frozenset({"d2", "d7"})),
        replace(examples[0], id="unknown", profile=profile, relevant=None),
        replace(examples[0], id="nothing", profile=profile, relevant=frozenset()),
    ]
    pipeline = bench.pipeline(retrievers=["stub", "none"], k=[1], generators=["stub"])
    results = run(pipeline, known)
    assert pipeline.failed == {}
    found = {(r.cell, r.sample.prompt.example.id): r.retrieval for r in results}
    assert found[0, "all"] == pytest.approx({"nDCG@5": 1.0, "R@5": 1.0})
    ideal = 1 + 1 / np.log2(3)
    assert found[0, "third"] == pytest.approx({"nDCG@5": (1 / np.log2(4)) / ideal, "R@5": 0.5})
    assert found[0, "unknown"] == {}
    assert all(np.isnan(value) for value in found[0, "nothing"].values())
    assert [found[1, example.id] for example in known] == [{}] * 4


def test_each_reward_judges_all_samples_of_a_batch_together(bench: PipelineMaker, examples: list[Example]) -> None:
    reward = bench.add("reward", "mine", Stub())
    pipeline = bench.pipeline(retrievers=["bm25"], k=[1, 2], generators=["stub"], rewards=["mine", "format"])
    results = run(pipeline, examples)
    assert all(result.rewards == {} for result in results)
    scored = pipeline.score(results)
    assert reward.calls == [24]
    assert [r.sample for r in scored] == [r.sample for r in results]
    assert [r.rewards for r in scored] == [{"mine": float(len(r.sample.answer.text)), "format": 1.0} for r in results]


def test_a_reward_must_score_every_sample(bench: PipelineMaker, examples: list[Example]) -> None:
    class Short(Stub):
        def score(self, samples: Sequence[Sample]) -> list[float]:
            return [1.0]

    bench.add("reward", "mine", Short())
    pipeline = bench.pipeline(retrievers=["bm25"], generators=["stub"], rewards=["mine"])
    scored = pipeline.score(run(pipeline, examples))
    (why,) = {result.reward_failures["mine"] for result in scored}
    assert re.fullmatch(r"gave fewer scores than samples at test_pipeline.py:\d+", why)


def broken(method: str, returns: Any) -> Stub:
    """A component whose `method` returns (or, an exception, raises) `returns`."""

    def call(self: Stub, *arguments: Any) -> Any:
        self.calls.append(arguments)
        if isinstance(returns, BaseException):
            raise returns
        return returns(*arguments) if callable(returns) else returns

    return type("Broken", (Stub,), {method: call})()  # type: ignore[no-any-return]


def twice(prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
    yield 0, Completion("x")
    yield 0, Completion("y")


def breaks_down(prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
    yield 0, Completion("x")
    yield 1, Completion("y")
    raise RuntimeError("out of\nmemory")


ITEM = Document("d", "", {})
BROKEN = [
    ("retriever", "rank", RuntimeError("no index"), "RuntimeError: no index", 0),
    ("retriever", "rank", PrlmBenchError("no index", "make one"), "no index (make one)", 0),
    ("retriever", "rank", [Ranking()] * 11, "gave 11 rankings for 12 examples", 0),
    ("retriever", "rank", [Ranking((), (1.0,))] * 12, "gave 0 items and 1 scores", 0),
    ("retriever", "rank", [Ranking((ITEM,), ("high",))] * 12, "gave a score that is no number", 0),
    ("retriever", "rank", None, "gave None, not a sequence of rankings", 0),
    ("retriever", "rank", ["a"] * 12, "gave a str in place of a Ranking", 0),
    ("retriever", "rank", [Ranking(("a",), (1.0,))] * 12, "gave a ranking of a str in place of a Document", 0),
    ("retriever", "rank", SystemExit(3), "RuntimeError: it called sys.exit(3)", 0),
    ("reasoner", "prompts", ["a"] * 12, "gave a str in place of a Prompt", 0),
    ("reasoner", "prompts", "a" * 12, "gave a str, not a sequence of prompts", 0),
    ("reasoner", "prompts", lambda e, r, g: [Prompt(e[0], r[0], "x")] * 12, "gave a prompt of another question", 0),
    ("reasoner", "prompts", lambda e, r, g: [Prompt(e[0], None, "x")] * 12, "gave a prompt whose ranking is None", 0),
    ("reasoner", "parse", "the answer", "gave a str in place of an Answer", 0),
    ("reasoner", "parse", None, "gave None in place of an Answer", 0),
    ("generator", "generate", ["text"], "gave a str in place of a pair (number, Completion)", 0),
    ("generator", "generate", [(0, "text")], "gave a str in place of a Completion", 0),
    ("generator", "generate", [("0", Completion("x"))], "gave a str in place of a prompt's number", 0),
    ("generator", "generate", None, "gave None in place of pairs (number, Completion)", 0),
    ("generator", "generate", SystemExit(), "RuntimeError: it called sys.exit(None)", 0),
    ("reasoner", "prompts", KeyError("title"), "KeyError: 'title'", 0),
    ("reasoner", "prompts", [], "gave 0 prompts for 12 examples", 0),
    ("reasoner", "parse", ValueError("odd text"), "ValueError: odd text", 0),
    ("generator", "generate", ConnectionError("refused"), "ConnectionError: refused", 0),
    ("generator", "generate", breaks_down, "RuntimeError: out of memory", 2),
    ("generator", "generate", twice, "answered prompt 0 twice, or it does not exist", 1),
    ("generator", "generate", [(0, Completion("x"))], "left 11 of 12 prompts without an answer", 1),
    ("generator", "generate", [(12, Completion("x"))], "answered prompt 12 twice, or it does not exist", 0),
    ("generator", "generate", [(0, Completion("\ud800"))], "gave a completion whose text has half a surrogate pair", 0),
    ("generator", "generate", [(0, Completion(None))], "gave a completion whose text is not text: None", 0),
]


@pytest.mark.parametrize(("kind", "method", "returns", "said", "kept"), BROKEN)
def test_a_component_that_fails_takes_only_its_own_cells(
    bench: PipelineMaker, examples: list[Example], kind: str, method: str, returns: Any, said: str, kept: int
) -> None:
    bad = bench.add(kind, "bad", broken(method, returns))
    grid = {"retriever": ["stub"], "reasoner": ["stub"], "generator": ["stub"]}
    grid[kind] = ["bad", "stub"]
    pipeline = bench.pipeline(**{f"{part}s": names for part, names in grid.items()}, k=[3, 4])
    bad_cells = [i for i, cell in enumerate(pipeline._cells) if str(getattr(cell, kind)) == "bad"]
    assert len(bad_cells) == 2
    results = run(pipeline, examples)
    assert counts(results, 4) == [kept if cell in bad_cells else 12 for cell in range(4)]
    assert sorted(pipeline.failed) == bad_cells
    for reason in pipeline.failed.values():
        assert reason.startswith(f"{kind} bad from mine (my-dist 1.2): {said}")
        assert "\n" not in reason
        if not isinstance(returns, PrlmBenchError):
            assert re.search(r" at tests/unit/running/test_pipeline.py:\d+$", reason)
        assert "Traceback" in pipeline.faults[reason].details or "PrlmBenchError" in pipeline.faults[reason].details
    calls = len(bad.calls)
    assert counts(run(pipeline, examples), 4) == [0 if cell in bad_cells else 12 for cell in range(4)]
    assert len(bad.calls) == calls, "a component that failed is not asked again"


def test_scores_become_plain_numbers(bench: PipelineMaker, examples: list[Example]) -> None:
    def rank(examples: Sequence[Example], k: int | None) -> list[Ranking]:
        return [Ranking(e.profile[:2], tuple(np.array([2.5, 1.5], dtype=np.float32))) for e in examples]

    bench.add("retriever", "mine", broken("rank", rank))
    results = run(bench.pipeline(retrievers=["mine"], generators=["stub"]), examples)
    assert {type(score) for score in results[0].sample.prompt.ranking.scores} == {float}
    assert results[0].sample.prompt.ranking.scores == (2.5, 1.5)
