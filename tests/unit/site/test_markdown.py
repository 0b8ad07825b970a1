"""The leaderboard as one Markdown page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

from prlm_bench.errors import DataError
from prlm_bench.host import PluginHost
from prlm_bench.report import SeedAggregation, Table, build_tables
from prlm_bench.results import find_results
from prlm_bench.site import Picture, find_pictures, write_markdown

HOST = PluginHost()
NASTY = "a|b `c` <img src=x onerror=alert(1)> [d](javascript:e)\n# f"


def answers(right: int, n: int = 40, **fields: Any) -> list[dict[str, Any]]:
    return [sample(f"q{i}", f"u{i}", "same" if i < right else "other", "same", **fields) for i in range(n)]


def tables_in(root: Path) -> list[Table]:
    return build_tables(find_results(root)[0], HOST.tasks, SeedAggregation(HOST))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two tasks: nothing is learnt in the first; and a study."""
    root = tmp_path / "results"
    for task, right in (("lamp_4", 20), ("lamp_7", 38)):
        write_result(
            root, answers(right, finish="length"), task=task, generator="model", metrics=["rouge1@lamp", "bleu@lamp"]
        )
        write_result(root, answers(19), task=task, retriever="none", k=0, generator="model", control=True,
                     metrics=["rouge1@lamp", "bleu@lamp"])  # fmt: skip
    (root / "studies").mkdir()
    (root / "studies" / "k.png").write_bytes(b"picture")
    (root / "studies" / "k.json").write_text('{"title": "over k", "rows": []}')
    return root


def page_of(results: Path, file: Path) -> str:
    write_markdown(tables_in(results), HOST, file, find_pictures(results))
    return file.read_text(encoding="utf-8")


def test_it_opens_with_the_overview_and_ends_where_nothing_was_learnt(results: Path) -> None:
    page = page_of(results, results / "README.md")
    order = ["# Leaderboard", "## Overview", "## How to read", "## Pictures", "## Tables", "lamp_7 dev", "lamp_4 dev"]
    places = [re.search(rf"^(### <a .*</a>)?{re.escape(words)}", page, re.MULTILINE) for words in order]
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert all(places)
    assert page.count("How to read the tables") == 1
    assert page.count("Cut answers: ") == 1
    assert page.index("No method is shown to use its user's items here") > page.index("lamp_4 dev")
    assert "| bm25 | 1.0 | 1 of 2 | 1 of 2 | 0.500 | 0.950 ▲ |" in page
    assert "![over k](studies/k.png)" in page


def test_every_link_to_a_table_leads_to_it(results: Path) -> None:
    page = page_of(results, results / "README.md")
    links = re.findall(r"\]\(#([^)]+)\)", page)
    assert len(links) == 2
    assert set(links) == set(re.findall(r'<a id="([^"]+)">', page))


def test_main_tables_are_narrow_and_say_what_failed(results: Path) -> None:
    page = page_of(results, results / "README.md")
    heads = "#|method|rouge1@lamp ↑|over controls|group|parse failures|cut answers|cut prompts|bleu@lamp ↑"
    assert f"| {heads.replace('|', ' | ')} |" in page
    assert re.search(r"\| 1 \| bm25 \| 0\.9500 \[[^]]+\] \| \+0\.475 ▲ \| A \| 0\.0% \| 100\.0% \| 0\.0% \|", page)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(line.count(" | ") < 12 for line in rows)


def test_an_introduction_stays_and_other_files_are_not_touched(results: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("# Mine\n\nWords.\n\n<!-- leaderboard -->\nearlier page\n")
    page = page_of(results, file)
    assert page.startswith("# Mine\n\nWords.\n\n<!-- leaderboard -->\n\n## Overview")
    assert "earlier page" not in page
    assert "](results/studies/k.png)" in page
    assert page_of(results, file) == page
    file.write_text("# Mine\n")
    with pytest.raises(DataError, match="has no line <!-- leaderboard -->"):
        page_of(results, file)
    assert file.read_text() == "# Mine\n"


def test_names_from_data_are_neither_html_nor_cells(tmp_path: Path) -> None:
    for task in ("lamp_4", NASTY):
        write_result(tmp_path / "r", answers(3), retriever=NASTY, generator="model", task=task, split=NASTY)
        write_result(tmp_path / "r", answers(4), retriever="none", k=0, generator=NASTY, task=task, split=NASTY)
    file = tmp_path / "page.md"
    write_markdown(tables_in(tmp_path / "r"), HOST, file, [Picture(tmp_path / "a b.png", NASTY)])
    page = file.read_text(encoding="utf-8")
    assert "<img" not in page and "](javascript" not in page and "\n# f" not in page
    assert "(a%20b.png)" in page
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_seeds_that_are_rows_of_their_own_say_so(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = write_result(tmp_path / "r", answers(3 + seed), seed=seed)
        (folder / "samples.jsonl").unlink()
    file = tmp_path / "page.md"
    write_markdown(tables_in(tmp_path / "r"), HOST, file)
    assert "bm25 · direct · copy, seed 1 |" in file.read_text(encoding="utf-8")


def test_without_results_it_says_so(tmp_path: Path) -> None:
    write_markdown([], HOST, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().endswith("<!-- leaderboard -->\n\nNo finished results.\n")


def test_pictures_need_a_title_and_a_plain_file(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    for name, title in (("good", '{"title": "Good"}'), ("list", "[]"), ("broken", "{"), ("number", '{"title": 1}')):
        (studies / f"{name}.png").write_bytes(b"")
        (studies / f"{name}.json").write_text(title)
    (studies / "alone.png").write_bytes(b"")
    (studies / "link.json").write_text('{"title": "Link"}')
    (studies / "link.png").symlink_to(studies / "good.png")
    assert [(picture.file, picture.title) for picture in find_pictures(tmp_path)] == [("good.png", "Good")]
    assert find_pictures(tmp_path / "nowhere") == []


def test_the_command_writes_either_or_both(results: Path, here: Callable[..., Any]) -> None:
    assert here("site", "--results", "results", "--markdown", "page.md").stdout == "page.md\n"
    assert (
        here("site", "--results", "results", "--markdown", "page.md", "--output", "s").stdout
        == "s/index.html\npage.md\n"
    )
    assert 'src="pictures/k.png"' in (results.parent / "s" / "index.html").read_text()
    assert (results.parent / "s" / "pictures" / "k.png").read_bytes() == b"picture"
    ended = here("site", "--results", "results")
    assert ended.status == 2 and "--output FOLDER writes the site, --markdown FILE a page" in ended.stderr
