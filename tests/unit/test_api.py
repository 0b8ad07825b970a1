"""The Python API: what a notebook user does, and the promises it makes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import prlm_bench as pb
from prlm_bench.interfaces import Context

SMALL: dict[str, Any] = {"tasks": "mini_lamp_7", "synth_users": 4, "generators": "copy"}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "api-cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results() -> pb.Results:
    return pb.run(**SMALL, retrievers=["bm25", "random"], k=[1, 4])


class Longest:
    """The longest items first."""

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign

    def rank(self, examples: Sequence[pb.Example], k: int | None = None) -> list[pb.Ranking]:
        return [pb.by_score(e.profile, [self.sign * len(item.text) for item in e.profile], k) for e in examples]


class Shouts:
    """A generator that repeats the prompt in capitals."""

    tokenizer = None

    def generate(self, prompts: Sequence[pb.Prompt]) -> Iterator[tuple[int, pb.Completion]]:
        for index, prompt in enumerate(prompts):
            yield index, pb.Completion(prompt.example.input.upper(), is_answer=True)


class Broken(Longest):
    def rank(self, examples: Sequence[pb.Example], k: int | None = None) -> list[pb.Ranking]:
        raise RuntimeError("no index")


class TestRun:
    def test_it_returns_the_rows_of_the_grid_with_their_controls(self, results: pb.Results) -> None:
        specs = {(r.manifest.method.retriever.spec, r.manifest.method.k) for r in results}
        assert {("bm25", 1), ("bm25", 4), ("random", 4), ("none", 0)} <= specs
        assert Path("prlm-results").is_dir()
        assert results.outcome is not None and not results.outcome.failed

    def test_a_second_call_runs_nothing(self, results: pb.Results) -> None:
        again = pb.run(**SMALL, retrievers=["bm25", "random"], k=[1, 4])
        assert again.outcome is not None and results.outcome is not None
        assert (again.outcome.finished, len(again.outcome.already)) == ([], len(results))
        assert repr(again) == repr(results)

    def test_it_prints_nothing_unless_asked(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            pb.run(**SMALL, retrievers="bm25", controls=False, results="quiet")
        assert (out.getvalue(), err.getvalue()) == ("", "")
        with redirect_stdout(out), redirect_stderr(err):
            pb.run(**SMALL, retrievers="bm25", controls=False, results="loud", progress=True)
        assert out.getvalue() == "" and "mini_lamp_7 dev" in err.getvalue()

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"tasks": "mini_lamp_9"}, "unknown task 'mini_lamp_9'"),
            ({"retrievers": "bm52"}, "unknown retriever 'bm52'.*bm25"),
            ({"retrievers": "bm25:k2=1"}, "has no option 'k2'"),
            ({"retrievers": "bm25", "k": -1}, "k: k must be 0 or more"),
            ({"retrievers": "bm25", "limits": 3}, "limits"),
            ({"retrievers": object()}, "object is not a retriever: it has no rank"),
            ({}, "nothing to run"),
        ],
    )
    def test_mistakes_are_errors_of_ours(self, wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(pb.PrlmBenchError, match=message):
            pb.run(**{**SMALL, "generators": "copy" if wrong else (), **wrong})

    def test_a_method_that_fails_is_in_the_outcome(self) -> None:
        found = pb.run(**SMALL, retrievers=[Broken(), "bm25"], k=1, controls=False)
        assert found.outcome is not None
        ((_, reason),) = found.outcome.failed
        assert "Broken" in reason and "RuntimeError: no index" in reason
        assert [row.manifest.method.retriever.spec for row in found] == ["bm25"]


class TestObjects:
    def test_a_class_and_an_object_are_components(self) -> None:
        found = pb.run(**SMALL, retrievers=[Longest, Longest(-1)], k=1, controls=False)
        assert {r.manifest.method.retriever.spec for r in found} == {"Longest", "Longest:sign=-1"}
        answers = [[s.answer for s in found.samples(r.manifest.fingerprint)] for r in found]
        assert answers[0] != answers[1]

    def test_the_state_of_an_object_is_part_of_what_a_row_is(self) -> None:
        first = pb.run(**SMALL, retrievers=Longest(1), k=1, controls=False)
        second = pb.run(**SMALL, retrievers=Longest(2), k=1, controls=False)
        again = pb.run(**SMALL, retrievers=Longest(1), k=1, controls=False)
        assert first.rows[0].manifest.fingerprint == again.rows[0].manifest.fingerprint
        assert first.rows[0].manifest.fingerprint != second.rows[0].manifest.fingerprint
        assert again.outcome is not None and len(again.outcome.already) == 1

    def test_a_generator_too_and_it_scores(self) -> None:
        found = pb.run(tasks="mini_lamp_7", synth_users=4, retrievers="bm25", generators=Shouts())
        shouts = found.filter(generator="Shouts", retriever="bm25")
        assert len(shouts) == 1
        assert all(s.answer.isupper() for s in found.samples("bm25+Shouts"))

    def test_a_factory_receives_the_context(self) -> None:
        def last(context: Context) -> Longest:
            assert context.task.name == "mini_lamp_7"
            return Longest(-1)

        assert len(pb.run(**SMALL, retrievers=[last], k=1, controls=False)) == 1

    def test_objects_do_not_leave_this_process(self) -> None:
        with pytest.raises(pb.RunError, match="components given as objects run in this process only"):
            pb.run(**SMALL, retrievers=Longest(), k=1, jobs=2)

    def test_worker_processes_give_the_same_rows(self) -> None:
        alone = pb.run(**SMALL, retrievers="bm25", k=1, controls=False, results="alone")
        together = pb.run(**SMALL, retrievers="bm25", k=1, controls=False, results="together", jobs=2)
        hashes = [[row.summary.samples_sha256 for row in found] for found in (alone, together)]
        assert hashes[0] == hashes[1]


class TestResults:
    def test_it_is_a_table_in_a_terminal_and_in_a_notebook(self, results: pb.Results) -> None:
        text = repr(results)
        assert "mini_lamp_7 dev, lamp protocol" in text and "bm25" in text
        html = results._repr_html_()
        assert html.count("<table") == len(results.tables()) and "<script" not in html
        assert repr(pb.load_results().filter(task="no")) == "No finished results.\n"

    def test_filter(self, results: pb.Results) -> None:
        assert {r.manifest.method.retriever.spec for r in results.filter(retriever="bm25")} == {"bm25"}
        assert len(results.filter(task="mini_lamp_7", split="dev", seed=0)) == len(results)
        assert len(results.filter(task=["mini_lamp_1"])) == 0
        assert len(results.filter(generator="copy", reasoner="direct", retriever="random")) == 2

    def test_load_results_reads_what_run_wrote(self, results: pb.Results) -> None:
        assert {r.folder for r in pb.load_results()} == {r.folder for r in results}
        with pytest.raises(pb.DataError, match="no results folder"):
            pb.load_results("nowhere")

    def test_tables_of_figures_and_samples(self, results: pb.Results) -> None:
        table = results.to_arrow()
        assert {"task", "retriever", "k", "seed", "metric", "value", "low", "high", "n", "users"} <= set(
            table.column_names
        )
        assert table.num_rows == sum(len(r.summary.metrics) for r in results)
        samples = results.samples("bm25+k=4+copy")
        assert (len(samples), samples.to_arrow().num_rows) == (12, 12)
        assert "rouge1@lamp" in samples.to_arrow().column_names
        with pytest.raises(pb.DataError, match="matches 2 results"):
            results.samples("bm25+copy")
        with pytest.raises(pb.UnknownNameError, match="unknown result 'dense'"):
            results.samples("dense")

    def test_pandas_where_it_is_installed(self, results: pb.Results) -> None:
        pytest.importorskip("pandas")
        assert list(results.to_pandas()["task"].unique()) == ["mini_lamp_7"]
        assert len(results.samples("bm25+k=1+copy").to_pandas()) == 12

    def test_findings(self, results: pb.Results) -> None:
        assert {finding.check for finding in results.findings()} >= {"retrieval"}


class TestCompare:
    def test_it_compares_with_a_baseline(self, results: pb.Results) -> None:
        found = pb.compare(results, baseline="random+k=1+copy")
        assert len(found) == 2 * (len(results) - 1)
        assert all(row.baseline.startswith("random") for row in found)
        assert "p (holm)" in repr(found) and "<pre>" in found._repr_html_()
        assert found.to_arrow().num_rows == len(found)

    def test_two_methods_of_a_folder(self, results: pb.Results) -> None:
        (first, _) = pb.compare("prlm-results", ["bm25+k=1+copy", "echo"])
        assert first.baseline.endswith("echo")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "0 results are given"),
            ({"baseline": "nobody"}, "unknown result"),
            ({"baseline": "echo", "correction": "bonferroni"}, "unknown correction"),
            ({"baseline": "echo", "metrics": ["rouge9"]}, "unknown metric"),
        ],
    )
    def test_mistakes(self, results: pb.Results, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(pb.PrlmBenchError, match=message):
            pb.compare(results, **arguments)


GOLDS = {"a": "one two", "b": "three"}


class TestScore:
    def test_mappings(self) -> None:
        scores = pb.score({"a": "one two", "b": "four"}, GOLDS, task="lamp_7", users={"a": "u", "b": "v"})
        assert (scores.n, scores.n_users, scores["rouge1@lamp"].value) == (2, 2, 0.5)
        assert "rouge1@lamp" in repr(scores)

    def test_files(self, tmp_path: Path) -> None:
        file = tmp_path / "golds.json"
        file.write_text('{"task": "LaMP_7", "golds": [{"id": "a", "output": "x"}]}')
        assert pb.score(file, str(file), task="lamp_7", metrics=["rouge1@lamp"])["rouge1@lamp"].value == 1.0

    def test_ids_must_agree(self) -> None:
        with pytest.raises(pb.DataError, match="predictions: 1 of 2 golds have no prediction, the first is 'b'"):
            pb.score({"a": "x"}, GOLDS, task="lamp_7")
        with pytest.raises(pb.DataError, match="users: 1 of 2 questions are missing, the first is 'b'"):
            pb.score(GOLDS, GOLDS, task="lamp_7", users={"a": "u"})


class TestSession:
    def test_step_by_step_it_gives_what_a_run_gives(self) -> None:
        with pb.Session("mini_lamp_7", synth_users=4) as session:
            rankings = session.rank("bm25", k=4)
            prompts = session.prompts("bm25", k=4)
            samples = session.generate(prompts, "copy")
            scores = session.score(samples)
        assert [r.items for r in rankings] == [p.ranking.items for p in prompts]
        (row,) = pb.run(**SMALL, retrievers="bm25", k=4, controls=False)
        assert row.summary.metrics["rouge1@lamp"] == scores["rouge1@lamp"]
        assert [s.answer.text for s in samples] == [s.answer for s in pb.load_results().samples("bm25")]

    def test_components_and_objects(self) -> None:
        session = pb.Session("mini_lamp_7", synth_users=4, limit=3)
        assert (len(session), len(session.examples()), len(session.rank(Longest()))) == (3, 3, 3)
        assert all(s.answer.text.isupper() for s in session.generate(session.prompts(Longest, k=1), Shouts()))
        assert repr(session) == "Session('mini_lamp_7', split='dev', 3 questions)"
        session.close()
        assert len(session.rank("bm25")) == 3

    def test_mistakes(self) -> None:
        with pytest.raises(pb.UnknownNameError, match="unknown task"):
            pb.Session("lamp_77")
        session = pb.Session("mini_lamp_7", synth_users=4)
        with pytest.raises(pb.UnknownNameError, match="unknown retriever 'bm52'"):
            session.rank("bm52")
        with pytest.raises(pb.RunError, match="calls a generator while it shapes prompts"):
            session.prompts("bm25", reasoner="summary")


def test_every_public_name_is_there() -> None:
    for name in pb.__all__:
        assert getattr(pb, name).__doc__
