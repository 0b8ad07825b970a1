"""A kept completion is what was kept, or it is asked again."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.one_row import (
    flipped,
    messages,
)

from prlm_bench import Completion, Prompt, Ranking
from prlm_bench.records import Example
from prlm_bench.running import (
    CachedGenerator,
    GenerationCache,
)

IDENTITY = {"spec": "mine", "plugin": "dist/mine", "version": "1", "source": "abc", "fingerprint": ""}


def prompt(text: str) -> Prompt:
    return Prompt(Example("q", "u", "input", "query", ()), Ranking(), text)


NO_COMPLETIONS: tuple[Any, ...] = (
    b'{"text":5,"is_answer":false}',
    b'{"text":null}',
    b'{"text":"x","tokens":"3"}',
    b'{"text":"x","tokens":-3}',
    b'{"text":"x","tokens":1e3}',
    b'{"text":"x","tokens":true}',
    b'{"text":"x","is_answer":1}',
    b'{"text":"x","finish":["stop"]}',
    b'{"text":"x","cost":"1"}',
    b'{"text":"x","mood":1}',
    b'{"finish":"stop"}',
    b'["x"]',
    b'"x"',
    b"null",
    b"",
    b"\xff\xfe",
    5,
)


class Echo:
    """Repeats the prompt."""

    tokenizer = None

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for index, each in enumerate(prompts):
            yield index, Completion(f"to {each.text}: \u00e9", finish="stop", tokens=3, cost=0.5)


class TestCompletionCache:
    """A kept completion is what was kept, or it is asked again."""

    PROMPTS = tuple(prompt(str(number)) for number in range(40))

    def fill(self, root: Path) -> Path:
        cache = GenerationCache(root, IDENTITY)
        list(CachedGenerator(Echo(), cache).generate(self.PROMPTS))
        cache.close()
        return cache.path

    def test_no_flipped_bit_is_an_answer(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.fill(tmp_path)
        right = dict(Echo().generate(self.PROMPTS))
        content, rng = path.read_bytes(), random.Random(40)
        for place in rng.sample(range(8 * len(content)), 150):
            path.write_bytes(flipped(content, place))
            cache = GenerationCache(tmp_path, IDENTITY)
            assert {cache.get(each) for each in self.PROMPTS} <= {None, *right.values()}, place
            for _ in range(2):
                assert dict(CachedGenerator(Echo(), cache).generate(self.PROMPTS)) == right, place
            cache.close()
            for other in path.parent.iterdir():
                other.unlink()

    @pytest.mark.parametrize("row", NO_COMPLETIONS, ids=str)
    def test_a_row_that_is_no_completion_is_asked_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, row: Any
    ) -> None:
        path = self.fill(tmp_path)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE completions SET json = ?", (row,))
        connection.close()
        cache = GenerationCache(tmp_path, IDENTITY)
        right = dict(Echo().generate(self.PROMPTS))
        assert cache.get(self.PROMPTS[0]) is None
        assert dict(CachedGenerator(Echo(), cache).generate(self.PROMPTS)) == right
        assert cache.get(self.PROMPTS[0]) == right[0], "it is kept anew"
        assert messages(caplog) == [f"prlm-bench: warning: damaged completions in {path} are asked again"]

    def test_a_row_of_an_earlier_release_is_an_answer(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.fill(tmp_path)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE completions SET json = ?", ('{"text":"kept","is_answer":false,"tokens":3}',))
        connection.close()
        assert GenerationCache(tmp_path, IDENTITY).get(self.PROMPTS[0]) == Completion("kept", tokens=3)
        assert messages(caplog) == []

    def test_the_answer_to_another_prompt_is_none(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.fill(tmp_path)
        with sqlite3.connect(path) as connection:
            (row,) = connection.execute("SELECT json FROM completions LIMIT 1").fetchone()
            connection.execute("UPDATE completions SET json = ?", (row,))
        connection.close()
        cache = GenerationCache(tmp_path, IDENTITY)
        assert sum(cache.get(each) is not None for each in self.PROMPTS) == 1
