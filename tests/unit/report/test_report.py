"""Tables rank what is comparable, mark controls, keep published figures apart, and survive odd names."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

from prlm_bench.host import PluginHost
from prlm_bench.interfaces import NOT_BATCH_INVARIANT, NOT_VERIFIED
from prlm_bench.report import FORMATS, Table, build_tables, render
from prlm_bench.report._reported import all_reported, reported_for
from prlm_bench.report._text import LEGEND, PLUS_MINUS, REPORTED, cells, columns, heading
from prlm_bench.results import Manifest, Stored, Summary, find_results
from prlm_bench.tasks import TaskRegistry

NOTHING = {"value": 0.0, "low": 0.0, "high": 0.0, "why": ""}


def component(spec: str) -> dict[str, str]:
    return {"spec": spec, "plugin": f"mine/{spec}", "version": "1", "source": "", "fingerprint": ""}


def metric(value: float | None, higher: bool = True, macro: bool = True) -> dict[str, Any]:
    ends = {"low": None, "high": None} if value is None else {"low": value - 0.01, "high": value + 0.01}
    found: dict[str, Any] = {"value": value, **ends}
    return {**found, "higher_is_better": higher, "user_macro": dict(found) if macro else None}


def stored(
    name: str,
    metrics: dict[str, dict[str, Any]],
    *,
    task: str = "lamp_4",
    split: str = "dev",
    data: dict[str, Any] | None = None,
    k: int = 4,
    control: bool = False,
    seed: int = 0,
    named: list[str] | None = None,
    says: str = "",
    **summary: Any,
) -> Stored:
    """A finished result whose retriever has the name `name`, and whose generator `says` something of itself."""
    identity = {"sha256": {"q": "0"}, "n_total": 12, "n_invalid": 0, "n": 10, "n_users": 5, "view": "lamp"}
    identity |= {"dates": False} | (data or {})
    manifest = Manifest.model_validate(
        {"fingerprint": f"fingerprint of {name}", "task": task, "benchmark": "LaMP_" + task[-1], "split": split}
        | {"data": identity, "rewards": [], "core": "", "seed": seed, "control": control}
        | {"metrics": [component(each) for each in named or metrics]}
        | {"method": {part: component("direct") for part in ("reasoner", "generator")}
           | {"generator": component("direct") | {"fingerprint": says}}
           | {"retriever": component(name), "k": k}, "versions": {}, "command": ""}
    )  # fmt: skip
    figures = {"fingerprint": manifest.fingerprint, "n": identity["n"], "n_total": 12, "n_users": 5, "metrics": metrics}
    figures |= {"rewards": {}, "retrieval": {}, "parse_failures": NOTHING, "truncated_prompts": NOTHING}
    figures |= {"truncated_completions": None, "items_shown": 1.0, "samples_sha256": ""} | summary
    return Stored(Path(name), manifest, Summary.model_validate(figures))


def rouge(value: float | None) -> dict[str, dict[str, Any]]:
    return {"rouge1@lamp": metric(value)}


def ranked(table: Table) -> list[str]:
    assert [row.rank for row in table.rows] == list(range(1, len(table.rows) + 1))
    return [row.retriever for row in table.rows]


def tables(*results: Stored) -> list[Table]:
    return build_tables(results, TaskRegistry())


def sheet(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_best_row_comes_first_and_one_without_a_value_last() -> None:
    (table,) = tables(*(stored(n, rouge(v)) for n, v in [("b", 0.2), ("none", None), ("a", 0.3), ("c", -0.1)]))
    assert ranked(table) == ["a", "b", "c", "none"]
    assert table.title == "Personalized news headline generation"


def test_for_errors_the_smallest_value_comes_first() -> None:
    errors = {"b": 0.4, "none": None, "a": 0.3, "c": 1.2}
    metrics = {name: {"mae@lamp": metric(value, higher=False)} for name, value in errors.items()}
    (table,) = tables(*(stored(name, found, task="lamp_3") for name, found in metrics.items()))
    assert ranked(table) == ["a", "b", "c", "none"]


def test_each_protocol_has_its_own_table_and_ranks_by_its_first_metric() -> None:
    def both(lamp: float, prlm: float) -> dict[str, dict[str, Any]]:
        names = ("rouge1@lamp", "bleu@lamp", "rouge-1@prlm", "rouge-2@prlm")
        return {n: metric(v) for n, v in zip(names, (lamp, 1 - lamp, prlm, 1 - prlm), strict=True)}

    lamp, prlm = tables(stored("a", both(0.1, 0.9)), stored("b", both(0.2, 0.8)))
    assert (lamp.protocol, lamp.metrics, ranked(lamp)) == ("lamp", ("rouge1@lamp", "bleu@lamp"), ["b", "a"])
    assert (prlm.protocol, prlm.metrics, ranked(prlm)) == ("prlm", ("rouge-1@prlm", "rouge-2@prlm"), ["a", "b"])
    assert set(prlm.rows[0].figures.metrics) == {"rouge-1@prlm", "rouge-2@prlm"}


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"n": 9}},
        {"data": {"sha256": {"q": "1"}}},
        {"data": {"sha256": {"q": "0", "relevance": "2"}}},
        {"data": {"n_invalid": 1}},
        {"split": "test"},
        {"task": "lamp_5"},
    ],
    ids=str,
)
def test_rows_that_answered_other_questions_are_never_in_one_table(other: dict[str, Any]) -> None:
    found = tables(stored("a", rouge(0.1)), stored("b", rouge(0.2), **other), stored("c", rouge(0.3)))
    assert sorted(ranked(table) for table in found) == [["b"], ["c", "a"]]
    assert len({heading(table) for table in found}) == 2


def test_what_retrieval_read_is_part_of_the_name() -> None:
    (table,) = tables(
        stored("a", rouge(0.4), data={"view": "prlm"}),
        stored("a", rouge(0.3), data={"dates": True}),
        stored("a", rouge(0.2)),
        stored("none", rouge(0.1), data={"view": "prlm"}, k=0),
    )
    assert ranked(table) == ["a [prlm texts]", "a [dates]", "a", "none"]


def test_metrics_without_a_protocol_have_a_table_too() -> None:
    (table,) = tables(stored("a", {"length": metric(0.5)}), stored("b", {"length": metric(0.6)}))
    assert (table.metrics, ranked(table)) == (("length",), ["b", "a"])


def test_seeds_are_shown_where_they_differ() -> None:
    (alike,) = tables(stored("a", rouge(0.1), seed=3), stored("b", rouge(0.2), seed=3))
    (unlike,) = tables(stored("a", rouge(0.1), seed=3), stored("b", rouge(0.2), seed=4))
    assert "seed" not in columns(alike)
    assert columns(unlike).index("seed") == 5


ODD = "a|b_c&d%e$f#g{h}i~j^k\\l [bold]m[/x] †"


@pytest.fixture
def odd_table() -> list[Table]:
    extra = {"rewards": {"judge[/x]": NOTHING}, "retrieval": {"nDCG@5": NOTHING}}
    return tables(stored(ODD, rouge(0.25), **extra), stored("plain", {"rouge1@lamp": metric(12.5)}, control=True))


def test_markdown_has_one_cell_a_column(odd_table: list[Table]) -> None:
    lines = [line for line in render(odd_table, "markdown").splitlines() if line.startswith("|")][:4]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert split[0] == columns(odd_table[0])
    assert [len(cells) for cells in split] == [len(split[0])] * 4
    assert split[1] == ["---"] * len(split[0])
    assert split[2][:6] == ["1", "plain", "4", "direct", "direct †", "12.50 [12.5, 12.5]"]
    assert split[3][1] == ODD.replace("\\", "\\\\").replace("|", "\\|")
    assert split[3][5:] == ["0.2500 [0.240, 0.260]"] * 2 + ["0.0000", "0.0000 [0.000, 0.000]", "0.0%", "0.0%"]


def test_latex_escapes_what_is_special_and_has_one_cell_a_column(odd_table: list[Table]) -> None:
    text = render(odd_table, "latex")
    width = len(columns(odd_table[0]))
    assert f"\\begin{{tabular}}{{{'l' * width}}}" in text
    rows = [line for line in text.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert [len(re.split(r"(?<!\\)&", row)) for row in rows] == [width] * 3
    assert (
        r"a|b\_c\&d\%e\$f\#g\{h\}i\textasciitilde{}j\textasciicircum{}k\textbackslash{}l [bold]m[/x] $\dagger$" in text
    )
    for row in rows:
        bare = re.sub(r"\\[&%$#_{}]|\$\\dagger\$|\\text\w+\{\}|\\\\$", "", row)
        assert not set(bare) & set("%$#_{}~^\\†"), row
    assert text.count("\\begin{") == text.count("\\end{") == 2


def test_a_terminal_shows_names_as_they_are(odd_table: list[Table], monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(odd_table, "terminal")
    assert ODD in text
    assert "judge[/x]" in text
    named = build_tables([stored("a", rouge(0.1), task="my[red]task")], TaskRegistry())
    assert "my[red]task dev" in render(named, "terminal")


def test_csv_and_json_hold_every_figure(odd_table: list[Table]) -> None:
    first, second = sheet(render(odd_table, "csv"))[:2]
    assert (first["retriever"], second["retriever"]) == ("plain", ODD)
    assert (second["kind"], second["rank"], second["metric"], second["control"]) == (
        "measured",
        "2",
        "rouge1@lamp",
        "False",
    )
    figures = [float(second[name]) for name in ("value", "low", "high", "user_macro", "user_macro_low")]
    assert figures == [0.25, 0.24, 0.26, 0.25, 0.24]
    assert [second[name] for name in ("n", "n_total", "n_users", "k", "seed")] == ["10", "12", "5", "4", "0"]
    (table,) = json.loads(render(odd_table, "json"))["tables"]
    assert (table["task"], table["split"], table["protocol"]) == ("lamp_4", "dev", "lamp")
    assert (table["n"], table["n_total"], table["n_users"], table["metrics"]) == (10, 12, 5, ["rouge1@lamp"])
    row = table["rows"][1]
    assert (row["retriever"], row["metrics"]["rouge1@lamp"]["value"], row["rewards"]) == (
        ODD,
        0.25,
        {"judge[/x]": NOTHING | {"why": "", "n": None}},
    )
    assert row["fingerprint"] == f"fingerprint of {ODD}"


def test_controls_are_marked_in_every_format(odd_table: list[Table]) -> None:
    assert [row.control for row in odd_table[0].rows] == [True, False]
    for form in ("terminal", "markdown"):
        lines = render(odd_table, form).splitlines()
        mark = {"terminal": "plain †", "markdown": "direct †"}[form]
        assert [(mark in line) for line in lines if "12.50" in line or ODD[4:12] in line] == [True, False]
        assert {"terminal": PLUS_MINUS, "markdown": LEGEND}[form] in "\n".join(lines)
    assert "direct $\\dagger$ & 12.50" in render(odd_table, "latex")
    assert [row["control"] for row in sheet(render(odd_table, "csv"))[:2]] == ["True", "False"]
    (table,) = json.loads(render(odd_table, "json"))["tables"]
    assert [row["control"] for row in table["rows"]] == [True, False]


def test_a_figure_without_an_interval_is_shown_alone() -> None:
    alone = metric(0.5) | {"low": None, "high": None, "user_macro": {"value": 0.5, "low": None, "high": None}}
    nowhere = metric(None, macro=False)
    (table,) = tables(stored("a", {"rouge1@lamp": alone}), stored("b", {"rouge1@lamp": nowhere}))
    lines = [line for line in render([table], "markdown").splitlines() if line.startswith("|")]
    assert lines[2] == "| 1 | a | 4 | direct | direct | 0.5000 | 0.5000 | 0.0% | 0.0% |"
    assert lines[3] == "| 2 | b | 4 | direct | direct | - | - | 0.0% | 0.0% |"


def test_without_results_there_is_nothing_to_show() -> None:
    assert build_tables([]) == []
    texts = {form: render([], form) for form in FORMATS}
    assert json.loads(texts.pop("json")) == {"tables": []}
    assert sheet(texts.pop("csv")) == []
    assert texts.pop("html") == "<p>No finished results.</p>\n"
    assert set(texts.values()) == {"No finished results.\n"}


def test_published_rows_stand_beside_and_are_never_ranked() -> None:
    (table,) = tables(stored("a", {"rouge-1@prlm": metric(0.01)}))
    assert {row.protocol for row in table.reported} == {"prlm"}
    assert {row.benchmark for row in table.reported} == {"LaMP_4"}
    assert ranked(table) == ["a"]
    assert {form: "DeepSeek-R1-Distill-Qwen-1.5B" in render([table], form) for form in FORMATS} == dict.fromkeys(
        FORMATS, True
    )
    for form in ("terminal", "markdown", "latex"):
        measured, found, reported = render([table], form).partition(REPORTED)
        assert found
        assert "DeepSeek" not in measured and "MemWeaver" not in measured
        assert reported.count("MemWeaver") >= 2
    rows = sheet(render([table], "csv"))
    assert [row["kind"] for row in rows] == ["measured"] + ["reported"] * (len(rows) - 1)
    assert {(row["rank"], row["low"], row["n"], row["control"]) for row in rows[1:]} == {("", "", "", "")}


def test_no_published_row_stands_beside_synthetic_data_or_an_unknown_task() -> None:
    for task in ("mini_lamp_4", "my_own_lamp_4"):
        found = tables(stored("a", {"rouge-1@prlm": metric(0.01)}, task=task))
        assert (found[0].benchmark, found[0].reported) == ("LaMP_4", [])
        assert all("MemWeaver" not in render(found, form) for form in FORMATS)


def test_the_published_figures_of_prlm_are_there() -> None:
    (row,) = [row for row in reported_for("LaMP_4", "prlm") if row.method == "PrLM"]
    assert row.metrics == {
        "rouge-1@prlm": 0.1202,
        "rouge-2@prlm": 0.0259,
        "rouge-l@prlm": 0.1035,
        "bleu-4@prlm": 0.1469,
    }
    assert (row.split, row.source, row.model) == (
        "time/dev",
        "PrLM (arXiv 2508.07342)",
        "DeepSeek-R1-Distill-Qwen-1.5B, trained",
    )


def test_every_published_row_refers_to_what_there_is(host: PluginHost) -> None:
    book = TaskRegistry()
    tasks = [book.get(name) for name in book.names]
    known = {component.name: component.factory() for component in host.registry.all("metric")}
    assert len(all_reported()) > 90
    for row in all_reported():
        own = [task for task in tasks if task.benchmark == row.benchmark and task.split_by == row.split.split("/")[0]]
        assert own, row
        assert row.split.split("/")[1] in ("dev", "test")
        assert row.metrics
        for name, value in row.metrics.items():
            assert name in known and name in own[0].metrics, row
            assert name.endswith(f"@{row.protocol}"), row
            assert 0 < value < (1 if known[name].higher_is_better else 2), row


def test_published_rows_are_there_once() -> None:
    keys = [(row.source, row.benchmark, row.split, row.protocol, row.model, row.method) for row in all_reported()]
    assert len(keys) == len(set(keys))


#: The marks of rows that are not verified and not batch-invariant.
FORMS = dict.fromkeys(("terminal", "markdown", "html"), ("§", "¶")) | {"latex": ("\\S{}", "\\P{}")}


def test_answers_that_depend_on_the_batch_are_marked_in_every_format() -> None:
    found = tables(
        stored("method1", rouge(0.3), says=f"dtype=bfloat16; {NOT_BATCH_INVARIANT}"),
        stored("method2", rouge(0.2), says=f"model=x; {NOT_VERIFIED}"),
        stored("method3", rouge(0.1), says="dtype=float32"),
    )
    for form, marks in FORMS.items():
        text = render(found, form)
        verified, batch = marks
        (first,), (second,), (third,) = (
            [x for x in re.split("\n|<tr>", text) if name in x] for name in ("method1", "method2", "method3")
        )
        assert [batch in line for line in (first, second, third)] == [True, False, False], form
        assert [verified in line for line in (first, second, third)] == [False, True, False], form
        assert f"{batch} not batch-invariant: an answer may hang on the other prompts" in text
    rows = sheet(render(found, "csv"))[:3]
    assert [row["batch_invariant"] for row in rows] == ["False", "True", "True"]
    assert [row["verified"] for row in rows] == ["True", "False", "True"]
    (plain,) = json.loads(render(found, "json"))["tables"]
    assert [row["batch_invariant"] for row in plain["rows"]] == [False, True, True]
    assert "batch-invariant" not in render(tables(stored("method3", rouge(0.1))), "markdown")


def test_tokens_and_seconds_are_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(name: str, value: float, answers: int, **counts: Any) -> Stored:
        found = replace(stored(name, rouge(value), **counts), folder=tmp_path / name)
        found.folder.mkdir()
        (found.folder / "timing.json").write_text(f'{{"answers": {answers}, "seconds": 3.25}}')
        return found

    rows = [
        timed("half", 0.3, 4, prompt_tokens=1234, completion_tokens=56),
        timed("named", 0.2, 10, completion_tokens=56),
        stored("whole", rouge(0.1)),
    ]
    found = tables(*rows)
    shown = [["1234", "56", "3.2 of 4"], ["-", "56", "3.2"], ["-", "-", "-"]]
    assert [cells(found[0], row)[-3:] for row in found[0].rows] == shown
    assert columns(found[0])[-3:] == ["tokens in", "tokens out", "seconds"]
    for form in ("terminal", "markdown", "html", "latex"):
        text = render(found, form)
        assert ("tokens in" in text, "3.2 of 4" in text, "only N were generated" in text) == (True, True, True), form
    first, second, third = (
        [row[name] for name in ("prompt_tokens", "completion_tokens", "seconds", "timed_answers")]
        for row in sheet(render(found, "csv"))[:3]
    )
    assert first == ["1234.0", "56.0", "3.25", "4.0"]
    assert (second, third) == (["", "56.0", "3.25", "10.0"], ["", "", "", ""])
    (plain,) = json.loads(render(found, "json"))["tables"]
    assert [row["seconds"] for row in plain["rows"]] == [3.25, 3.25, None]
    assert "tokens in" not in render(tables(rows[2]), "markdown")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for width, wide in ((36, False), (300, True)):
        monkeypatch.setenv("COLUMNS", str(width))
        text = render(found, "terminal")
        titles = text.partition("───")[0]
        assert (("seconds" in titles), ("only N were generated" in " ".join(text.split()))) == (wide, wide), width


@pytest.mark.parametrize("form", ["terminal", "markdown", "html", "latex"])
def test_unreadable_and_cut_answers_are_said_below_a_table(form: str, tmp_path: Path) -> None:
    """62 % unreadable answers looked like a bad model, in every format."""
    bad = [sample(f"q{i}", f"u{i}", "", "x", parsed=None if i < 5 else "whole", finish="length") for i in range(8)]
    write_result(tmp_path, bad, retriever="chatty")
    tables = build_tables(find_results(tmp_path)[0])
    text = re.sub(r"\s+", " ", render(tables, form).replace("\\", ""))
    assert "62.5 % could not be read, 100.0 % stopped at the length limit" in text
    assert "Cut answers" in text
