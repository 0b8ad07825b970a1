"""Tables for a paper: what is bold, what is marked, what the caption says, and that LaTeX takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

import prlm_bench as pb
from prlm_bench.errors import DataError, UnknownNameError
from prlm_bench.report._paper import split_name
from prlm_bench.results import find_results

GOLD = "the cat sat on the mat today"
ODD = '[Ours]* -- a_b & 100% #{x} $y^2~\\z "q" `b` <c>|d| λ é 日本'


def write(root: Path, retriever: str, right: int, seed: int = 0, users: int = 24, **changes: Any) -> Path:
    """A row whose first `right` answers are the references; the others share some words with them."""
    answers = [GOLD if at < right else "the cat" if at % 2 else "a dog" for at in range(users)]
    samples = [
        sample(f"q{at}", f"u{at}", answer, GOLD, completion_tokens=4, generator_prompt_tokens=10)
        for at, answer in enumerate(answers)
    ]
    metrics = ("rouge1@lamp", "rougeL@lamp", "rouge-1@prlm")
    folder: Path = write_result(root, samples, retriever=retriever, metrics=metrics, seed=seed, **changes)
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, right in (("best", 22), ("middle", 10), ("worst", 0)):
        write(tmp_path, name, right)
    return tmp_path


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_best_is_bold_and_marks_are_those_of_compare(results: Path) -> None:
    lamp, prlm = pb.paper_tables(results, baseline="middle", names={"best": "Ours"})
    assert (lamp.table.protocol, prlm.table.protocol) == ("lamp", "prlm")
    assert [row.name for row in lamp.rows] == ["Ours", "middle", "worst"]
    wanted = pb.compare(results, baseline="middle", metrics=["rouge1@lamp", "rougeL@lamp"])
    found = {(row.row.retriever, name): each for row in lamp.rows for name, each in row.against.items()}
    assert len(found) == len(wanted) == 4
    for each in wanted:
        mine = found[each.method.split(" ")[0], each.metric]
        assert mine.p_corrected == each.p_corrected < 0.05
        assert mine.difference == each.difference
    head, _, ours, middle, worst = cells(lamp.markdown())
    assert head == ["Method", "ROUGE-1 ↑", "ROUGE-L ↑", "Tokens in", "Tokens out", "Seconds"]
    assert re.fullmatch(r"\*\*0\.\d{4}\*\*\\\* \[0\.\d{3}, (0|1)\.\d{3}\]", ours[1]), ours
    assert re.fullmatch(r"0\.\d{4} \[.+\]", middle[1])
    assert re.fullmatch(r"0\.\d{4}° \[.+\]", worst[1])
    assert ours[3:] == ["240", "96", "-"]
    assert "**" not in "".join(middle + worst)


def test_a_difference_that_is_not_shown_has_no_mark(tmp_path: Path) -> None:
    write(tmp_path, "one", 10)
    write(tmp_path, "two", 11)
    (table,) = pb.paper_tables(tmp_path, baseline="one", metrics=["rouge1@lamp"])
    assert [(row.row.retriever, row.mark("rouge1@lamp"), len(row.best)) for row in table.rows] == [
        ("two", "", 1),
        ("one", "", 0),
    ]


def test_holm_counts_all_comparisons_of_the_table(results: Path) -> None:
    (one,) = pb.paper_tables(results, ["best"], baseline="middle", metrics=["rouge1@lamp"])
    many, _ = pb.paper_tables(results, baseline="middle")
    alone, among = (
        {row.row.retriever: row.against for row in table.rows}["best"]["rouge1@lamp"] for table in (one, many)
    )
    assert alone.p_corrected == alone.difference.p == among.difference.p
    assert among.p_corrected > alone.p_corrected
    assert "Holm's correction over the 4 comparisons with it; paired sign-flip test over users." in many.caption
    assert "Holm's correction; paired sign-flip test over users." in one.caption


def test_for_errors_the_lowest_is_the_best(tmp_path: Path) -> None:
    for name, answer in (("near", "4"), ("far", "1")):
        samples = [sample(f"q{at}", f"u{at}", answer, "5") for at in range(20)]
        write_result(tmp_path, samples, task="lamp_3", retriever=name, metrics=["mae@lamp"])
    (table,) = pb.paper_tables(tmp_path, baseline="near")
    assert [(row.row.retriever, [*row.best], row.mark("mae@lamp")) for row in table.rows] == [
        ("near", ["mae@lamp"], ""),
        ("far", [], "°"),
    ]
    assert cells(table.markdown())[0] == ["Method", "MAE ↓"]


def test_rows_stand_as_they_are_given_and_the_baseline_with_them(results: Path) -> None:
    lamp, _ = pb.paper_tables(results, ["worst", "best"], baseline="middle")
    assert [row.row.retriever for row in lamp.rows] == ["middle", "worst", "best"]
    lamp, _ = pb.paper_tables(results, ["worst", "middle"], baseline="middle")
    assert [row.row.retriever for row in lamp.rows] == ["worst", "middle"]
    assert lamp.baseline == "middle"
    lamp, _ = pb.paper_tables(results, "worst")
    assert [row.row.retriever for row in lamp.rows] == ["worst"]
    assert lamp.rows[0].best == frozenset(), "the best of one is no news"
    assert "better (worse)" not in lamp.caption


def test_the_caption_states_what_the_figures_need(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write(tmp_path, "trained", 20 + seed, seed)
        write(tmp_path, "base", 5, seed, n_total=30)
    lamp, _ = pb.paper_tables(tmp_path, baseline="base", names={"base": "Base"})
    for part in (
        "Personalized news headline generation, lamp_4 dev split: n = 24",
        "24 users, lamp protocol.",
        "Rows with several seeds are means over 3 seeds.",
        "Brackets: 95 % interval over users, and over users and seeds where a row has several.",
        "* (°): better (worse) than Base, p < 0.05",
        "paired t test over users and trainings, on these 3 trainings.",
        "In a row, at most 0.0 % of the answers could not be read",
        "Tokens in, tokens out:",
        f"prlm-bench {pb.__version__}.",
    ):
        assert part in lamp.caption


def test_several_tasks_have_a_table_each(results: Path) -> None:
    write(results, "best", 3, task="lamp_5")
    found = pb.paper_tables(results, ["best", "middle"], baseline="middle", protocol="lamp")
    assert [(table.table.task, len(table.rows), table.baseline is None) for table in found] == [
        ("lamp_4", 2, False),
        ("lamp_5", 1, True),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rows": ["nobody"]}, "unknown result 'nobody'"),
        ({"names": {"nobody": "x"}}, "unknown result 'nobody'"),
        ({"baseline": "nobody"}, "unknown result 'nobody'"),
        ({"rows": ["copy"]}, "'copy' matches 3 results"),
        ({"metrics": ["rouge9@lamp"]}, "unknown metric 'rouge9@lamp'"),
    ],
)
def test_mistakes(results: Path, arguments: Any, said: str) -> None:
    with pytest.raises((UnknownNameError, DataError), match=re.escape(said)):
        pb.paper_tables(results, **arguments)


def test_what_is_before_the_name_may_hold_the_sign(results: Path) -> None:
    stored = find_results(results)[0]
    assert split_name("best+k=4=Ours", [], stored) == ("best+k=4", "Ours")
    assert split_name("best+k=4=Ours (k=4)", [], stored) == ("best+k=4", "Ours (k=4)")
    assert split_name("best=k=4", ["best"], stored) == ("best", "k=4")
    assert split_name("nobody=x", [], stored) == ("nobody", "x")
    with pytest.raises(DataError, match="names no row"):
        split_name("Ours", [], stored)


def test_the_command_line_makes_the_same_table(results: Path, here: Any) -> None:
    given = ("leaderboard", "--results", results, "--format", "markdown", "--rows", "best", "worst", "--baseline")
    ended = here(*given, "middle", "--name", "best=Ours", "--metric", "rouge1@lamp")
    assert (ended.status, ended.stderr) == (0, "")
    (table,) = pb.paper_tables(
        results, ["best", "worst"], names={"best": "Ours"}, baseline="middle", metrics=["rouge1@lamp"]
    )
    assert ended.stdout == table.render("markdown") == repr(table) == table._repr_markdown_()
    mistake = here("leaderboard", "--results", results, "--rows", "best").mistake
    assert mistake.endswith("(--format latex or markdown)")
    with pytest.raises(UnknownNameError, match="unknown format 'csv'"):
        table.render("csv")


def test_latex_has_its_cells_and_nothing_bare(results: Path) -> None:
    lamp, _ = pb.paper_tables(results, baseline="middle", names={"best": ODD, "worst": ""})
    lines = lamp.latex().splitlines()
    rows = lines[lines.index("\\midrule") + 1 : lines.index("\\bottomrule")]
    assert len(rows) == 6
    for row in rows:
        assert len(re.split(r"(?<!\\)&", row)) == 6
    assert rows[0].startswith("{}[Ours]* -{}- a\\_b \\& 100\\% \\#\\{x\\} \\$y\\textasciicircum{}2\\textasciitilde{}")
    assert "$\\lambda$ é [U+65E5][U+672C] & \\textbf{" in rows[0]
    text = re.sub(r"\\[&%$#_{}]", "", "\n".join(lines[1:]))
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (Debian: texlive-latex-recommended)")
def test_pdflatex_takes_it(results: Path, tmp_path: Path) -> None:
    odd = {"best": ODD, "worst": "".join(map(chr, range(0x20, 0x250))), "middle": "[x]"}
    tables = pb.paper_tables(results, baseline="middle", names=odd)
    body = "\n".join(table.latex() for table in tables) + pb.load_results(results).render("latex")
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "page.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert ended.returncode == 0, ended.stdout.decode("latin-1")[-2000:]
