"""The study of faithfulness, with generators of which it is known what their answers rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.errors import DataError
from prlm_bench.results import find_results, read_samples

#: Each cites the items at `cites` and answers with the title of the one at `rests`.
CITERS = """
from prlm_bench import Completion, hookimpl

class Citer:
    '''Cites some items and answers with the title of one.

    Args:
        cites: numbers of the cited items, counted from 1; 0 cites none.
        rests: place of the item that is answered with, -1 for the last.
    '''

    tokenizer = None

    def __init__(self, cites: list[int] = [1], rests: int = 0) -> None:
        self._cites, self._rests = cites, rests

    def fingerprint(self) -> str:
        return ""

    def generate(self, prompts):
        for index, prompt in enumerate(prompts):
            named = " ".join(f"[{number}]" for number in self._cites if number)
            title = prompt.ranking.items[self._rests].fields["title"]
            yield index, Completion(f"<think>I rely on {named}.</think>\\n" + str({"title": title}))

@hookimpl
def prlm_bench_register_generators(register):
    register("citer", Citer)
"""
WORDS = ("--task", "mini_lamp_4", "--synth-users", "20", "--results", "r", "--plugin", "citers.py")


@pytest.fixture
def study(here: Any, tmp_path: Path) -> Any:
    """`study faithfulness` with a generator, as JSON."""
    (tmp_path / "citers.py").write_text(CITERS, encoding="utf-8")

    def run(generator: str, *words: str) -> dict[str, Any]:
        done = here("study", "faithfulness", *WORDS, "--generator", generator, *words, "--json")
        assert done.status == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_an_answer_that_rests_on_what_is_cited_changes_without_it(study: Any) -> None:
    found = study("citer")
    cited, others, difference = found["rows"]
    assert (cited["n"], cited["users"]) == (60, 20)
    assert cited["answer changed"] > 0.9
    assert others["answer changed"] == 0
    assert difference["answer changed"] == pytest.approx(cited["answer changed"])
    assert 0 < difference["low"] <= difference["answer changed"] <= difference["high"]
    assert difference["loss in rouge1@lamp"] == cited["loss in rouge1@lamp"] > 0
    assert found["findings"][0].startswith("The answer rests on the cited items more than on others: changed answers")
    assert found["findings"][1].startswith("Of 60 answers 60 cite items; 0 of these are left out")


def test_an_answer_that_rests_on_another_item_does_not(study: Any) -> None:
    found = study("citer:rests=-1")
    cited, others, difference = found["rows"]
    assert cited["answer changed"] == 0
    # One of the three other items is taken away, and one of them is the last.
    assert 0.15 < others["answer changed"] < 0.55
    assert difference["high"] < 0
    assert "less than on others" in found["findings"][0]


def test_reasoning_that_cites_nothing_is_said_in_one_line(study: Any, here: Any) -> None:
    found = study("citer:cites=0")
    assert found["rows"] == []
    (line,) = found["findings"]
    assert line.startswith("Nothing to take away: none of 60 answers of cite × citer:cites=0 cites an item")
    assert len(find_results(Path("r"))[0]) == 1
    out = here("study", "faithfulness", *WORDS, "--generator", "citer:cites=0", "-o", "out").stdout
    assert out == f"{line}\n"
    assert "--reasoner cite" in study("copy", "--reasoner", "direct")["findings"][0]


def test_more_cited_than_not_leaves_nothing_to_compare(study: Any) -> None:
    (line,) = study("citer:cites=1+2+3")["findings"]
    assert line.startswith("Nothing to compare: the 60 of 60 answers")


def test_each_arm_takes_away_as_many(study: Any) -> None:
    study("citer:cites=2+4")
    by_retriever: dict[str, list[list[str]]] = {}
    for result in find_results(Path("r"))[0]:
        spec = result.manifest.method.retriever.spec
        by_retriever[spec] = [[item.id for item in sample.items] for sample in read_samples(result.folder)]
    whole = by_retriever.pop("bm25")
    assert len(by_retriever) == 2
    assert all(spec.startswith("only:kept=") for spec in by_retriever)
    for arm in by_retriever.values():
        for kept, items in zip(arm, whole, strict=True):
            assert len(kept) == 2
            assert [identifier for identifier in items if identifier in kept] == kept
    cited = [[items[1], items[3]] for items in whole]
    sides = [
        [bool(set(kept) & set(named)) for kept, named in zip(arm, cited, strict=True)] for arm in by_retriever.values()
    ]
    assert sorted(map(set, sides), key=str) == [{False}, {True}]


def test_it_goes_on_where_it_stopped_and_writes_its_figure(study: Any, here: Any) -> None:
    pytest.importorskip("matplotlib")
    first = study("citer")
    before = {path: path.stat().st_mtime_ns for path in Path("r").rglob("samples.jsonl")}
    assert len(before) == 3
    assert study("citer", "-o", "out") == first
    assert {path: path.stat().st_mtime_ns for path in Path("r").rglob("samples.jsonl")} == before
    assert {path.name for path in Path("out").iterdir()} == {
        f"faithfulness.{form}" for form in ("csv", "json", "png", "svg")
    }


def test_lists_that_are_gone_or_damaged_are_said_to_be(study: Any, here: Any) -> None:
    run = ("run", "--task", "mini_lamp_4", "--synth-users", 20, "--generator", "copy", "--results", "r2")
    assert "there are no kept items 0123456789abcdef" in here(*run, "--retriever", "only:kept=0123456789abcdef").mistake
    assert "is not a digest of kept items" in here(*run, "--retriever", "only:kept=x").mistake


def test_kept_lists_are_named_by_their_content(tmp_path: Path) -> None:
    from prlm_bench_plugins.studies._kept_items import read_kept, write_kept

    name = write_kept(tmp_path, {"b": ["1"], "a": ["2", "3"]})
    assert write_kept(tmp_path, {"a": ["2", "3"], "b": ["1"]}) == name
    assert write_kept(tmp_path, {"a": ["3", "2"], "b": ["1"]}) != name
    assert read_kept(tmp_path, name) == {"a": ["2", "3"], "b": ["1"]}
    (tmp_path / "studies" / f"kept-{name}.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        read_kept(tmp_path, name)
