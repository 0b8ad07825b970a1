"""Rows that somebody else made: how they are packed, what is checked, and how they are shown."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prlm_bench as pb
from prlm_bench.errors import DataError
from prlm_bench.host import PluginHost
from prlm_bench.results import Contribution, find_results, pack_rows, receive_rows, samples_digest, verify
from prlm_bench.results._schema import Manifest, Summary
from prlm_bench.results._summarize import summarize

RUN = ("run", "--task", "mini_lamp_7", "--synth-users", "4", "--retriever", "bm25", "--retriever", "random")
GRID = (*RUN, "-k", "1", "--generator", "copy", "--no-controls", "--results")
ANN = ("--by", "Ann | Lee", "--url", "https://example.org/paper")


@pytest.fixture
def theirs(here: Any, tmp_path: Path) -> Path:
    """A row of somebody else."""
    assert here(*GRID, "theirs").status == 0
    (folder,) = (tmp_path / "theirs/mini_lamp_7/dev").glob("bm25-*")
    return folder


@pytest.fixture
def packed(theirs: Path, here: Any, tmp_path: Path) -> Path:
    ended = here("submit", "row", theirs, "-o", "ann.zip", *ANN)
    assert (ended.status, ended.stdout) == (0, "packed 1 rows by Ann | Lee as ann.zip\n")
    return tmp_path / "ann.zip"


def receive(archive: Path, results: Path, **options: Any) -> Any:
    (row,) = receive_rows(archive, results, PluginHost(), synth_users=4, **options)
    return row


def changed(archive: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with one file changed."""
    output = archive.with_name("changed.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(output, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, change(content) if entry.filename.endswith(name) else content)
    return output


def test_a_row_is_taken_in_and_shown_as_theirs(packed: Path, theirs: Path, here: Any, tmp_path: Path) -> None:
    assert here(*GRID, "mine").status == 0
    (own,) = (tmp_path / "mine/mini_lamp_7/dev").glob("bm25-*")
    for path in own.iterdir():
        path.unlink()
    own.rmdir()
    ended = here("results", "receive", packed, "--results", "mine", "--synth-users", "4")
    place = Path("mine/mini_lamp_7/dev") / theirs.name
    assert (ended.status, ended.stdout, ended.stderr) == (0, f"taken in {place}, by Ann | Lee\n", "")
    for name in ("manifest.json", "summary.json", "samples.jsonl"):
        assert (place / name).read_bytes() == (theirs / name).read_bytes()
    assert verify(place, PluginHost()) == []
    assert json.loads((place / "contribution.json").read_text())["checked"] == ["figures", "data"]
    table = pb.load_results("mine").tables()[0]
    assert {row.retriever: row.contributed_by for row in table.rows} == {
        "bm25": "Ann | Lee (https://example.org/paper)",
        "random": "",
    }
    shown = here("leaderboard", "--results", "mine", "--format", "markdown").stdout
    assert "| direct | copy † ◇ |" in shown
    assert "bm25 × k=1 × direct × copy by Ann | Lee (https://example.org/paper)." in shown
    (paper, _) = pb.paper_tables("mine")
    assert "$^{\\diamond}$" in paper.latex() and "◇ made by others" in paper.caption
    sheet = csv.DictReader(io.StringIO(here("leaderboard", "--results", "mine", "--format", "csv").stdout))
    assert {row["contributed_by"] for row in sheet if row["retriever"] == "bm25"} == {
        "Ann | Lee (https://example.org/paper)"
    }
    assert here("site", "--results", "mine", "-o", "site").status == 0
    assert "by Ann | Lee" in (tmp_path / "site/index.html").read_text()
    again = here("results", "receive", packed, "--results", "mine", "--synth-users", "4")
    assert "is there already" in again.stdout and again.status == 2


def test_a_row_that_is_made_here_again_is_ours(packed: Path, theirs: Path, here: Any, tmp_path: Path) -> None:
    row = receive(packed, tmp_path / "mine", keep_samples=False)
    assert not (row.folder / "samples.jsonl").exists()
    whose = pb.load_results(tmp_path / "mine").rows[0].contribution
    assert whose is not None and whose.by == "Ann | Lee"
    assert here(*GRID, "mine").status == 0
    assert (row.folder / "samples.jsonl").read_bytes() == (theirs / "samples.jsonl").read_bytes()
    assert all(each.contribution is None for each in pb.load_results(tmp_path / "mine"))


def forged(folder: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    """A row whose samples were changed and everything computed again, as somebody would who wants to deceive."""
    lines = [json.loads(line) for line in folder["samples.jsonl"].splitlines()]
    for line in lines:
        change(line)
    host = PluginHost()
    manifest = Manifest.model_validate(json.loads(folder["manifest.json"]))
    task = host.tasks.named(manifest.task)
    summarized = summarize(lines, task.labels, host.metrics(manifest.metric_names))
    text = "".join(
        json.dumps(line | {"metrics": single}) + "\n" for line, single in zip(lines, summarized.samples, strict=True)
    )
    return {"samples.jsonl": text.encode(), "manifest.json": folder["manifest.json"]} | {
        "summary.json": json.dumps(summarized.summary(manifest, "").model_dump()).encode()
    }


@pytest.mark.parametrize("field", ["gold", "user", "id"])
def test_references_that_are_not_those_of_the_data_are_refused(packed: Path, tmp_path: Path, field: str) -> None:
    with zipfile.ZipFile(packed) as archive:
        files = {entry.filename.split("/")[1]: archive.read(entry) for entry in archive.infolist()}
    made = forged(files, lambda line: line.update({field: line["answer"] if field == "gold" else line["id"] + "9"}))
    place = tmp_path / "forged"
    place.mkdir()
    (place / "samples.jsonl").write_bytes(made["samples.jsonl"])
    manifest = Manifest.model_validate(json.loads(made["manifest.json"]))
    summary = Summary.model_validate(json.loads(made["summary.json"]))
    summary.samples_sha256 = samples_digest(place / "samples.jsonl", manifest)
    summary.digest = summary.digest_with(manifest)
    output = tmp_path / "forged.zip"
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in {**files, **made, "summary.json": summary.model_dump_json().encode()}.items():
            archive.writestr(f"row/{name}", content)
    row = receive(output, tmp_path / "mine")
    assert any("is not that of the data" in problem for problem in row.problems), row.problems
    assert not (tmp_path / "mine").exists()


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a figure": ("summary.json", lambda content: content.replace(b'"value": 0.', b'"value": 0.9', 1), "digest"),
    "an answer": ("samples.jsonl", lambda content: content.replace(b'"answer":"', b'"answer":"x', 1), "checksum"),
    "the manifest": ("manifest.json", lambda content: content.replace(b'"seed": 0', b'"seed": 7'), "fingerprint"),
    "a cut manifest": ("manifest.json", lambda content: content[:50], "manifest.json"),
    "another task": ("manifest.json", lambda content: content.replace(b"mini_lamp_7", b"../../etc_x"), "unknown task"),
    "another split": ("manifest.json", lambda content: content.replace(b'"dev"', b'"../x"'), "unknown split"),
    "no name": ("contribution.json", lambda content: b"{}", "by: Field required"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_it_was_made_is_refused(packed: Path, tmp_path: Path, here: Any, damage: str) -> None:
    name, change, said = DAMAGES[damage]
    archive = changed(packed, name, change)
    row = receive(archive, tmp_path / "mine")
    assert any(said in problem for problem in row.problems), row.problems
    assert not (tmp_path / "mine").exists()
    ended = here("results", "receive", archive, "--results", "mine", "--synth-users", "4")
    assert ended.status == 2
    assert ended.stdout.startswith("REFUSED ")


def test_other_data_are_refused(packed: Path, tmp_path: Path) -> None:
    (row,) = receive_rows(packed, tmp_path / "mine", PluginHost(), synth_users=5)
    assert row.problems == ["its data files are not those here (their SHA-256 differs)"]


@pytest.mark.parametrize(
    "names", [["../evil/manifest.json"], ["row/evil.py"], ["manifest.json"], ["/etc/passwd"], ["a/b/summary.json"], []]
)
def test_only_files_of_rows_are_unpacked(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    with pytest.raises(DataError, match=r"x\.zip"):
        receive_rows(tmp_path / "x.zip", tmp_path / "mine", PluginHost())
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match="cannot be read"):
        receive_rows(tmp_path / "x.zip", tmp_path / "mine", PluginHost())


def test_only_whole_rows_are_packed(theirs: Path, here: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    for output in (first, second):
        pack_rows([theirs], Contribution(by="Ann"), output, PluginHost())
    assert first.read_bytes() == second.read_bytes()
    assert "replace" in here("submit", "row", theirs, "-o", first, *ANN).mistake
    assert "by: " in here("submit", "row", theirs, "-o", "new.zip", "--by", "").mistake
    (theirs / "samples.jsonl").unlink()
    assert "has no samples" in here("submit", "row", theirs, "-o", "new.zip", *ANN).mistake
    assert not (tmp_path / "new.zip").exists()


def test_a_damaged_contribution_costs_the_row(packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = receive(packed, tmp_path / "mine")
    (row.folder / "contribution.json").write_text("{")
    assert find_results(tmp_path / "mine")[0] == []
    assert "contribution.json" in caplog.messages[0]
