"""The leaderboard in a terminal: what gives way, what is said once, and that no figure is cut in two."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest
from unit.report.test_report import metric, stored

from prlm_bench.errors import UnknownNameError
from prlm_bench.report import Table, TableView, build_tables, render
from prlm_bench.report._names import method_names, short_specs
from prlm_bench.report._terminal import ORDER
from prlm_bench.results import select
from prlm_bench.tasks import TaskRegistry

LAMP, PRLM = ("rouge1@lamp", "rouge2@lamp", "rougeL@lamp", "bleu@lamp"), ("rouge-1@prlm", "rouge-2@prlm")
PLAIN = {"value": 0.5, "low": 0.25, "high": 0.75}
NUMBER = re.compile(r"\d+(?:\.\d+)?")
RETRIEVERS = (
    "bm25",
    "none",
    "bm25:k1=0.9,b=0.4",
    "hybrid:of=bm25+minilm,weights=0.25+0.75",
    "dense:model=/a/b/E5-base",
)
GENERATORS = (
    "copy",
    "transformers:model=/models/SmolLM2-135M-Instruct,max_new_tokens=48",
    "openai-api:model=gpt-oss-20b",
)


def some(rng: random.Random, **fixed: Any) -> Any:
    """A row with random figures, and any of the columns that a row may have."""

    def figure(scale: float = 1.0) -> dict[str, Any]:
        value = rng.random() * scale
        return metric(value) | {"low": value - rng.random() / 9, "high": value + rng.random() / 9}

    def plain() -> dict[str, Any]:
        return {name: value for name, value in figure().items() if name in ("value", "low", "high")}

    share = {"value": rng.choice((0.0, rng.random())), "low": 0.0, "high": 1.0}
    names = (*LAMP, *PRLM)
    row = stored(
        rng.choice(RETRIEVERS) + str(rng.randrange(10**6)) * rng.randrange(2),
        {name: figure(100 if name == "bleu@lamp" else 1) for name in names},
        k=rng.choice((0, 1, 4, 16)),
        seed=rng.randrange(3),
        control=rng.random() < 0.3,
        parse_failures=share,
        truncated_completions=rng.choice((None, rng.random())),
        prompt_tokens=rng.choice((None, rng.randrange(10**8))),
        completion_tokens=rng.choice((None, rng.randrange(10**6))),
        rewards={"overlap": plain()} if rng.random() < 0.5 else {},
        retrieval={"nDCG@5": plain(), "R@5": plain()} if rng.random() < 0.5 else {},
        **fixed,
    )
    method = row.manifest.method
    generator = method.generator.model_copy(update={"spec": rng.choice(GENERATORS)})
    manifest = row.manifest.model_copy(update={"method": method.model_copy(update={"generator": generator})})
    return replace(row, manifest=manifest.model_copy(update={"fingerprint": str(rng.random())}))


def tables(*rows: Any) -> list[Table]:
    return build_tables(rows, TaskRegistry())


@pytest.mark.parametrize("seed", range(25))
def test_no_figure_is_cut_at_any_width(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    found = tables(*(some(rng) for _ in range(rng.randint(1, 9))))
    monkeypatch.delenv("COLUMNS")
    whole = {*NUMBER.findall(render(found, "terminal") + render(found, "terminal", TableView(wide=True)))}
    for width in (80, 100, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        text = render(found, "terminal")
        assert max(map(len, text.splitlines())) <= width
        assert {*NUMBER.findall(text.replace(f"{width} columns", ""))} <= whole
        for table in found:
            for row in table.rows:
                value = row.figures.metrics[table.metrics[0]].value
                assert f"{value:.4f}" in text, "the metric that ranks stays"


def shown(text: str) -> list[str]:
    """The titles of the first table."""
    lines = text.splitlines()
    return re.split(r"  +", lines[next(i for i, line in enumerate(lines) if line.startswith("─")) - 1].strip())


def row(name: str = "bm25", value: float = 0.5, **changes: Any) -> Any:
    figures = {name: metric(value + place / 100) for place, name in enumerate(LAMP)}
    extra: dict[str, Any] = {"retrieval": {"R@5": PLAIN}, "rewards": {"overlap": PLAIN}}
    return stored(name, figures, **{"completion_tokens": 10 * len(name), **extra, **changes})


def test_columns_give_way_in_the_stated_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tables(row("bm25"), row("recency", 0.25, parse_failures={"value": 0.5, "low": 0, "high": 1}))
    left = []
    for width in (300, 110, 96, 84, 70, 56, 42):
        monkeypatch.setenv("COLUMNS", str(width))
        text = render(found, "terminal")
        left.append(" ".join(text.split()).partition("No room for: ")[2].partition(". --columns")[0].split(", "))
    assert left[0] == [""]
    order = left[-1]
    kinds = ["speed", "by user", "retrieval", "metric", "metric", "metric", "reward"]
    of = {"tokens out": "speed", "tokens in": "speed", "seconds": "speed", "by user": "by user", "R@5": "retrieval"}
    of |= {"bleu": "metric", "rougeL": "metric", "rouge2": "metric", "overlap": "reward"}
    assert [of[name] for name in order] == kinds[: len(order)]
    assert sorted(map(ORDER.index, dict.fromkeys(kinds))) == list(map(ORDER.index, dict.fromkeys(kinds)))
    assert any(name.startswith("± of ") for names in left for name in names), "intervals before metrics"


def test_what_all_rows_share_is_said_once() -> None:
    text = render(tables(row("bm25"), row("recency", 0.25)), "terminal")
    assert "all rows: reasoner direct, generator direct, k 4, parse failures 0.0%, cut prompts 0.0%\n" in text
    assert shown(text)[:3] == ["#", "method", "rouge1 ↑"]
    assert re.search(r"^1  bm25 +0\.5000 ±0\.010", text, re.MULTILINE)
    (alone,) = tables(row("bm25"))
    assert "bm25 · k4 · direct · direct" in render([alone], "terminal")


def test_the_mean_by_user_is_shown_where_users_have_several_questions() -> None:
    several = tables(row("bm25"))
    single = tables(row("bm25", data={"n": 10, "n_users": 10}))
    for form in ("terminal", "markdown", "html", "latex"):
        assert "by user" in render(several, form)
        assert "by user" not in render(single, form)


def test_an_arrow_says_which_way_is_better() -> None:
    errors = {name: {"mae@lamp": metric(value, higher=False)} for name, value in (("a", 1.5), ("b", 0.5))}
    text = render(tables(*(stored(name, found, task="lamp_3") for name, found in errors.items())), "terminal")
    assert "mae ↓" in shown(text)
    assert text.index("b ") < text.index("1.5000")
    assert [line.split()[1] for line in text.splitlines() if re.match(r"\d  ", line)] == ["b", "a"]


def test_the_interval_is_as_wide_as_its_longer_side() -> None:
    lopsided = metric(0.5) | {"low": 0.45, "high": 0.75}
    found = tables(stored("a", {"rouge1@lamp": lopsided}))
    assert "0.5000 ±0.250" in render(found, "terminal")
    assert "0.5000 [0.450, 0.750]" in render(found, "terminal", TableView(wide=True))


def test_columns_and_metrics_are_chosen_by_name() -> None:
    found = tables(row("bm25"), row("recency", 0.25))
    assert shown(render(found, "terminal", TableView(columns=("Parse_Failures", "tokens out")))) == [
        *("#", "method", "parse failures", "tokens out")
    ]
    assert shown(render(found, "terminal", TableView(metrics=("ROUGEL", "bleu@lamp"))))[:4] == [
        *("#", "method", "rougeL ↑", "bleu ↑")
    ]
    assert shown(render(found, "terminal", TableView(columns=("overlap",), metrics=("bleu",)))) == [
        *("#", "method", "bleu ↑", "overlap")
    ]
    with pytest.raises(UnknownNameError, match="unknown column 'sedn'"):
        render(found, "terminal", TableView(columns=("sedn",)))
    with pytest.raises(UnknownNameError, match="unknown metric of these tables 'rogueL'"):
        render(found, "terminal", TableView(metrics=("rogueL",)))


SHORT = [
    (["direct:protocol=chat"], ["chat"]),
    (["direct", "direct:protocol=chat"], ["direct", "chat"]),
    (["direct:protocol=chat", "cot:protocol=chat"], ["direct", "cot"]),
    (["bm25", "bm25:k1=0.9"], ["bm25", "bm25:k1=0.9"]),
    (["bm25:k1=0.9,b=0.4", "bm25:k1=0.9,b=0.5"], ["bm25:b=0.4", "bm25:b=0.5"]),
    (["transformers:model=/a/b/SmolLM2"], ["SmolLM2"]),
    (["transformers:model=/a/b/S", "transformers:model=/a/c/S"], None),
    (["trained:checkpoint=x", "trained:checkpoint=x,stage=sft"], ["trained", "trained:sft"]),
    (["bm25 [prlm texts]", "bm25"], ["bm25 [prlm texts]", "bm25"]),
    (["not: a spec,,"], ["not: a spec,,"]),
]


@pytest.mark.parametrize(("specs", "names"), SHORT)
def test_short_names_differ(specs: list[str], names: list[str] | None) -> None:
    found = short_specs(specs)
    assert len({*found.values()}) == len({*specs})
    if names is not None:
        assert [found[spec] for spec in specs] == names


def test_described_methods_get_the_same_names() -> None:
    chat = "direct:protocol=chat"
    found = method_names([f"bm25 × k=4 × {chat} × tiny, seeds 0, 1", f"none × k=0 × {chat} × tiny × seed 2", "other"])
    assert found.names == [f"bm25 × k=4 × {chat} × tiny, seeds 0, 1", f"none × k=0 × {chat} × tiny × seed 2", "other"]
    found = method_names([f"bm25 × k=4 × {chat} × tiny, seeds 0, 1", f"none × k=0 × {chat} × tiny × seed 2"])
    assert found.names == ["bm25 · k4 · chat · tiny, seeds 0, 1", "none · chat · tiny, seed 2"]
    assert found.lines == [f"chat = {chat}"]


def test_rows_are_selected_as_tables_write_them() -> None:
    figures = {"rouge1@lamp": metric(0.5)}
    rows = [stored("bm25:b=0.5,k1=0.9", figures, k=4), stored("bm25:b=0.5,k1=2", figures, k=4)]
    (table,) = tables(*rows)
    names = method_names([f"{r.retriever} × k={r.k} × {r.reasoner} × {r.generator}" for r in table.rows]).names
    assert names == ["bm25:k1=0.9 · k4 · direct · direct", "bm25:k1=2 · k4 · direct · direct"]
    assert [select(rows, name) for name in names] == rows
