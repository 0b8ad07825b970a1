"""Generators that stream get one stream of prompts through batches and cells; what fails takes only its own cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import Completion, Example, Prompt, Ranking
from prlm_bench.data import Dataset, open_split
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.interfaces import Activity, Streams
from prlm_bench.results import find_results, finished_ids
from prlm_bench.running import (
    CachedStream,
    Components,
    GenerationCache,
    RunConfig,
    _cached_generator as cached_generator,
    _execute,
    _pipeline as pipeline_module,
    execute,
    prepare_tasks,
)
from prlm_bench.running._pipeline import Pipeline
from prlm_bench.running._plan import plan_cells
from prlm_bench.running._scoring import Result

MINE = Origin("mine", "my-dist", "1", "mine.py")
Pair = tuple[int, Completion]


class Engine:
    """A streaming generator with a number of slots, which answers the newest prompt first.

    It remembers what it was asked, how many streams there were, and the most prompts that were unanswered at a time.
    """

    tokenizer = None

    def __init__(self, slots: int = 4) -> None:
        self.slots = slots
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.streams = self.most = 0
        self.fails_on: Callable[[Prompt], bool] = lambda prompt: False

    def fingerprint(self) -> str:
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Pair]:
        yield from self.stream(iter(prompts))

    def stream(self, prompts: Iterator[Prompt]) -> Iterator[Pair]:
        self.streams += 1
        running: list[tuple[int, Prompt]] = []
        numbered = enumerate(prompts)
        while True:
            while len(running) < self.slots and (drawn := next(numbered, None)) is not None:
                self.asked.append(drawn[1].text)
                running.append(drawn)
            self.most = max(self.most, len(running))
            if not running:
                return
            number, prompt = running.pop()
            if self.fails_on(prompt):
                raise RuntimeError("out of memory")
            self.answered.append(prompt.text)
            yield number, Completion(f"answer to {prompt.text}", tokens=3)


class Shows:
    """A reasoner whose prompts name the question and the number of items; fails at `fails_on`."""

    def __init__(self) -> None:
        self.batches = 0
        self.fails_on = 0

    def fingerprint(self) -> str:
        return ""

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
        self.batches += 1
        if self.batches == self.fails_on:
            raise ValueError("no prompt")
        return [Prompt(e, r, f"{e.id} with {len(r.items)}") for e, r in zip(examples, rankings, strict=True)]

    def parse(self, prompt: Prompt, completion: Completion) -> Any:
        from prlm_bench import Answer

        return Answer(completion.text, "all")


class Bench:
    """Makes pipelines of registered components over batches of three questions."""

    def __init__(self, host: PluginHost, tmp_path: Path) -> None:
        self.host, self.root = host, tmp_path
        self.dataset: Dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
        self.examples = next(self.dataset.batches(100))
        self.reasoner = self.add("reasoner", "shows", Shows())
        self.done: Callable[[int, str], bool] = lambda cell, identifier: False

    def add(self, kind: str, name: str, made: Any, **traits: Any) -> Any:
        self.host.registry.add(make_component(kind, MINE, name, lambda: made, **traits))
        return made

    def pipeline(self, **fields: Any) -> Pipeline:
        given = {"retrievers": ["bm25"], "k": [1], "reasoners": ["shows"], "generators": ["engine"], **fields}
        config = RunConfig(tasks=["mini_lamp_4"], controls=False, **given)
        cells = plan_cells(config, self.host, self.dataset).cells
        return Pipeline(cells, [], Components(self.host, self.dataset, self.root))

    def run(self, pipeline: Pipeline) -> list[Result]:
        return list(pipeline.run((self.examples[j : j + 3] for j in range(0, 12, 3)), self.done))


@pytest.fixture
def bench(host: PluginHost, tmp_path: Path) -> Bench:
    return Bench(host, tmp_path)


def answers(results: Sequence[Result]) -> set[tuple[int, str, str]]:
    found = [(r.cell, r.sample.prompt.example.id, r.sample.answer.text) for r in results]
    assert len(found) == len(set(found))
    return set(found)


def expected(bench: Bench, ks: Sequence[int]) -> set[tuple[int, str, str]]:
    return {
        (cell, e.id, f"answer to {e.id} with {min(k, len(e.profile))}")
        for cell, k in enumerate(ks)
        for e in bench.examples
    }


def test_one_stream_takes_all_batches_and_cells(bench: Bench) -> None:
    engine = bench.add("generator", "engine", Engine(slots=7))
    results = bench.run(bench.pipeline(k=[1, 2, 4]))
    assert answers(results) == expected(bench, [1, 2, 4])
    assert (engine.streams, engine.most, len(engine.asked)) == (1, 7, 36)


def test_what_was_asked_is_what_batches_ask(bench: Bench) -> None:
    engine = bench.add("generator", "engine", Engine())

    class Plain:
        tokenizer, asked = None, list[str]()

        def fingerprint(self) -> str:
            return ""

        def generate(self, prompts: Sequence[Prompt]) -> Iterator[Pair]:
            self.asked += [prompt.text for prompt in prompts]
            yield from ((j, Completion(f"answer to {prompt.text}")) for j, prompt in enumerate(prompts))

    plain = bench.add("generator", "plain", Plain())
    assert [isinstance(each, Streams) for each in (engine, plain)] == [True, False]
    streamed = bench.run(bench.pipeline(k=[1, 4]))
    one_by_one = bench.run(bench.pipeline(k=[1, 4], generators=["plain"]))
    assert answers(streamed) == answers(one_by_one)
    assert sorted(engine.asked) == sorted(plain.asked)
    assert {(r.cell, r.sample.prompt.text, str(r.retrieval)) for r in streamed} == {
        (r.cell, r.sample.prompt.text, str(r.retrieval)) for r in one_by_one
    }


def test_generators_without_streams_are_answered_on_the_way(bench: Bench) -> None:
    engine = bench.add("generator", "engine", Engine(slots=2))
    pipeline = bench.pipeline(generators=["engine", "copy"])
    cells = [result.cell for result in bench.run(pipeline)]
    assert Counter(cells) == {0: 12, 1: 12}
    assert engine.streams == 1
    assert cells.index(1) == 1, "as soon as the stream has passed the first batch"
    assert bench.reasoner.batches == 4, "rankings and prompts are shared"


def test_several_streams_share_windows_of_batches(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "WINDOW", 2)
    one, two = (bench.add("generator", name, Engine()) for name in ("one", "two"))
    results = bench.run(bench.pipeline(generators=["one", "two"]))
    assert answers(results) == expected(bench, [1, 1])
    assert (one.streams, two.streams) == (2, 2)
    assert bench.reasoner.batches == 4
    assert [result.cell for result in results] == ([0] * 6 + [1] * 6) * 2


def test_a_stream_does_not_leave_others_far_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "WINDOW", 2)
    engine = bench.add("generator", "engine", Engine(slots=1000))
    results = bench.run(bench.pipeline(generators=["engine", "copy"]))
    assert Counter(result.cell for result in results) == {0: 12, 1: 12}
    assert (engine.most, engine.streams) == (6, 3), "it waits for the others after two batches"


@pytest.mark.parametrize("slots", [1, 4, 100])
def test_a_generator_that_fails_for_one_cell_answers_the_others(bench: Bench, slots: int) -> None:
    engine = bench.add("generator", "engine", Engine(slots))
    engine.fails_on = lambda prompt: prompt.text == f"{bench.examples[4].id} with 4"
    pipeline = bench.pipeline(k=[1, 4], generators=["engine", "copy"])
    results = bench.run(pipeline)
    counts = Counter(result.cell for result in results)
    cells = {(cell.k, str(cell.generator)): index for index, cell in enumerate(pipeline._cells)}
    assert counts[cells[1, "engine"]] == counts[cells[1, "copy"]] == counts[cells[4, "copy"]] == 12
    assert counts[cells[4, "engine"]] < 12
    assert list(pipeline.failed) == [cells[4, "engine"]]
    (why,) = pipeline.failed.values()
    assert why.startswith("generator engine from mine (my-dist 1): RuntimeError: out of memory at tests/")
    assert len(answers(results)) == len(results)


def test_a_reasoner_that_fails_in_the_middle_takes_its_cell_and_not_the_stream(bench: Bench) -> None:
    engine = bench.add("generator", "engine", Engine(slots=5))
    bench.add("reasoner", "fine", Shows())
    bench.reasoner.fails_on = 3
    pipeline = bench.pipeline(reasoners=["shows", "fine"])
    counts = Counter(result.cell for result in bench.run(pipeline))
    assert counts[1] == 12
    assert list(pipeline.failed) == [0]
    assert pipeline.failed[0].startswith("reasoner shows from mine (my-dist 1): ValueError: no prompt at tests/")
    assert engine.streams == 1


def test_data_that_break_off_are_not_the_generator_s_fault(bench: Bench) -> None:
    bench.add("generator", "engine", Engine())
    pipeline = bench.pipeline()

    def broken() -> Iterator[Sequence[Example]]:
        yield bench.examples[:6]
        raise OSError("the disk is gone")

    found = []
    with pytest.raises(OSError, match="the disk is gone"):
        for result in pipeline.run(broken(), bench.done):
            found.append(result)
    assert (len(found), pipeline.failed) == (6, {})


def twice(prompts: Iterator[Prompt]) -> Iterator[Pair]:
    next(prompts)
    yield 0, Completion("x")
    yield 0, Completion("y")


def unknown(prompts: Iterator[Prompt]) -> Iterator[Pair]:
    next(prompts)
    yield 7, Completion("x")


def some(prompts: Iterator[Prompt]) -> Iterator[Pair]:
    for number, _ in enumerate(prompts):
        if number % 2:
            yield number, Completion("x")


def early(prompts: Iterator[Prompt]) -> Iterator[Pair]:
    next(prompts)
    yield 0, Completion("x")


def nothing(prompts: Iterator[Prompt]) -> Iterator[Pair]:
    return iter(())


@pytest.mark.parametrize(
    ("behaves", "said", "kept"),
    [
        (twice, "answered prompt 0 twice, or it does not exist", 1),
        (unknown, "answered prompt 7 twice, or it does not exist", 0),
        (some, "left 6 of 12 prompts without an answer", 6),
        (early, "ended before it had taken every prompt", 1),
        (nothing, "ended before it had taken every prompt", 0),
        (lambda prompts: 1 / 0, "ZeroDivisionError: division by zero", 0),
        (lambda prompts: None, "gave None in place of pairs (number, Completion)", 0),
    ],
)
def test_a_stream_answers_each_prompt_once(bench: Bench, behaves: Any, said: str, kept: int) -> None:
    engine = bench.add("generator", "engine", Engine())
    engine.stream = behaves
    pipeline = bench.pipeline(generators=["engine", "copy"])
    counts = Counter(result.cell for result in bench.run(pipeline))
    assert (counts[0], counts[1]) == (kept, 12)
    assert list(pipeline.failed) == [0]
    assert pipeline.failed[0].startswith(f"generator engine from mine (my-dist 1): {said} at tests/unit/running/")


def test_a_generator_that_a_reasoner_asks_is_not_interrupted_in_its_stream(bench: Bench) -> None:
    engine = bench.add("generator", "engine", Engine())

    class Summarizes(Shows):
        def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Any) -> list[Prompt]:
            assert sorted(engine.asked) == sorted(engine.answered), "nothing is in flight"
            made = super().prompts(examples, rankings, generator)
            assert len(dict(generator.generate(made))) == len(made)
            return made

    bench.add("reasoner", "summarizes", Summarizes(), needs={"generator"})
    assert answers(bench.run(bench.pipeline(reasoners=["summarizes"]))) == expected(bench, [1])


def test_the_producer_runs_ahead_by_no_more_than_the_engine_draws(host: PluginHost, tmp_path: Path) -> None:
    bench = Bench(host, tmp_path)
    engine = bench.add("generator", "engine", Engine(slots=64))
    read = finished = most = 0

    def batches() -> Iterator[Sequence[Example]]:
        nonlocal read
        for start in range(0, 20_000, 100):
            read += 100
            yield [Example(f"{start + j}", "u", "input", "query", ()) for j in range(100)]

    for result in bench.pipeline(retrievers=["none"], k=[0]).run(batches(), bench.done):
        assert result.sample.answer.text == f"answer to {result.sample.prompt.example.id} with 0"
        finished += 1
        most = max(most, read - finished)
    assert (finished, read, engine.streams, engine.most) == (20_000, 20_000, 1, 64)
    assert most < 64 + 2 * 100, "the prompts in flight, and the rest of a batch"


def test_what_the_engines_are_doing_is_added_up(bench: Bench) -> None:
    for name, activity in (("engine", Activity(3, 0.5)), ("other", Activity(4, 0.25)), ("quiet", Activity())):
        bench.add("generator", name, Engine()).activity = lambda activity=activity: activity
    assert bench.pipeline(generators=["engine", "other", "quiet", "copy"]).activity() == Activity(7, 0.5)
    assert bench.pipeline(generators=["copy"]).activity() == Activity()


class TestRun:
    def config(self, **fields: Any) -> RunConfig:
        base = {"tasks": ["mini_lamp_4"], "synth_users": 4, "retrievers": ["bm25"], "generators": ["engine"]}
        return RunConfig.model_validate({**base, "reasoners": ["shows"], "k": [1, 4], "controls": False, **fields})

    @pytest.mark.parametrize("stops_after", [1, 5, 13, 23])
    def test_a_run_that_is_stopped_within_a_stream_asks_nothing_twice(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops_after: int
    ) -> None:
        monkeypatch.setattr(_execute, "BATCH", 4)
        engine = bench.add("generator", "engine", Engine(slots=3))
        whole = execute(self.config(), bench.host, tmp_path / "whole")
        engine.asked, engine.answered = [], []

        def stops(prompt: Prompt) -> bool:
            if len(engine.answered) == stops_after:
                raise KeyboardInterrupt
            return False

        engine.fails_on = stops
        with pytest.raises(KeyboardInterrupt):
            execute(self.config(), bench.host, tmp_path / "stopped")
        journals = [*(tmp_path / "stopped").rglob("journal.jsonl")]
        assert sum(len(finished_ids(path)) for path in journals) == stops_after
        first, engine.asked, engine.answered = engine.answered, [], []
        engine.fails_on = lambda prompt: False
        outcome = execute(self.config(), bench.host, tmp_path / "stopped")
        assert sorted([*first, *engine.asked]) == sorted({*first, *engine.asked})
        assert len(engine.asked) == 24 - stops_after
        for one, other in zip(whole.finished, outcome.finished, strict=True):
            for name in ("manifest.json", "samples.jsonl", "summary.json"):
                assert (one / name).read_bytes() == (other / name).read_bytes()

    def test_seconds_and_tokens_add_up_over_resumed_runs(self, bench: Bench, tmp_path: Path) -> None:
        engine = bench.add("generator", "engine", Engine(slots=3))
        engine.fails_on = lambda prompt: len(engine.answered) == 10
        assert len(execute(self.config(k=[1]), bench.host, tmp_path).failed) == 1
        engine.fails_on = lambda prompt: False
        execute(self.config(k=[1]), bench.host, tmp_path)
        ((row,), _) = find_results(tmp_path)
        assert row.timing is not None and row.timing.answers == 12
        assert 0 < row.timing.seconds < 60
        assert row.summary.completion_tokens == 36
        assert b"seconds" not in (row.folder / "samples.jsonl").read_bytes()
        (row.folder / "timing.json").write_text("{")
        assert row.timing is None

    def test_rows_of_one_stream_share_its_time_by_their_tokens(self, bench: Bench, tmp_path: Path) -> None:
        bench.add("generator", "engine", Engine(slots=3))
        execute(self.config(k=[1, 4]), bench.host, tmp_path)
        rows, _ = find_results(tmp_path)
        timings = [row.timing for row in rows if row.timing is not None]
        assert len(timings) == 2
        for timing, row in zip(timings, rows, strict=True):
            counts = row.summary.completion_tokens, row.summary.prompt_tokens
            assert timing.tokens == sum(count or 0 for count in counts) > 0
        rates = [timing.seconds / timing.tokens for timing in timings]
        assert rates[0] == pytest.approx(rates[1], rel=1e-3)

    def test_answers_from_the_cache_take_no_time(self, bench: Bench, tmp_path: Path) -> None:
        engine = Engine()
        bench.add("generator", "engine", engine, cached=True)
        for results, known in (("first", 12), ("second", None)):
            execute(self.config(k=[4]), bench.host, tmp_path / results)
            ((row,), _) = find_results(tmp_path / results)
            assert (row.timing and row.timing.answers) == known
            assert row.summary.completion_tokens == 36
        assert len(engine.asked) == 12

    def test_rewards_get_groups_of_results(self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_execute, "BATCH", 5)
        bench.add("generator", "engine", Engine())
        sizes = []

        class Counts:
            def fingerprint(self) -> str:
                return ""

            def score(self, samples: Sequence[Any]) -> list[float]:
                sizes.append(len(samples))
                return [1.0] * len(samples)

        bench.add("reward", "counts", Counts())
        execute(self.config(rewards=["counts"]), bench.host, tmp_path)
        assert sizes == [5, 5, 5, 5, 4]

    def test_worker_batches_stream_too(self, bench: Bench, tmp_path: Path) -> None:
        bench.add("generator", "engine", Engine())
        (task,) = prepare_tasks(self.config(), bench.host)

        class Here:
            """Does in this process what a worker does."""

            def map(self, work: Any, batches: Any, start: Any) -> Iterator[Any]:
                _execute._worker, _execute._profile = task, None
                yield from map(work, batches)

        outcome = execute(self.config(), bench.host, tmp_path, engine=Here(), tasks=[task])
        assert (len(outcome.finished), outcome.failed) == (2, [])


IDENTITY = {"plugin": "mine", "spec": "engine"}


class TestCachedStream:
    def prompts(self, bench: Bench, texts: Sequence[str]) -> Iterator[Prompt]:
        return (Prompt(bench.examples[0], Ranking(), text) for text in texts)

    def stream(self, bench: Bench, engine: Engine, texts: Sequence[str]) -> Iterator[Pair]:
        cache = GenerationCache(bench.root, IDENTITY)
        return CachedStream(engine, cache).stream(self.prompts(bench, texts))

    def test_only_misses_are_asked_and_equal_prompts_once(self, bench: Bench) -> None:
        first, second = Engine(), Engine()
        assert len(list(self.stream(bench, first, ["a", "b", "a", "c", "a"]))) == 5
        assert sorted(first.asked) == ["a", "b", "c"]
        texts = ["b", "a", "d", "a", "d", "e", "c", "d"]
        found = dict(self.stream(bench, second, texts))
        assert {number: completion.text for number, completion in found.items()} == {
            number: f"answer to {text}" for number, text in enumerate(texts)
        }
        assert (sorted(second.asked), second.streams) == (["d", "e"], 1)

    def test_what_is_known_comes_at_once(self, bench: Bench) -> None:
        list(self.stream(bench, Engine(), ["a", "b"]))
        engine = Engine()
        stream = self.stream(bench, engine, ["a", "b", "c"])
        assert [next(stream)[0], next(stream)[0]] == [0, 1]
        assert engine.streams == 0
        assert next(stream)[0] == 2

    def test_an_answer_is_kept_before_it_is_given(self, bench: Bench) -> None:
        stream = self.stream(bench, Engine(slots=1), ["a", "b"])
        assert next(stream)[0] == 0
        stream.close()  # type: ignore[attr-defined]
        engine = Engine()
        list(self.stream(bench, engine, ["a", "b"]))
        assert engine.asked == ["b"]

    @pytest.mark.parametrize("fill", ["hits", "equal prompts"])
    def test_it_looks_ahead_by_a_bounded_number_of_prompts(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, fill: str
    ) -> None:
        monkeypatch.setattr(cached_generator, "LOOKAHEAD", 10)
        list(self.stream(bench, Engine(), ["known"]))
        engine, drawn, most = Engine(slots=3), 0, 0
        texts = ["new"] + (["known"] if fill == "hits" else ["new"]) * 200 + ["last", "newest"]

        def counted() -> Iterator[Prompt]:
            nonlocal drawn
            for prompt in self.prompts(bench, texts):
                drawn += 1
                yield prompt

        found = []
        for pair in CachedStream(engine, GenerationCache(bench.root, IDENTITY)).stream(counted()):
            found.append(pair[0])
            most = max(most, drawn - len(found))
        assert sorted(found) == list(range(203))
        assert most <= 13
        assert sorted(engine.asked) == ["last", "new", "newest"]

    @pytest.mark.parametrize(
        ("behaves", "said"),
        [(twice, "answered prompt 0 twice"), (unknown, "answered prompt 7 twice"), (some, "left 1 of 2 prompts")],
    )
    def test_an_engine_that_answers_wrongly_is_found_out(self, bench: Bench, behaves: Any, said: str) -> None:
        engine = Engine()
        engine.stream = behaves  # type: ignore[method-assign]
        with pytest.raises(Exception, match=said):
            list(self.stream(bench, engine, ["a", "b"]))
