"""The site in a real browser, opened from a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browsing import AUDIT, Watched, chromium, contrast, watched_page
from support.made_results import sample, write_result

from prlm_bench.host import PluginHost
from prlm_bench.results import find_results
from prlm_bench.site import write_site

NASTY = (
    "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\"> ' \" `${1}` &amp;"
)
ODD = {
    "markup": NASTY,
    "separators": "one\u2028two\u2029three\u0085four",
    "direction": "\u202eright\u202c \u2067to\u2069 left \u200f",
    "nul": "nul \u0000 and \u001b[31m",
    "path": "../../../etc/passwd",
}
LINE = "word " * 210_000
OPTIONS = "lm:" + ",".join(f"option_{number}=value-{number}" for number in range(30))


def questions(right: int, n: int = 250) -> list[dict[str, Any]]:
    """Question i of user i % 50; the first `right` are answered rightly, every seventh answer cannot be parsed."""
    return [
        sample(
            f"q{i}",
            f"u{i % 50}",
            "a good answer" if i < right else f"another {i}",
            "a good answer",
            parsed=None if i % 7 == 3 else "given",
            items=[{"id": f"item{i}", "score": None if i % 2 else 1.5, "text": f"text of item {i}"}],
            cited=[f"item{i}"],
            reasoning=f"because of item {i}",
            completion=f"completion {i}",
            rewards={"overlap": None if i % 3 else 0.5},
        )
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables: one with seeds and controls, one of odd texts."""
    root = tmp_path_factory.mktemp("site")
    write_result(root / "r", questions(200), retriever="bm25:k1=0.9,b=0.4")
    for seed in (0, 1, 2):
        write_result(root / "r", questions(100 + 5 * seed), retriever="alpha", seed=seed, generator=OPTIONS)
    write_result(root / "r", questions(20), retriever="Zero", k=10, control=True)
    odd = [
        sample(
            f"{name} {text}", text, text, text, query=text, prompt=LINE, reasoning=text, parsed=text, completion=text
        )
        | {"items": [{"id": text, "score": 1.0, "text": text}], "rewards": {text: 1.0}, "cited": [text]}
        for name, text in ODD.items()
    ]
    write_result(root / "r", odd, task="lamp_5", retriever=NASTY, generator=ODD["separators"], command=NASTY)
    write_site(find_results(root / "r")[0], PluginHost().tasks, root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def board(browser: Any, site: Path) -> Iterator[Watched]:
    with watched_page(browser) as watched:
        watched.page.goto((site / "index.html").as_uri())
        yield watched


@pytest.fixture
def run(board: Watched) -> Watched:
    """The page of the first row, reached by its link."""
    board.page.get_by_role("link", name="bm25").click()
    board.page.wait_for_selector("#sample h3")
    return board


def column(page: Any, number: int) -> list[str]:
    rows = page.locator("section:not([hidden]) .board >> nth=0").locator("tbody tr:not([hidden])")
    return [rows.nth(row).locator("> *").nth(number).inner_text().split("\n")[0] for row in range(rows.count())]


def methods(page: Any) -> list[str]:
    """The retrievers of the first table's rows, with which their names begin."""
    return [name.partition(" · ")[0] for name in column(page, 1)]


def heading(page: Any) -> str:
    return str(page.locator("#sample h3").first.inner_text())


def wait_for(page: Any, identifier: str) -> None:
    """Wait until the sample is shown; the page's policy allows no script from a string."""
    page.locator("#sample h3", has=page.locator("bdi", has_text=re.compile(f"^{identifier}$"))).wait_for()


def listed(page: Any) -> list[str]:
    return [text.split()[0] for text in page.locator("#list bdi").all_inner_texts()]


def test_columns_sort_both_ways_by_numbers_and_by_text(board: Watched) -> None:
    page = board.page
    assert methods(page) == ["bm25", "alpha", "Zero"]
    sorts = page.locator("section .board").first.locator("thead")
    sorts.get_by_role("button", name="method").click()
    assert methods(page) == ["alpha", "bm25", "Zero"]
    sorts.get_by_role("button", name="method").click()
    assert methods(page) == ["Zero", "bm25", "alpha"]
    sorts.get_by_role("button", name="parse failures").click()
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    sorts.get_by_role("button", name="rouge1@lamp").click()
    best_first = [float(text) for text in column(page, 2)]
    assert best_first == sorted(best_first, reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    sorts.get_by_role("button", name="rouge1@lamp").click()
    assert [float(text) for text in column(page, 2)] == best_first[::-1]
    assert page.locator("th[aria-sort]").count() == 1


def test_the_overview_sorts_and_leads_to_the_tables(board: Watched) -> None:
    page = board.page
    overview = page.locator(".overview").first
    overview.get_by_role("button", name="lamp_4").click()
    assert overview.locator("tbody th bdi").all_inner_texts()[0].startswith("bm25")
    overview.get_by_role("button", name="lamp_4").click()
    assert overview.locator("tbody th bdi").all_inner_texts()[0].startswith("Zero")
    overview.get_by_role("link", name="rouge1").first.click()
    assert "#lamp_4-dev-lamp" in page.url


def test_what_explains_a_page_is_open_and_at_its_place(board: Watched) -> None:
    page = board.page
    assert page.locator("#legend").evaluate("e => e.open")
    assert page.locator(".board thead th:not([title])").count() == 0
    at = "e => e.getBoundingClientRect().top"
    tops = [page.locator(name).first.evaluate(at) for name in ("#overview", "#legend", "#tables", "section[data-task]")]
    assert tops == sorted(tops)


def test_failures_are_in_sight(browser: Any, site: Path) -> None:
    """Without scrolling a table sideways; the overview as a whole, too."""
    with watched_page(browser, viewport={"width": 1300, "height": 900}) as watched:
        watched.page.goto((site / "index.html").as_uri())
        for name in ("parse failures", "cut prompts", "beats its controls"):
            heads = watched.page.get_by_role("columnheader", name=name).all()
            assert heads
            assert max(head.bounding_box()["x"] + head.bounding_box()["width"] for head in heads) <= 1300


def test_a_figure_and_its_gain_are_in_sight_on_a_phone(browser: Any, site: Path) -> None:
    with watched_page(browser, viewport={"width": 390, "height": 844}) as watched:
        watched.page.goto((site / "index.html").as_uri())
        row = watched.page.locator("section .board tbody tr").first
        for cell in (row.locator("svg").first, row.locator("td").nth(1)):
            box = cell.bounding_box()
            assert box["width"] > 0 and box["x"] + box["width"] <= 390
        assert watched.page.locator(".overview tbody td").first.bounding_box()["x"] < 300


def test_filters_and_the_controls_toggle(board: Watched) -> None:
    page = board.page
    count = page.locator("#count")
    assert count.inner_text() == "4 rows in 2 tables"
    page.get_by_label("control rows").uncheck()
    assert (methods(page), count.inner_text()) == (["bm25", "alpha"], "3 rows in 2 tables")
    page.get_by_label("control rows").check()
    page.get_by_label("task").select_option("lamp_5")
    assert count.inner_text() == "1 row in 1 table"
    page.get_by_label("task").select_option("")
    page.get_by_label("rows with").fill("ALPHA direct")
    assert (methods(page), count.inner_text()) == (["alpha"], "1 row in 1 table")
    page.get_by_label("rows with").fill("nothing like it")
    assert count.inner_text() == "0 rows in 0 tables"


def test_seeds_are_one_row_that_leads_to_each(board: Watched) -> None:
    page = board.page
    row = page.locator("section .board tbody tr", has_text="alpha").first
    assert "seeds " in row.inner_text()
    links = row.get_by_role("link", name=re.compile("seed"))
    assert links.all_inner_texts() == ["0", "1", "2"]
    links.nth(2).click()
    assert "seed 2" in page.locator(".about").first.inner_text()
    page.locator(".about").first.get_by_role("link", name="1", exact=True).click()
    assert "seed 1" in page.locator(".about").first.inner_text()


def test_a_row_leads_to_its_run_and_back(run: Watched) -> None:
    page = run.page
    assert page.locator("h1").inner_text() == "bm25:k1=0.9,b=0.4 × k=4 × direct × copy"
    page.get_by_role("link", name="lamp protocol").click()
    assert page.locator("h1").inner_text() == "Leaderboard"
    assert "#lamp_4-dev-lamp" in page.url
    page.go_back()
    page.locator("a.home").click()
    assert page.locator("h1").inner_text() == "Leaderboard"


def test_the_first_sample_is_shown_with_all_that_is_known(run: Watched) -> None:
    page = run.page
    assert heading(page) == "Sample q0, user u0"
    shown = page.locator("#sample").inner_text()
    for words in ("query of q0", "a good answer", "because of item 0", "item0 cited", "text of item 0", "completion 0"):
        assert words in shown
    assert page.locator("#sample dt").all_inner_texts() == ["rouge1@lamp", "reward overlap"]
    assert page.locator("#sample dd").all_inner_texts() == ["1.0000", "0.5000"]


def test_keys_walk_through_the_samples(run: Watched) -> None:
    page = run.page
    page.keyboard.press("k")
    assert heading(page) == "Sample q0, user u0"
    for number in (1, 2, 3):
        page.keyboard.press("j")
        wait_for(page, f"q{number}")
    assert "the answer could not be parsed" in page.locator("#sample").inner_text()
    page.keyboard.press("k")
    wait_for(page, "q2")
    assert page.locator("#list [aria-current]").inner_text().startswith("q2")
    page.keyboard.press("/")
    page.keyboard.type("jk/")
    assert page.get_by_label("search").input_value() == "jk/"


def test_search_failures_and_order(run: Watched) -> None:
    page = run.page
    page.get_by_label("search").fill("Q24 u4")
    assert listed(page) == [f"q{i}" for i in range(240, 250)]
    assert page.locator("#found").inner_text() == "10 of 250 samples"
    page.get_by_label("search").fill("another 2")
    assert all(int(name[1:]) >= 200 for name in listed(page))
    page.get_by_label("search").fill("")
    page.get_by_label("parse failures only").check()
    assert listed(page)[:3] == ["q3", "q10", "q17"]
    page.get_by_label("parse failures only").uncheck()
    orders = page.get_by_label("order").locator("option").all_inner_texts()
    assert orders == ["as in the data", "worst rouge1@lamp first", "best rouge1@lamp first"]
    page.get_by_label("order").select_option("worst")
    assert listed(page)[0] == "q200"
    page.get_by_label("order").select_option("best")
    assert listed(page)[0] == "q0"
    page.get_by_label("parse failures only").focus()
    page.keyboard.press("j")
    wait_for(page, "q1")


def test_another_method_stands_beside(run: Watched) -> None:
    page = run.page
    beside = page.get_by_label("compare with")
    assert beside.locator("option").all_inner_texts()[-1] == "Zero × k=10 × direct × copy"
    beside.select_option(label="Zero × k=10 × direct × copy")
    page.wait_for_selector("#sample .columns > section >> nth=1")
    page.locator("#list button", has_text="q30").first.click()
    wait_for(page, "q30")
    first, second = page.locator("#sample .columns > section").all()
    assert "a good answer" in first.inner_text()
    assert "another 30" in second.inner_text()
    second.get_by_role("link").click()
    page.wait_for_selector("#sample h3")
    assert heading(page) == "Sample q30, user u30"
    assert page.locator("h1").inner_text() == "Zero × k=10 × direct × copy"


def test_more_than_100_samples_are_paged(run: Watched) -> None:
    page = run.page
    assert len(listed(page)) == 100
    assert page.locator("#found").inner_text() == "250 of 250 samples, 1 to 100 listed"
    page.get_by_role("button", name="later").click()
    assert listed(page)[0] == "q100"
    page.get_by_role("button", name="later").click()
    assert (listed(page)[0], listed(page)[-1]) == ("q200", "q249")
    assert page.get_by_role("button", name="later").is_disabled()
    page.locator("#list button").last.click()
    wait_for(page, "q249")
    page.get_by_role("button", name="earlier").click()
    page.locator("#list button").last.click()
    wait_for(page, "q199")
    page.keyboard.press("j")
    wait_for(page, "q200")
    assert listed(page)[0] == "q200"
    # An index, and for each of two pages a file of prompts and one of answers.
    assert len({url for url in run.requests if "/samples/" in url}) == 5


def test_an_address_names_a_sample(run: Watched) -> None:
    page = run.page
    page.locator("#list button", has_text="q42").first.click()
    wait_for(page, "q42")
    assert page.url.endswith("#sample=q42")
    page.goto(page.url.replace("q42", "q142"))
    wait_for(page, "q142")
    page.reload()
    wait_for(page, "q142")
    assert listed(page)[0] == "q100"


def test_a_missing_data_file_is_said_and_tried_again(browser: Any, site: Path) -> None:
    with watched_page(browser) as watched:
        page = watched.page
        page.goto((site / "index.html").as_uri())
        page.get_by_role("link", name="bm25").click()
        page.wait_for_selector("#sample h3")
        loaded = {url for url in watched.requests if "/samples/" in url}
        page.locator("#later").click()
        page.locator("#later").click()
        page.locator("#list button", has_text="q210").click()
        wait_for(page, "q210")
        later = {url for url in watched.requests if "/samples/" in url} - loaded
        name = sorted(later)[0].rpartition("/")[2]
        hidden = (site / "samples" / name).rename(site / "samples" / "hidden.js")
        page.goto("about:blank")
        page.go_back()
        page.get_by_text(f"samples/{name} is missing").wait_for()
        hidden.rename(site / "samples" / name)
        page.locator("#list button", has_text="q211").click()
        wait_for(page, "q211")
        assert watched.errors.pop().endswith("net::ERR_FILE_NOT_FOUND")


def test_a_browser_that_cannot_unpack_is_told(browser: Any, site: Path) -> None:
    with watched_page(browser) as watched:
        watched.page.add_init_script("delete window.DecompressionStream")
        watched.page.goto((site / "index.html").as_uri())
        watched.page.get_by_role("link", name="bm25").click()
        watched.page.get_by_text("This browser cannot unpack the samples").wait_for()


def test_nothing_from_the_data_is_markup(board: Watched) -> None:
    page = board.page
    page.get_by_label("task").select_option("lamp_5")
    page.locator("section:not([hidden]) tbody a").click()
    page.wait_for_selector("#sample h3")
    for number, (name, text) in enumerate(ODD.items()):
        page.locator("#list button").nth(number).click()
        page.locator("#sample bdi", has_text=name).first.wait_for()
        boxes = page.locator("#sample .text")
        assert boxes.nth(0).evaluate("e => e.textContent") == text
        assert page.locator("#sample img, #sample script").count() == 0
        assert page.locator("#sample .items li bdi").evaluate("e => e.textContent") == text
    assert "broken" not in page.title().replace(NASTY, "")
    assert page.evaluate("[...document.scripts].every((e) => e.src || e.type === 'application/json')")
    assert all(url.startswith(("file:", "data:")) and "passwd" not in url for url in board.requests)


def test_a_line_of_a_megabyte_is_shown_on_demand(board: Watched) -> None:
    page = board.page
    page.get_by_label("task").select_option("lamp_5")
    page.locator("section:not([hidden]) tbody a").click()
    button = page.get_by_role("button", name=f"show all {len(LINE)} characters").first
    button.wait_for()
    assert page.locator("#sample").evaluate("e => e.textContent.length") < 10_000
    button.click()
    assert page.locator("#sample").evaluate("e => e.textContent.length") > len(LINE)
    assert page.evaluate(AUDIT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_accessible(browser: Any, site: Path, scheme: str, width: int, tmp_path: Path) -> None:
    with watched_page(browser, color_scheme=scheme, viewport={"width": width, "height": 844}) as watched:
        page = watched.page
        page.goto((site / "index.html").as_uri())
        assert page.evaluate(AUDIT) == []
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
        page.screenshot(path=tmp_path / "index.png")
        page.get_by_role("link", name="bm25").click()
        page.wait_for_selector("#sample h3")
        page.get_by_label("compare with").select_option(index=2)
        page.wait_for_selector("#sample .columns > section >> nth=1")
        assert page.evaluate(AUDIT) == []
        page.screenshot(path=tmp_path / "run.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(browser: Any, site: Path, scheme: str) -> None:
    with watched_page(browser, color_scheme=scheme) as watched:
        watched.page.goto((site / "index.html").as_uri())
        value = "name => getComputedStyle(document.documentElement).getPropertyValue('--' + name)"
        colours = {name: watched.page.evaluate(value, name) for name in ("paper", "band", "ink", "soft", "accent")}
        colours |= {name: watched.page.evaluate(value, name) for name in ("mark", "bad")}
        grounds = [colours.pop("paper"), colours.pop("band")]
        found = {(name, ground): contrast(colour, ground) for name, colour in colours.items() for ground in grounds}
        assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}


def test_what_has_the_focus_shows_it(board: Watched) -> None:
    page = board.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        seen.add(page.evaluate("document.activeElement.tagName"))
        assert style == ["solid", "3px"]
    assert {"A", "BUTTON", "INPUT", "SELECT"} <= seen


def test_the_head_and_the_first_columns_stay_in_sight(browser: Any, site: Path) -> None:
    with watched_page(browser, viewport={"width": 390, "height": 500}) as watched:
        page = watched.page
        page.goto((site / "index.html").as_uri())
        region = page.locator("section .scroll").first
        link = region.locator("tbody a").first
        before = link.bounding_box()["x"]
        region.evaluate("e => { e.scrollLeft = 300; }")
        assert region.evaluate("e => e.scrollLeft") == 300
        assert link.bounding_box()["x"] == before
        link.scroll_into_view_if_needed()
        link.click(timeout=2000)  # it is not covered


@pytest.mark.slow
def test_20_000_samples_stay_usable(browser: Any, tmp_path: Path) -> None:
    many = [
        sample(f"q{i}", f"u{i % 500}", "answer", "gold", query=f"number {i} " + "words " * 40, prompt="prompt " * 300)
        for i in range(20_000)
    ]
    write_result(tmp_path / "r", many)
    index = write_site(find_results(tmp_path / "r")[0], PluginHost().tasks, tmp_path / "site")
    (run,) = (index.parent / "runs").iterdir()
    # The index, 100 files of prompts, and the answers, which are alike.
    assert len(list((index.parent / "samples").iterdir())) == 102
    with watched_page(browser) as watched:
        page = watched.page
        page.goto((run / "index.html").as_uri())
        page.wait_for_selector("#sample h3")
        assert page.evaluate("performance.now()") < 2000
        assert page.locator("#found").inner_text() == "20000 of 20000 samples, 1 to 100 listed"
        took = page.evaluate("""() => {
            const search = document.getElementById("search");
            search.value = "number 19999";
            const start = performance.now();
            search.dispatchEvent(new Event("input", { bubbles: true }));
            return performance.now() - start;
        }""")
        assert took < 1000
        assert listed(page) == ["q19999"]
        page.locator("#list button").click()
        wait_for(page, "q19999")
        assert len([url for url in watched.requests if "/samples/" in url]) == 4
