"""What commands print fits the terminal: nothing is wider, and no number is cut in two."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

Command = Callable[..., Any]

MINI = "--task mini_lamp_4 --synth-users 4"
COMMANDS = (
    *("leaderboard --results r", "leaderboard --results r --by-seed", "compare --baseline none+echo --results r"),
    *("results list --results r", "results findings --passed --results r", "list", "list metrics", "plugins", "doctor"),
    f"run {MINI} --retriever bm25 --retriever hybrid:of=bm25+random,weights=0.25+0.75 --generator copy --dry-run",
    f"run {MINI} --retriever bm25 --generator copy",
    "retrieval eval --task mini_lamp_4 --limit 20 --retriever bm25 --retriever recency --retriever random",
    *("cache info", "study --help", "data info --task mini_lamp_4"),
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: Figures that differ from one call to the next.
_TIMES = re.compile(r"\d+ GB free|\n(bm25|recency|random) .*|set-up s [\d.]+")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Rows with random answers of methods with long names."""
    rng = random.Random(5)
    words = ["one", "two", "three", "four", "five", "six"]
    long = "transformers:model=/models/of/somebody/SmolLM2-135M-Instruct,max_new_tokens=48"
    for retriever, k, generator in [("none", 0, "echo"), ("bm25", 4, long), ("bm25", 16, long), ("oracle", 1, "copy")]:
        for seed in (0, 1):
            samples = [
                sample(
                    f"q{i}",
                    f"u{i // 2}",
                    " ".join(rng.choices(words, k=5)),
                    "one two three",
                    parsed=rng.choice(("given", None)),
                    finish=rng.choice(("stop", "length")),
                    completion_tokens=rng.randrange(10**6),
                )
                for i in range(40)
            ]
            metrics = ("rouge1@lamp", "rouge2@lamp", "rougeL@lamp", "bleu@lamp", "rouge-1@prlm")
            write_result(
                tmp_path / "r", samples, retriever=retriever, k=k, generator=generator, seed=seed, metrics=metrics
            )
    return tmp_path / "r"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_prints_fits(
    command: str, results: Path, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = here(*command.split(), *["--wide"] * command.startswith(("leaderboard", "run"))).stdout
    monkeypatch.delenv("COLUMNS")
    wide += here(*command.split()).stdout
    for width in (80, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        ended = here(*command.split())
        assert ended.status == 0, ended
        assert ended.stdout.strip()
        assert max(map(len, ended.stdout.splitlines())) <= width
        new = {*NUMBER.findall(_TIMES.sub("", ended.stdout))} - {*NUMBER.findall(wide)}
        assert not new, f"{new} are pieces of numbers"


def test_a_file_gets_every_column_on_one_line(results: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    text = here("leaderboard", "--results", "r").stdout
    titles = next(line for line in text.splitlines() if line.startswith((" #", "#")))
    assert all(title in titles for title in ("method", "rouge1 ↑", "by user", "seed sd", "cut answers", "tokens out"))


def test_a_row_is_called_what_the_run_says(here: Command, tmp_path: Path) -> None:
    words = f"run {MINI} --retriever bm25 --generator copy --no-controls --seed 0 --seed 1 -q".split()
    plain = here(*words)
    (first, second) = sorted((tmp_path / "prlm-results").rglob("manifest.json"))
    before = first.read_text(), second.read_text()
    assert all('"name": ' not in text.partition('"core"')[2] for text in before), "rows without a name are as they were"
    named = here(*words, "--name", "Ours", "--results", "named")
    assert [found.parent.name for found in sorted((tmp_path / "named").rglob("manifest.json"))] == [
        first.parent.name,
        second.parent.name,
    ], "a name is no part of what a row is"
    assert "Ours = bm25 × k=4 × direct × copy" in named.stdout
    assert "Ours" not in plain.stdout
    assert here("results", "verify", "named").status == 0
    assert here("leaderboard", "--results", "named", "--json").stdout.count('"name": "Ours"') == 2
