"""The site's files: what is written where, which rows are one, how data is escaped, what is left alone."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

from prlm_bench.errors import DataError
from prlm_bench.host import PluginHost
from prlm_bench.report import SeedAggregation, SeedSpread, build_tables
from prlm_bench.report.findings import find
from prlm_bench.results import SAMPLES, Estimate, Stored, find_results, load_folders
from prlm_bench.site import write_site
from prlm_bench.site._charts import WIDTH, Axis, axis_for, draw
from prlm_bench.site._entries import make_entries
from prlm_bench.site._pages import compose, seed_range
from prlm_bench.site._samples import PAGE, write_samples

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"'`${1}{{ 1 }}&amp;\u2028\u2029\u202e\u0000\\"


def answers(right: int, n: int = 12, **fields: Any) -> list[dict[str, Any]]:
    """Questions of six users, of which the first `right` are answered rightly."""
    return [sample(f"q{i}", f"u{i % 6}", "same" if i < right else "other", "same", **fields) for i in range(n)]


def unpacked(path: Path) -> Any:
    """What a data file holds; its script is one call with a name and base64."""
    found = re.fullmatch(r'prlmData\("([0-9a-f]{24})","([A-Za-z0-9+/=]*)"\);\n', path.read_text(encoding="ascii"))
    assert found and found[1] == path.stem
    return json.loads(zlib.decompress(base64.b64decode(found[2])))


def entries_of(root: Path) -> list[Any]:
    (table,) = build_tables(find_results(root)[0], pooling=SeedAggregation())
    return make_entries(table)


def samples_in(folder: Path, index: str) -> list[dict[str, Any]]:
    """The samples that a page finds by the name of their index."""
    pages = [[unpacked(folder / f"{name}.js") for name in names] for names in unpacked(folder / f"{index}.js")["pages"]]
    return [a | b for asked, answered in pages for a, b in zip(asked, answered, strict=True)]


def test_every_sample_is_in_a_file_of_200(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "results", answers(3, n=450))
    (stored,) = load_folders([folder])
    name = write_samples(stored, tmp_path / "out")
    index = unpacked(tmp_path / "out" / f"{name}.js")
    assert [len(unpacked(tmp_path / "out" / f"{asked}.js")) for asked, _ in index["pages"]] == [PAGE, PAGE, 50]
    lines = (folder / "samples.jsonl").read_text().splitlines()
    assert samples_in(tmp_path / "out", name) == [json.loads(line) for line in lines]
    assert len(index["lines"]) == 450
    assert index["lines"][0] == ["q0", "u0", True, 1.0, "query of q0", "same", "same"]


def test_what_results_share_is_written_once(tmp_path: Path) -> None:
    """Three seeds with the same answers are the files of one; another generator's prompts are there already."""
    root = tmp_path / "results"
    stored = load_folders([write_result(root, answers(3), seed=seed) for seed in range(3)])
    assert len({write_samples(result, tmp_path / "out") for result in stored}) == 1
    assert len(list((tmp_path / "out").iterdir())) == 3
    (other,) = load_folders([write_result(root, answers(5), generator="other")])
    write_samples(other, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_samples_take_a_tenth_of_their_bytes(tmp_path: Path) -> None:
    """Prompts repeat their items and one another's instruction."""
    words = " ".join(f"word{number}" for number in range(200))
    folder = write_result(tmp_path / "results", [a | {"prompt": f"{words} {a['id']}"} for a in answers(3, n=200)])
    write_samples(load_folders([folder])[0], tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < (folder / SAMPLES).stat().st_size / 10


@pytest.mark.parametrize("value", [NASTY, "<!--", "]]>", "\u2028", "\ud7ff\ue000\U0010ffff"])
def test_a_data_file_holds_any_text(tmp_path: Path, value: str) -> None:
    (stored,) = load_folders(
        [write_result(tmp_path / "r", [sample("q", "u", value, value, query=value, prompt=value)])]
    )
    (record,) = samples_in(tmp_path / "out", write_samples(stored, tmp_path / "out"))
    assert [record[name] for name in ("query", "prompt", "answer", "gold")] == [value] * 4


def test_names_from_data_are_escaped_in_pages(tmp_path: Path) -> None:
    write_result(tmp_path / "r", answers(3), retriever=NASTY, generator=NASTY, task=NASTY, split=NASTY, command=NASTY)
    write_site(find_results(tmp_path / "r")[0], PluginHost().tasks, tmp_path / "site")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) == 2
    for page in pages:
        elements = Elements()
        elements.feed(page.read_text(encoding="utf-8"))
        assert "img" not in elements.attributes
        assert not [name for names in elements.attributes.values() for name in names if name.startswith("on")]
        assert [data for tag, data in elements.raw if tag == "script" and "alert" in data and "<" in data] == []


class Elements(HTMLParser):
    """The names of elements and of their attributes, and what stands in scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: dict[str, set[str]] = {}
        self.raw: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.setdefault(tag, set()).update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.raw.append((str(self.lasttag), data))


def test_a_fingerprint_that_is_none_never_names_a_folder(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "results", answers(3))
    (stored,) = load_folders([folder])
    outside = Stored(folder, stored.manifest.model_copy(update={"fingerprint": "../../outside"}), stored.summary)
    with pytest.raises(DataError, match="not 64 hexadecimal digits"):
        write_site([outside], PluginHost().tasks, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["runs", "samples"])
def test_a_folder_that_no_site_wrote_is_left_alone(tmp_path: Path, here: Callable[..., Any], name: str) -> None:
    write_result(tmp_path / "results", answers(3))
    mine = tmp_path / "site" / name / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    ended = here("site", "--results", "results", "--output", "site")
    assert f"{name} exists and is not part of a site" in ended.mistake.replace("site: 1 to do", "")
    assert mine.read_text() == "mine"


def test_two_fingerprints_that_begin_alike_are_never_one_page(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "results", answers(3))
    (stored,) = load_folders([folder])
    forged = [
        Stored(tmp_path / end, stored.manifest.model_copy(update={"fingerprint": "0" * 63 + end}), stored.summary)
        for end in "ab"
    ]
    with pytest.raises(DataError, match=r"a and .*b: their fingerprints begin alike, with 000000000000"):
        write_site(forged, PluginHost().tasks, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["runs", "samples", "static", ".prlm-bench-site"])
def test_a_site_writes_through_no_link(tmp_path: Path, name: str) -> None:
    stored = load_folders([write_result(tmp_path / "results", answers(3))])
    site, outside = tmp_path / "site", tmp_path / "outside"
    outside.mkdir()
    write_site(stored, PluginHost().tasks, site)
    (site / name).rename(tmp_path / "moved")
    (site / name).symlink_to(outside)
    with pytest.raises(DataError, match=f"{name} is a link"):
        write_site(stored, PluginHost().tasks, site)
    assert list(outside.iterdir()) == []


def test_an_older_site_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    first = write_result(tmp_path / "a", answers(3))
    second = write_result(tmp_path / "b", answers(5))
    tasks = PluginHost().tasks
    index = write_site(load_folders([first]), tasks, tmp_path / "site")
    (tmp_path / "site" / "CNAME").write_text("name")
    before = {path.name for path in (tmp_path / "site" / "runs").iterdir()}
    assert write_site(load_folders([second]), tasks, tmp_path / "site") == index
    after = {path.name for path in (tmp_path / "site" / "runs").iterdir()}
    assert (len(before), len(after), before & after) == (1, 1, set())
    assert (tmp_path / "site" / "CNAME").read_text() == "name"


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_result(tmp_path / "r", answers(3 + seed), seed=seed)
    stored, _ = find_results(tmp_path / "r")
    found = []
    for name in ("one", "two"):
        root = tmp_path / name
        write_site(stored, PluginHost().tasks, root)
        found.append({str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()})
    assert found[0] == found[1]


def test_seeds_of_one_method_are_one_row(tmp_path: Path) -> None:
    for seed, right in ((2, 6), (0, 2), (1, 4)):
        write_result(tmp_path, answers(right), seed=seed)
    write_result(tmp_path, answers(5), retriever="other")
    other, best = entries_of(tmp_path)
    assert (other.row.retriever, other.row.rank, other.row.figures.spread) == ("other", 1, {})
    assert [seed for seed, _ in best.runs] == [0, 1, 2]
    figure = best.row.figures.metrics["rouge1@lamp"]
    assert figure.value == pytest.approx(4 / 12)
    assert figure.low < 4 / 12 < figure.high
    assert figure.user_macro.value == pytest.approx(4 / 12)
    assert best.row.figures.spread["rouge1@lamp"].values == pytest.approx((2 / 12, 4 / 12, 6 / 12))
    assert best.row.figures.spread["rouge1@lamp"].sd == pytest.approx(2 / 12)


def test_what_differs_in_more_than_the_seed_is_another_row(tmp_path: Path) -> None:
    write_result(tmp_path, answers(2))
    write_result(tmp_path, answers(2), versions={"numpy": "1"})
    write_result(tmp_path, answers(2), k=5)
    assert [len(entry.runs) for entry in entries_of(tmp_path)] == [1, 1, 1]


def test_intervals_of_a_column_share_an_axis(tmp_path: Path) -> None:
    write_result(tmp_path, answers(2), control=True)
    write_result(tmp_path, answers(4), control=True, retriever="c2")
    write_result(tmp_path, answers(9), retriever="c3")
    entries = entries_of(tmp_path)
    axis = axis_for(entries, "rouge1@lamp", True)
    assert axis.control == pytest.approx(4 / 12)
    assert axis_for(entries, "rouge1@lamp", False).control == pytest.approx(2 / 12)
    for entry in entries:
        at = draw(entry.row.figures.metrics["rouge1@lamp"], axis)
        assert at is not None
        assert 0 < at.low <= at.value <= at.high < WIDTH
        assert at.control == axis.at(4 / 12)
    assert draw(Estimate(value=1, low=None, high=None), axis) is None
    assert axis_for(entries, "nowhere", True) == Axis(0.0, 1.0, None)
    assert Axis(2.0, 2.0, None).at(2.0) == 4


def test_a_method_with_many_options_is_named_without_them() -> None:
    assert compose("bm25:k1=1", 4, "direct", "copy") == "bm25:k1=1 × k=4 × direct × copy"
    assert compose("bm25", 4, "direct", "lm:" + "x=1," * 40) == "bm25 × k=4 × direct × lm…"


def test_seeds_that_agree_are_said_to() -> None:
    def of(*values: float | None, sd: float | None = None) -> SeedSpread:
        return SeedSpread(values, sd, None, None, None)

    assert seed_range(of(0.5, 0.5, sd=0.0)) == "seeds equal"
    assert seed_range(of(0.5, 0.25, sd=0.125)) == "seeds 0.2500 to 0.5000, sd 0.1250"
    assert seed_range(of(None, None)) == ""


def test_a_page_shows_what_checks_have_found_of_its_result(tmp_path: Path) -> None:
    host = PluginHost()
    write_result(tmp_path / "r", answers(2), dist="prlm-bench")
    write_result(tmp_path / "r", answers(4), dist="prlm-bench", retriever="random", control=True)
    stored = find_results(tmp_path / "r")[0]
    findings = find(stored, host.registry)
    write_site(stored, host.tasks, tmp_path / "site", findings=findings)
    pages = {
        result.manifest.control: (
            tmp_path / "site" / "runs" / result.manifest.fingerprint[:12] / "index.html"
        ).read_text()
        for result in stored
    }
    assert "retrieval no better than random own items" in pages[False]
    assert "retrieval no better" not in pages[True]


def test_results_without_golds_or_with_one_user_have_pages(tmp_path: Path) -> None:
    write_result(tmp_path / "r", [sample("q", "u", "answer", None)])
    write_result(tmp_path / "r", [sample("q", "u", "answer", "answer")], retriever="none")
    index = write_site(find_results(tmp_path / "r")[0], PluginHost().tasks, tmp_path / "site")
    assert '<td data-value="">-</td>' in index.read_text()
    assert len(list((tmp_path / "site" / "runs").iterdir())) == 2


def test_the_command_prints_where_the_index_is(tmp_path: Path, here: Callable[..., Any]) -> None:
    write_result(tmp_path / "results", answers(3))
    ended = here("site", "--results", "results", "--output", "pages")
    assert (ended.status, ended.stdout) == (0, "pages/index.html\n")
    assert (tmp_path / "pages" / "index.html").is_file()
    assert here("site", "--results", "nowhere", "--output", "pages").status == 2


def test_a_row_without_samples_has_a_page_with_its_figures(tmp_path: Path) -> None:
    write_result(tmp_path / "r", answers(3))
    published = write_result(tmp_path / "r", answers(5), retriever="other")
    (published / "samples.jsonl").unlink()
    write_site(find_results(tmp_path / "r")[0], PluginHost().tasks, tmp_path / "site")
    pages = [page.read_text() for page in sorted((tmp_path / "site" / "runs").rglob("index.html"))]
    assert sorted("samples of this row are not published" in page for page in pages) == [False, True]
    (without,) = [page for page in pages if "not published" in page]
    assert "settings" not in without and "0.4167" in without
    (with_samples,) = [page for page in pages if "not published" not in page]
    assert '"neighbours":[]' in with_samples
    assert "not compared: no controls, no samples" in (tmp_path / "site" / "index.html").read_text()
