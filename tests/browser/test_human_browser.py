"""The form in a real browser, and the whole way: results, export, form, judgements, report."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browsing import AUDIT, chromium, contrast, watched_page
from support.human_data import three

from prlm_bench.human._files import read_export, read_key
from prlm_bench.human._page import form_page
from prlm_bench.human._schema import Shown

NASTY = (
    "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    " ' \" ` {{ 1 }} &amp; \u2028\u2029\u202e\u0000 ]]> <!--"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def shown(count: int = 4, text: str = "text") -> list[Shown]:
    return [
        Shown(
            pair=f"ab-{i}",
            task="Write a title",
            question=f"{text} question {i}",
            profile=f"{text} item {i}\n\nanother",
            answer_1=f"{text} one {i}",
            answer_2=f"{text} two {i}",
        )
        for i in range(1, count + 1)
    ]


@pytest.fixture
def form(tmp_path: Path) -> Path:
    path = tmp_path / "form.html"
    path.write_text(form_page(shown()), encoding="utf-8")
    return path


def state(page: Any) -> str:
    return str(page.locator("#count").inner_text())


def saved(page: Any, name: str) -> tuple[str, str]:
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def test_keys_choose_and_move(browser: Any, form: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.page
        page.goto(form.as_uri())
        assert state(page) == "Pair 1 of 4, 0 judged"
        page.keyboard.press("1")
        assert (state(page), page.locator("#answer_1").inner_text()) == ("Pair 2 of 4, 1 judged", "text one 2")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("2")
        assert state(page) == "Pair 4 of 4, 2 judged"
        page.keyboard.press("0")
        assert state(page) == "Pair 2 of 4, 3 judged"  # the one that was passed over
        page.keyboard.press("ArrowLeft")
        assert page.locator('[aria-pressed="true"]').inner_text() == "1 Answer 1 is better"
        page.keyboard.press("2")  # a choice that is changed stays in sight
        assert state(page) == "Pair 1 of 4, 3 judged"
        assert page.locator('[aria-pressed="true"]').inner_text() == "2 Answer 2 is better"
        page.get_by_role("button", name="next undecided").click()
        page.get_by_role("button", name="No difference").click()
        assert "All pairs are judged" in page.locator("#message").inner_text()
        page.get_by_label("Your name").fill("12")  # digits in a name choose nothing
        assert state(page).endswith("4 judged")


def test_judgements_are_saved_as_files_under_a_name(browser: Any, form: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.page
        page.goto(form.as_uri())
        page.get_by_label("Your name").fill("  ")
        page.get_by_role("button", name="Save as JSON").click()
        assert page.locator("#message").inner_text() == "Enter your name first."
        page.get_by_label("Your name").fill('=Ann "A", é')
        page.get_by_role("button", name="Save as CSV").click()
        assert page.locator("#message").inner_text() == "Nothing to save yet."
        page.locator("h1").click()
        page.get_by_label("Your name").blur()
        for key in "120":
            page.keyboard.press(key)
        name, content = saved(page, "Save as JSON")
        assert name == "judgements-ab--Ann-A-.json"
        rows = [
            {"pair": f"ab-{i}", "annotator": '=Ann "A", é', "choice": choice} for i, choice in ((1, 1), (2, 2), (3, 0))
        ]
        assert json.loads(content) == rows
        assert len(content.splitlines()) == 5
        assert page.locator("#message").inner_text() == "Saved 3 judgements. Not judged yet: 1 pair."
        name, content = saved(page, "Save as CSV")
        assert list(csv.reader(content.splitlines())) == [
            ["pair", "annotator", "choice"],
            *([row["pair"], "'" + row["annotator"], str(row["choice"])] for row in rows),
        ]


def test_progress_is_kept_in_the_browser_until_one_starts_over(browser: Any, form: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.page
        page.goto(form.as_uri())
        page.keyboard.press("2")
        page.get_by_label("Your name").fill("Ann")
        page.reload()
        assert (state(page), page.get_by_label("Your name").input_value()) == ("Pair 2 of 4, 1 judged", "Ann")
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Start over").click()
        page.reload()
        assert (state(page), page.get_by_label("Your name").input_value()) == ("Pair 1 of 4, 0 judged", "")
        assert watched.errors.pop().startswith("dialog: Delete all choices")


def test_storage_that_is_refused_or_broken_does_no_harm(browser: Any, form: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.page
        page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused'); } })")
        page.goto(form.as_uri())
        page.keyboard.press("1")
        assert state(page) == "Pair 2 of 4, 1 judged"
    with watched_page(browser) as watched:
        page = watched.page
        page.goto(form.as_uri())
        page.evaluate("localStorage.setItem('prlm-bench human ab', '{\"choices\": 7}')")
        page.reload()
        assert state(page) == "Pair 1 of 4, 0 judged"


def test_nothing_from_the_data_is_markup(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "form.html"
    path.write_text(form_page(shown(2, NASTY)), encoding="utf-8")
    with watched_page(browser) as watched:
        page = watched.page
        page.goto(path.as_uri())
        assert page.locator("#answer_2").evaluate("e => e.textContent") == f"{NASTY} two 1"
        assert page.locator("#profile").evaluate("e => e.textContent") == f"{NASTY} item 1\n\nanother"
        assert (page.locator("img").count(), page.locator("script").count()) == (0, 2)
        assert "broken" not in page.title()
        assert watched.requests == [path.as_uri()] or watched.requests[1:] == ["data:,"]


def test_long_and_empty_texts_are_readable(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "form.html"
    pair = Shown(pair="ab-1", task="t", question="x" * 1_000_000, profile="", answer_1="", answer_2="word " * 200_000)
    path.write_text(form_page([pair]), encoding="utf-8")
    with watched_page(browser, viewport={"width": 390, "height": 844}) as watched:
        page = watched.page
        page.goto(path.as_uri())
        assert page.locator("#answer_1").inner_text() == "(empty)"
        assert not page.locator("#about").is_visible()
        assert page.evaluate(AUDIT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_form_is_accessible(browser: Any, form: Path, scheme: str, width: int) -> None:
    with watched_page(browser, color_scheme=scheme, viewport={"width": width, "height": 844}) as watched:
        page = watched.page
        page.goto(form.as_uri())
        assert page.evaluate(AUDIT) == []
        value = "name => getComputedStyle(document.documentElement).getPropertyValue('--' + name)"
        names = ("paper", "band", "ink", "soft", "accent", "chosen")
        colours = {name: page.evaluate(value, name) for name in names}
        pairs = [(a, b) for a in ("ink", "soft", "accent") for b in ("paper", "band")] + [("chosen", "accent")]
        assert [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []
        for _ in range(6):
            page.keyboard.press("Tab")
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_whole_way_from_results_to_figures(browser: Any, tmp_path: Path, here: Callable[..., Any]) -> None:
    three(tmp_path / "results")
    words = ("human", "export", "good", "poor", "--results", "results", "--n", "12", "--attention-checks", "2")
    assert here(*words, "--output", "pairs.csv").status == 0
    assert here("human", "page", "pairs.csv", "--output", "form.html").stdout == "form.html\n"
    key = read_key(tmp_path / "pairs.key.json")
    files = []
    for annotator, kind in (("Ann", "JSON"), ("Bob", "CSV")):
        with watched_page(browser) as watched:
            page = watched.page
            page.goto((tmp_path / "form.html").as_uri())
            page.get_by_label("Your name").fill(annotator)
            for row in read_export(tmp_path / "pairs.csv"):
                assert page.locator("#answer_1").inner_text() == row.answer_1
                place = key.pairs[row.pair]
                better = place.right or (1 if place.first == 0 else 2)
                page.get_by_role("button", name=f"Answer {better} is better").click()
            name, content = saved(page, f"Save as {kind}")
        (tmp_path / name).write_text(content, encoding="utf-8")
        files.append(name)
    assert files == [f"judgements-{key.export}-Ann.json", f"judgements-{key.export}-Bob.csv"]
    ended = here("human", "import", *files, "--key", "pairs.key.json", "--results", "results", "--json")
    report = json.loads(ended.stdout)
    assert (report["judgements"], report["pairs"], report["agreement"]["alpha"]["value"]) == (24, 12, 1.0)
    assert [(a["name"], a["checks"], a["failed"]) for a in report["annotators"]] == [("Ann", 2, 0), ("Bob", 2, 0)]
    assert [rate["rate"]["value"] for rate in report["win_rates"]] == [1.0, 0.0, 1.0]
    assert report["strengths"][0]["value"] > report["strengths"][1]["value"]
    assert {m["metric"]: m["accuracy"]["value"] for m in report["metrics"]}["rouge1@lamp"] == 1.0
    assert "Kendall" in here("human", "import", *files, "--key", "pairs.key.json", "--results", "results").stdout
