"""What methods gain over their controls, and the overview of several tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

from prlm_bench.host import PluginHost
from prlm_bench.report import SeedAggregation, Table, build_tables
from prlm_bench.report._gains import Gains, gains_of, reads_labels
from prlm_bench.report._overview import Board, make_board
from prlm_bench.results import find_results

HOST = PluginHost()


def answers(right: int, n: int = 40, prefix: str = "") -> list[dict[str, Any]]:
    """A question of each of n users, of which the first `right` are answered rightly."""
    return [sample(f"{prefix}q{i}", f"u{i}", "same" if i < right else "other", "same") for i in range(n)]


def tables_in(root: Path) -> list[Table]:
    return build_tables(find_results(root)[0], HOST.tasks, SeedAggregation(HOST))


def rows_of(root: Path, n: int = 40, task: str = "lamp_4", **right: int) -> None:
    """A row of the generator `model` for each retriever; those that are controls are marked so."""
    for name, count in right.items():
        retriever = name.replace("_", "-")
        control = HOST.registry.get("retriever", retriever).control
        k = 0 if retriever == "none" else 4
        write_result(root, answers(count, n), task=task, retriever=retriever, k=k, generator="model", control=control)


def gains_by_retriever(root: Path, host: PluginHost | None = HOST) -> dict[str, Gains | None]:
    (table,) = tables_in(root)
    return {f"{r.retriever}+{r.generator}": g for r, g in zip(table.rows, gains_of(table, host), strict=True)}


def verdict(found: Gains | None) -> str:
    assert found is not None
    return found.verdict


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ({"bm25": 36, "random": 14, "other_user": 5, "none": 3}, "all"),
        ({"bm25": 36, "random": 35, "other_user": 5, "none": 3}, "others"),
        ({"bm25": 20, "random": 19, "other_user": 20, "none": 19}, "none"),
        ({"bm25": 3, "random": 2, "other_user": 5, "none": 36}, "worse"),
    ],
)
def test_what_a_method_is_shown_to_beat(tmp_path: Path, right: dict[str, int], expected: str) -> None:
    rows_of(tmp_path, **right)
    found = gains_by_retriever(tmp_path)
    assert verdict(found["bm25+model"]) == expected
    assert [found[f"{name}+model"] for name in ("random", "other-user", "none")] == [None] * 3
    gains = found["bm25+model"]
    assert gains is not None and gains.over_others is not None
    best = max((name for name in right if name != "bm25"), key=lambda name: right[name])
    assert gains.over_all.control.retriever == best.replace("_", "-")
    assert gains.over_all.difference == pytest.approx((right["bm25"] - right[best]) / 40)


def test_controls_of_another_model_are_no_bar_but_control_generators_are(tmp_path: Path) -> None:
    rows_of(tmp_path, bm25=30, none=3)
    write_result(tmp_path, answers(40), retriever="random", generator="strong", control=True)
    write_result(tmp_path, answers(38), retriever="bm25", generator="strong")
    over = gains_by_retriever(tmp_path)["bm25+model"]
    assert over is not None and over.over_all.control.retriever == "none"
    write_result(tmp_path, answers(33), retriever="bm25", k=1, generator="copy", control=True)
    over = gains_by_retriever(tmp_path)["bm25+model"]
    assert over is not None and (over.over_all.control.generator, over.verdict) == ("copy", "others")


def test_what_reads_the_relevant_items_is_an_upper_bound(tmp_path: Path) -> None:
    rows_of(tmp_path, bm25=30, none=3)
    write_result(tmp_path, answers(40), retriever="oracle", k=1, generator="copy", control=True)
    assert verdict(gains_by_retriever(tmp_path)["bm25+model"]) == "all"
    (table,) = tables_in(tmp_path)
    assert [row.retriever for row in table.rows if reads_labels(row, HOST)] == ["oracle"]
    # Without the components it cannot be known, and the strictest bar counts.
    assert verdict(gains_by_retriever(tmp_path, None)["bm25+model"]) == "others"


def test_where_less_is_better_a_gain_is_positive(tmp_path: Path) -> None:
    def ratings(wrong: int) -> list[dict[str, Any]]:
        return [sample(f"q{i}", f"u{i}", "1" if i < wrong else "5", "5") for i in range(40)]

    write_result(tmp_path, ratings(4), task="lamp_3", generator="model", metrics=["mae@lamp"])
    write_result(
        tmp_path,
        ratings(30),
        task="lamp_3",
        retriever="none",
        k=0,
        generator="model",
        metrics=["mae@lamp"],
        control=True,
    )
    found = gains_by_retriever(tmp_path)["bm25+model"]
    assert found is not None
    assert (found.verdict, found.over_all.difference) == ("all", pytest.approx(26 * 4 / 40))


def test_without_samples_or_users_nothing_is_said(tmp_path: Path) -> None:
    rows_of(tmp_path / "few", n=3, bm25=3, none=0)
    assert set(gains_by_retriever(tmp_path / "few").values()) == {None}
    rows_of(tmp_path / "bare", bm25=36, none=3)
    for file in (tmp_path / "bare").rglob("samples.jsonl"):
        file.unlink()
    assert set(gains_by_retriever(tmp_path / "bare").values()) == {None}
    rows_of(tmp_path / "alone", bm25=36)
    assert set(gains_by_retriever(tmp_path / "alone").values()) == {None}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """lamp_4: nothing is learnt; lamp_5: items are used; lamp_7: a method beats all; and one method was run once."""
    root = tmp_path_factory.mktemp("board")
    rows_of(root, task="lamp_4", bm25=20, recency=20, random=20, none=19)
    rows_of(root, task="lamp_5", bm25=36, recency=38, random=35, none=2)
    rows_of(root, task="lamp_7", bm25=39, recency=20, random=20, none=2)
    write_result(root, answers(40), task="lamp_7", generator="once")
    return make_board(tables_in(root), HOST)


def test_tables_where_nothing_is_learnt_come_last(board: Board) -> None:
    assert [table.task for table in board.tables] == ["lamp_7", "lamp_5", "lamp_4"]
    assert [board.learnt(at) for at in range(3)] == [True, True, False]


def test_a_method_is_one_row_with_its_mean_rank_and_wins(board: Board) -> None:
    (overview,) = board.overviews
    assert [table.task for table in overview.tables] == ["lamp_4", "lamp_5", "lamp_7"]
    lines = {f"{line.row.retriever}+{line.row.generator}": line for line in overview.methods}
    assert list(lines)[-1] == "bm25+once"  # after all that were run on every task
    # 2 of three equal ones in the first table, 2 in the second, 2 in the third, after `once`.
    assert lines["bm25+model"].mean_rank == pytest.approx((2 + 2 + 2) / 3)
    assert lines["recency+model"].mean_rank == pytest.approx((2 + 1 + 3.5) / 3)
    counted = {name: (line.beats_all, line.beats_others, line.compared) for name, line in lines.items()}
    assert counted["bm25+model"] == (1, 2, 3)
    assert counted["recency+model"] == (0, 2, 3)
    assert counted["none+model"] == (0, 0, 0)
    assert lines["bm25+once"].places[0] is None
    assert len(lines["bm25+once"].known) == 1


def test_one_table_has_no_overview(tmp_path: Path) -> None:
    rows_of(tmp_path, bm25=20, none=19)
    assert make_board(tables_in(tmp_path), HOST).overviews == ()
    assert make_board([], HOST) == Board((), (), ())


def test_seeds_that_cannot_be_averaged_have_their_mean_and_not_the_best(tmp_path: Path) -> None:
    """Rows without samples; the best of several seeds would be a method that nobody can choose."""
    for task in ("lamp_4", "lamp_5"):
        rows_of(tmp_path, task=task, none=10)
        for seed, right in enumerate((30, 20, 4)):
            write_result(tmp_path, answers(right), task=task, generator="model", seed=seed)
    for file in tmp_path.rglob("samples.jsonl"):
        file.unlink()
    (overview,) = make_board(tables_in(tmp_path), HOST).overviews
    (line,) = [line for line in overview.methods if line.row.retriever == "bm25"]
    assert [place.figure.value for place in line.known if place.figure] == [pytest.approx(18 / 40)] * 2
    assert line.mean_rank == pytest.approx((1 + 2 + 4) / 3)
