"""Results to be judged, and judgements, as the tests of human evaluation share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prlm_bench.human._export import Export, make_export
from prlm_bench.human._schema import Choice, Judgement, Key
from prlm_bench.results import Stored, load_folders
from support.made_results import sample, write_result

WORDS = ("apple", "bread", "candle", "dragon", "engine", "forest", "guitar", "harbour", "island", "jungle")


def gold(number: int) -> str:
    """The gold of a question: three words that its neighbours do not share."""
    return " ".join(WORDS[(number * 3 + place) % 10] + str(number % 7) for place in range(3))


def write_method(
    root: Path, name: str, answer: Callable[[int], str], n: int = 60, users: int = 10, **more: Any
) -> Path:
    """A result in which question i belongs to user i % users."""
    samples = [
        sample(
            f"q{i:03d}",
            f"u{i % users}",
            answer(i),
            gold(i),
            items=[{"id": f"{name}{i}", "score": 1.0, "text": f"item of {name} for {i}"}],
            rewards={"length": float(len(answer(i)))},
        )
        for i in range(n)
    ]
    return write_result(root, samples, retriever=name, **more)


def three(root: Path, n: int = 60, users: int = 10) -> list[Stored]:
    """Methods that answer with the gold, with two of its words and with one."""
    return load_folders(
        [
            write_method(root, "good", gold, n, users),
            write_method(root, "fair", lambda i: gold(i).rpartition(" ")[0] + " x", n, users),
            write_method(root, "poor", lambda i: gold(i).partition(" ")[0] + " y z", n, users),
        ]
    )


def export(results: Sequence[Stored], n: int = 60, seed: int = 0, checks: int = 0) -> Export:
    return make_export(results, results, "Write a title", n=n, seed=seed, checks=checks)


def judge(key: Key, annotator: str, choose: Callable[[str], Choice]) -> list[Judgement]:
    """One judgement on every pair; attention checks are passed."""
    return [
        Judgement(pair, annotator, choose(pair) if place.right is None else place.right)
        for pair, place in key.pairs.items()
    ]
