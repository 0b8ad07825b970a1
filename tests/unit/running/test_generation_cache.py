"""Completions are kept by full identity: nothing that differs shares an answer, and no fault stops a run."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import Completion, Example, Prompt, Ranking
from prlm_bench.data import open_split
from prlm_bench.errors import PrlmBenchError
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.running import (
    CachedGenerator,
    Components,
    GenerationCache,
    RunConfig,
    generation_files,
    prune,
)
from prlm_bench.running._pipeline import Pipeline
from prlm_bench.running._plan import plan_cells

IDENTITY = {"spec": "mine", "plugin": "dist/mine", "version": "1", "source": "abc", "fingerprint": "files=1 torch=2.13"}
EXAMPLE = Example("q", "u", "input", "query", ())


def prompt(text: str, chat: bool = False) -> Prompt:
    return Prompt(EXAMPLE, Ranking(), text, chat=chat)


class Counting:
    """Answers with the prompt and its own name, and remembers what it was asked."""

    tokenizer = None
    max_prompt_tokens = 77

    def __init__(self, name: str = "a") -> None:
        self.name = name
        self.asked: list[str] = []

    def fingerprint(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for index in reversed(range(len(prompts))):
            self.asked.append(prompts[index].text)
            yield index, Completion(f"{self.name}: {prompts[index].text}", finish="stop", tokens=3)


def test_what_was_written_is_found_in_a_later_run(tmp_path: Path) -> None:
    completion = Completion("naïve 日本語 \u0000 🙂", is_answer=False, finish="length", tokens=12)
    GenerationCache(tmp_path, IDENTITY).put(prompt("x"), completion)
    again = GenerationCache(tmp_path, IDENTITY)
    assert again.get(prompt("x")) == completion
    assert again.get(prompt("y")) is None


@pytest.mark.parametrize("part", IDENTITY)
def test_a_change_of_any_part_of_the_identity_misses(tmp_path: Path, part: str) -> None:
    GenerationCache(tmp_path, IDENTITY).put(prompt("x"), Completion("kept"))
    assert GenerationCache(tmp_path, {**IDENTITY, part: IDENTITY[part] + "'"}).get(prompt("x")) is None


def test_a_release_of_prlm_bench_does_not_ask_again(tmp_path: Path) -> None:
    identity = {**IDENTITY, "plugin": "prlm-bench/openai-api"}
    GenerationCache(tmp_path, identity).put(prompt("x"), Completion("kept"))
    assert GenerationCache(tmp_path, {**identity, "version": "9.9"}).get(prompt("x")) == Completion("kept")
    assert GenerationCache(tmp_path, {**identity, "source": "edited"}).get(prompt("x")) is None


def test_a_change_of_the_prompt_misses(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path, IDENTITY)
    cache.put(prompt("x"), Completion("kept"))
    assert cache.get(prompt("x", chat=True)) is None
    assert cache.get(prompt("x ")) is None
    other = replace(prompt("x"), example=replace(EXAMPLE, id="other"), tokens=9)
    assert cache.get(other) == Completion("kept")


def test_only_what_is_missing_is_asked_and_equal_prompts_once(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    prompts = [prompt(text) for text in ("a", "b", "a", "c")]
    answers = dict(CachedGenerator(first, GenerationCache(tmp_path, IDENTITY)).generate(prompts[:3]))
    assert {index: answer.text for index, answer in answers.items()} == {0: "a: a", 1: "a: b", 2: "a: a"}
    assert sorted(first.asked) == ["a", "b"]
    again = list(CachedGenerator(second, GenerationCache(tmp_path, IDENTITY)).generate(prompts))
    assert sorted(index for index, _ in again) == [0, 1, 2, 3]
    assert dict(again)[0] == answers[0]
    assert second.asked == ["c"]


def test_it_looks_like_the_generator_within() -> None:
    cached = CachedGenerator(Counting("b"), GenerationCache(Path("nowhere"), IDENTITY))
    assert (cached.tokenizer, cached.max_prompt_tokens) == (None, 77)
    assert list(cached.generate([])) == []
    assert not Path("nowhere").exists()


def test_a_completion_is_kept_the_moment_it_is_there(tmp_path: Path) -> None:
    stream = CachedGenerator(Counting(), GenerationCache(tmp_path, IDENTITY)).generate([prompt("a"), prompt("b")])
    assert next(stream)[0] == 1
    assert GenerationCache(tmp_path, IDENTITY).get(prompt("b")) is not None


def _fill(root: Path, start: int) -> None:
    cache = GenerationCache(root, IDENTITY)
    for number in range(start, start + 60):
        cache.put(prompt(str(number)), Completion(str(number)))


def _fill_and_die(root: Path) -> None:
    _fill(root, 0)
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("starts", [[0, 60, 120], [0, 0, 0]])
def test_several_processes_write_at_a_time(tmp_path: Path, starts: list[int]) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path, start)) for start in starts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * len(starts)
    cache = GenerationCache(tmp_path, IDENTITY)
    for start in set(starts):
        assert all(cache.get(prompt(str(n))) == Completion(str(n)) for n in range(start, start + 60))


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_fill_and_die, args=(tmp_path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -9
    cache = GenerationCache(tmp_path, IDENTITY)
    assert all(cache.get(prompt(str(n))) is not None for n in range(60))


def damage_everything(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 400)


def damage_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = bytes([7]) * (len(content) - 4096)
    path.write_bytes(bytes(content))


def give_it_to_another(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE identity SET json = ?", (json.dumps({"spec": "other"}),))
    connection.close()


@pytest.mark.parametrize("damage", [damage_everything, damage_the_middle, give_it_to_another])
def test_a_broken_file_is_set_aside_in_one_line(tmp_path: Path, damage: Any, caplog: Any) -> None:
    cache = GenerationCache(tmp_path, IDENTITY)
    for number in range(200):
        cache.put(prompt(str(number)), Completion("wrong" * 20))
    cache.close()
    damage(cache.path)
    with caplog.at_level(logging.WARNING):
        again = GenerationCache(tmp_path, IDENTITY)
        assert again.get(prompt("1")) is None
        again.put(prompt("1"), Completion("right"))
    assert again.get(prompt("1")) == Completion("right")
    (record,) = caplog.records
    assert record.getMessage().startswith("prlm-bench: warning: broken cache file set aside as ")
    assert "\n" not in record.getMessage()
    assert cache.path.with_name(cache.path.name + ".broken").is_file()


def test_one_that_is_broken_while_it_is_open(tmp_path: Path, caplog: Any) -> None:
    first, second = (GenerationCache(tmp_path, IDENTITY) for _ in range(2))
    for number in range(500):
        first.put(prompt(str(number)), Completion("x" * 100))
    first.close()
    for each in (first, second):
        each.get(prompt("0"))
    damage_everything(first.path)
    for each in (first, second):
        assert {each.get(prompt(str(number))) for number in range(500)} <= {None, Completion("x" * 100)}
        each.put(prompt("new"), Completion("y"))
        assert each.get(prompt("new")) == Completion("y")
    assert len(caplog.records) == 1


def test_a_cache_that_cannot_be_written_costs_one_line(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "generations").write_text("a file where the folder should be")
    generator = Counting()
    cached = CachedGenerator(generator, GenerationCache(tmp_path, IDENTITY))
    for _ in range(2):
        assert len(list(cached.generate([prompt("a"), prompt("b")]))) == 2
    assert len(generator.asked) == 4
    (record,) = caplog.records
    assert "completions are not cached" in record.getMessage()


def test_fields_of_another_version_are_no_answer(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path, IDENTITY)
    cache.put(prompt("a"), Completion("x"))
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE completions SET json = ?", ('{"text": "x", "mood": 1}',))
    connection.close()
    assert cache.get(prompt("a")) is None


class TestPipeline:
    """The runner uses the cache for the generators that allow it."""

    @pytest.fixture
    def made(self, host: PluginHost) -> list[Counting]:
        made: list[Counting] = []

        def factory(style: str = "plain") -> Counting:
            made.append(Counting(style))
            return made[-1]

        origin = Origin("mine", "my-dist", "1", "mine.py")
        host.registry.add(make_component("generator", origin, "kept", factory, cached=True))
        host.registry.add(make_component("generator", origin, "unkept", factory))
        return made

    def run(self, host: PluginHost, root: Path, **fields: Any) -> list[str]:
        dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
        study = RunConfig(tasks=["mini_lamp_4"], controls=False, retrievers=["none"], **fields)
        cells = plan_cells(study, host, dataset).cells
        pipeline = Pipeline(cells, [], Components(host, dataset, root))
        results = list(pipeline.run(dataset.batches(100), lambda cell, identifier: False))
        assert pipeline.failed == {}
        return [result.sample.completion.text for result in results]

    def test_a_second_run_asks_nothing(self, host: PluginHost, made: list[Counting], tmp_path: Path) -> None:
        first = self.run(host, tmp_path, generators=["kept"])
        assert sorted(self.run(host, tmp_path, generators=["kept"])) == sorted(first)
        assert [len(generator.asked) for generator in made] == [12, 0]

    def test_other_options_ask_anew(self, host: PluginHost, made: list[Counting], tmp_path: Path) -> None:
        texts = self.run(host, tmp_path, generators=["kept", "kept:style=grand"])
        assert [len(generator.asked) for generator in made] == [12, 12]
        assert sum(text.startswith("grand: ") for text in texts) == 12

    def test_generators_that_do_not_allow_it_are_asked_again(
        self, host: PluginHost, made: list[Counting], tmp_path: Path
    ) -> None:
        for _ in range(2):
            self.run(host, tmp_path, generators=["unkept"])
        assert [len(generator.asked) for generator in made] == [12, 12]
        assert not (tmp_path / "generations").exists()

    def test_only_generators_can_be_kept(self) -> None:
        origin = Origin("mine", "my-dist", "1", "mine.py")
        with pytest.raises(PrlmBenchError, match="only generators are cached"):
            make_component("retriever", origin, "x", lambda: Counting(), cached=True)


class TestFiles:
    """`prlm-bench cache info` and `prlm-bench cache prune`."""

    def fill(self, root: Path, spec: str, count: int, days: float = 0.0) -> GenerationCache:
        cache = GenerationCache(root, {**IDENTITY, "spec": spec})
        for number in range(count):
            cache.put(prompt(str(number)), Completion("x" * 100))
        cache.close()
        old = time.time() - days * 86400
        os.utime(cache.path, (old, old))
        return cache

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    def test_info_names_the_generators(self, root: Path, here: Any) -> None:
        self.fill(root, "big", 200)
        self.fill(root, "small", 2, days=3)
        shown = json.loads(here("cache", "info", "--json").stdout)
        rows = [(row["identity"]["spec"], row["completions"], round(row["days"])) for row in shown["generations"]]
        assert rows == [("big", 200, 0), ("small", 2, 3)]
        assert shown["bytes"] == sum(row["bytes"] for row in shown["generations"]) > 20000
        text = here("cache", "info").stdout
        assert "big" in text and "2 generators" in text

    def test_info_without_a_cache(self, root: Path, here: Any) -> None:
        assert here("cache", "info").stdout.startswith("0 generators, 0.0 MB in ")

    def test_info_and_prune_know_broken_files(self, root: Path, here: Any) -> None:
        cache = self.fill(root, "big", 5)
        damage_everything(cache.path)
        assert "(unreadable)" in here("cache", "info").stdout
        assert here("cache", "prune", "--all").stdout.startswith("removed the completions of 1 generators")
        assert generation_files(root) == []

    def test_prune_removes_what_is_old(self, root: Path, here: Any) -> None:
        self.fill(root, "old", 3, days=40)
        self.fill(root, "new", 3, days=1)
        removed = json.loads(here("cache", "prune", "--older-than", 30, "--json").stdout)
        assert [row["identity"]["spec"] for row in removed["removed"]] == ["old"]
        assert [file.identity["spec"] for file in generation_files(root)] == ["new"]
        here("cache", "prune", "--all")
        assert list((root / "generations").iterdir()) == []

    def test_prune_leaves_what_is_in_use(self, root: Path) -> None:
        cache = GenerationCache(root, IDENTITY)
        cache.put(prompt("a"), Completion("x"))
        removed, in_use = prune(root)
        assert (removed, [file.path for file in in_use]) == ([], [cache.path])
        assert cache.get(prompt("a")) == Completion("x")
        cache.close()
        assert len(prune(root)[0]) == 1

    @pytest.mark.parametrize("words", [(), ("--all", "--older-than", "3")])
    def test_prune_has_to_be_told_what(self, root: Path, here: Any, words: tuple[str, ...]) -> None:
        assert (
            here("cache", "prune", *words).mistake
            == "nothing was selected for removal (give --older-than DAYS or --all)"
        )
