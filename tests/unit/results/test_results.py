"""What a result folder holds follows its schema, says what it was made of, and agrees with its own samples."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml

from prlm_bench import Example, Ranking
from prlm_bench._util.files import pretty
from prlm_bench.data import open_dataset, open_split
from prlm_bench.errors import DataError
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.metrics import MeanMetric
from prlm_bench.report import FORMATS, build_tables, render
from prlm_bench.results import (
    Manifest,
    SampleRecord,
    Summary,
    find_results,
    is_finished,
    load_folders,
    read_manifest,
    read_samples,
    verify,
)
from prlm_bench.running import RunConfig, execute

MINE = Origin("mine", "mine", "1", "mine.py")


def run(host: PluginHost, results: Path, **fields: Any) -> list[Path]:
    base = {"tasks": ["mini_lamp_4"], "synth_users": 4, "retrievers": ["bm25"], "generators": ["copy"]}
    outcome = execute(RunConfig.model_validate({**base, "controls": False, **fields}), host, results)
    assert outcome.failed == []
    return outcome.finished


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Path:
    """Two tasks with controls and a reward."""
    root = tmp_path_factory.mktemp("results")
    run(PluginHost(), root, tasks=["mini_lamp_3", "mini_lamp_4"], rewards=["overlap"], controls=True)
    return root


@pytest.fixture
def one(finished: Path, tmp_path: Path) -> Path:
    """A copy of one result folder, to be damaged."""
    (folder,) = (finished / "mini_lamp_4" / "dev").glob("bm25-k4-direct-copy-*")
    return Path(shutil.copytree(folder, tmp_path / "results" / folder.name))


def test_what_is_stored_is_what_the_schema_says(finished: Path) -> None:
    manifests = sorted(finished.rglob("manifest.json"))
    assert len(manifests) == 11
    for path in manifests:
        assert pretty(Manifest.model_validate_json(path.read_bytes()).model_dump()) == path.read_bytes()
        summary = (path.parent / "summary.json").read_bytes()
        assert pretty(Summary.model_validate_json(summary).model_dump()) == summary
        lines = (path.parent / "samples.jsonl").read_bytes().splitlines()
        stored = [sample.model_dump() for sample in read_samples(path.parent)]
        for sample in stored:
            assert (sample.pop("turns"), sample.pop("drafts")) == ([], []), "written only where there are some"
        assert [orjson.dumps(sample) for sample in stored] == lines
        assert not (path.parent / "journal.jsonl").exists()


@pytest.mark.parametrize("model", [Manifest, SampleRecord, Summary])
def test_a_json_schema_names_every_field(model: Any) -> None:
    schema = json.loads(json.dumps(model.model_json_schema()))
    assert list(schema["properties"]) == list(model.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["description"]


def test_a_manifest_says_what_was_run(finished: Path, host: PluginHost) -> None:
    (folder,) = (finished / "mini_lamp_4" / "dev").glob("random-k1-direct-copy-*")
    manifest = read_manifest(folder)
    dataset = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    assert (manifest.task, manifest.benchmark, manifest.split, manifest.seed) == ("mini_lamp_4", "LaMP_4", "dev", 0)
    assert manifest.data.sha256 == {
        name: hashlib.sha256((dataset.root / "dev" / name).read_bytes()).hexdigest()
        for name in ("dev_questions.json", "dev_outputs.json", "dev_relevance.json")
    }
    assert (manifest.data.n, manifest.data.n_total, manifest.data.n_users, manifest.data.n_invalid) == (12, 12, 4, 0)
    assert (manifest.method.retriever.plugin, manifest.method.k) == ("prlm-bench/random", 1)
    assert [reward.spec for reward in manifest.rewards] == ["overlap"]
    assert manifest.control
    assert manifest.metric_names == list(dataset.task.metrics)
    assert folder.name.endswith(manifest.fingerprint[:8])
    assert manifest.command == (
        "prlm-bench run --task mini_lamp_4 --split dev --retriever random -k 1 --reasoner direct --generator copy "
        "--seed 0 --reward overlap --synth-users 4 --no-controls"
    )


def test_the_command_of_a_manifest_makes_the_same_row(finished: Path, here: Callable[..., Any], tmp_path: Path) -> None:
    (folder,) = (finished / "mini_lamp_4" / "dev").glob("random-k1-direct-copy-*")
    assert here(*read_manifest(folder).command.split()[1:], "--results", "again").status == 0
    again = tmp_path / "again" / folder.relative_to(finished)
    for name in ("manifest.json", "samples.jsonl", "summary.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


#: Why the figures of the fixture have no interval.
FEW = "4 users"


def figures(estimate: Any) -> tuple[float, float | None, float | None, str]:
    return (estimate.value, estimate.low, estimate.high, estimate.why)


def test_every_figure_of_a_summary_follows_from_the_samples(finished: Path) -> None:
    stored, unfinished = find_results(finished)
    assert (len(stored), unfinished) == (11, [])
    for result in stored:
        summary = result.summary
        samples = list(read_samples(result.folder))
        users = [sample.user for sample in samples]
        assert (summary.n, summary.n_users) == (len(samples), len(set(users))) == (12, 4)
        lines = [orjson.loads(line) for line in (result.folder / "samples.jsonl").read_bytes().splitlines()]
        rows = {(line.pop("task"), line.pop("split"), line.pop("row")) for line in lines}
        assert rows == {(result.manifest.task, "dev", result.manifest.fingerprint[:16])}
        old = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        assert summary.samples_sha256 == hashlib.sha256(old).hexdigest(), "as of files from before lines had these"
        means = [name for name, metric in summary.metrics.items() if metric.user_macro is not None]
        assert list(samples[0].metrics) == means
        assert set(summary.metrics) - set(means) <= {"bleu@lamp", "rmse@lamp"}
        for group in ("metrics", "rewards", "retrieval"):
            for name in getattr(samples[0], group):
                values = [getattr(sample, group)[name] for sample in samples]
                found = getattr(summary, group)[name]
                assert figures(found) == (pytest.approx(np.mean(values)), None, None, FEW), (group, name)
        for name in means:
            own = [np.mean([s.metrics[name] for s in samples if s.user == user]) for user in dict.fromkeys(users)]
            macro = summary.metrics[name].user_macro
            assert figures(macro) == (pytest.approx(np.mean(own)), None, None, FEW)
        failed = [float(sample.parsed is None) for sample in samples]
        cut = [float(sample.cut + sample.dropped > 0) for sample in samples]
        assert figures(summary.parse_failures) == (pytest.approx(np.mean(failed)), None, None, FEW)
        assert figures(summary.truncated_prompts) == (pytest.approx(np.mean(cut)), None, None, FEW)
        assert summary.items_shown == np.mean([sample.shown for sample in samples])
        assert summary.truncated_completions is None


def test_samples_hold_the_question_and_stand_in_the_order_of_the_data(finished: Path, host: PluginHost) -> None:
    dataset = open_split(host.tasks.get("mini_lamp_3"), "dev", synth_users=4)
    for folder in (finished / "mini_lamp_3" / "dev").iterdir():
        samples = list(read_samples(folder))
        assert [sample.id for sample in samples] == dataset.ids
        assert [sample.gold for sample in samples] == dataset.golds
        k = read_manifest(folder).method.k
        assert {len(sample.items) for sample in samples} == {k}


def test_the_order_is_that_of_the_file_whatever_the_ids(host: PluginHost, tmp_path: Path) -> None:
    whole = open_split(host.tasks.get("mini_lamp_4"), "dev", synth_users=4)
    shutil.copytree(whole.root, tmp_path / "data")
    path = tmp_path / "data" / "dev" / "dev_questions.json"
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))
    (folder,) = run(host, tmp_path / "results", data=tmp_path / "data")
    (other,) = run(host, tmp_path / "other")
    samples = list(read_samples(folder))
    assert [sample.id for sample in samples] == whole.ids[::-1]
    again = [sample.model_copy(update={"row": samples[0].row}) for sample in read_samples(other)]
    assert samples == again[::-1]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "no JSON": lambda content: b"\xff\xfe",
    "a list": lambda content: b"[]",
    "another version": lambda content: content.replace(b'"schema_version": 2', b'"schema_version": 3'),
    "another field": lambda content: content.replace(b'"schema_version"', b'"extra": 0, "schema_version"', 1),
    "a missing field": lambda content: content.replace(b'"fingerprint": "', b'"finger": "', 1),
}


@pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_line(
    one: Path, here: Callable[..., Any], caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    path = one / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load_folders([one])
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("(the row is damaged; repeat its run to make it again)")
    caplog.clear()
    ended = here("leaderboard", "--results", one.parent)
    assert (ended.status, ended.stdout) == (0, "No finished results.\n")
    assert caplog.messages == [f"prlm-bench: warning: {caught.value}"]


def test_lines_that_do_not_name_their_row_are_read_as_before(one: Path, host: PluginHost) -> None:
    new = (one / "samples.jsonl").read_bytes()
    head = new[: new.index(b'"id"')]
    assert new.count(head) == new.count(b"\n") == 12
    (one / "samples.jsonl").write_bytes(new.replace(head, b"{"))
    (stored,), _ = find_results(one.parent)
    assert verify(one, host) == []
    assert next(read_samples(one)).row is None
    first = next(stored.samples())
    assert (first.task, first.split, first.row) == (stored.manifest.task, "dev", stored.manifest.fingerprint[:16])
    (one / "samples.jsonl").write_bytes(new.replace(b'"row":"', b'"row":"0', 1))
    assert find_results(one.parent)[0] == [], "a line of another row"


def test_a_damaged_sample_is_named_by_its_line(one: Path) -> None:
    lines = (one / "samples.jsonl").read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b'"shown"', b'"shwon"')
    (one / "samples.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(DataError) as caught:
        list(read_samples(one))
    assert str(caught.value).startswith(f"{one / 'samples.jsonl'}:7: ")


def test_what_is_not_whole_is_in_no_table(one: Path, here: Callable[..., Any]) -> None:
    (one / "summary.json").unlink()
    stored, unfinished = find_results(one.parent)
    assert (stored, [left.folder for left in unfinished]) == ([], [one])
    ended = here("leaderboard", "--results", one.parent)
    assert (ended.status, ended.stdout) == (0, "No finished results.\n")
    assert ended.stderr == f"unfinished, not in the tables: {one}; resume with: {read_manifest(one).command}\n"


def test_a_published_summary_without_samples_is_shown_and_run_again(one: Path, here: Callable[..., Any]) -> None:
    (one / "samples.jsonl").unlink()
    (stored,), unfinished = find_results(one.parent)
    assert (unfinished, stored.has_samples) == ([], False)
    assert not is_finished(one, stored.manifest)
    ended = here("leaderboard", "--results", one.parent)
    assert (ended.status, ended.stderr) == (0, "1 of 1 rows are summaries without samples\n")
    with pytest.raises(DataError, match="has no samples"):
        list(read_samples(one))
    (one / "journal.jsonl").touch()  # a run is making them again
    assert find_results(one.parent)[0] == []


def test_a_summary_of_another_run_does_not_finish_a_folder(one: Path) -> None:
    fingerprint = read_manifest(one).fingerprint
    content = (one / "summary.json").read_text()
    (one / "summary.json").write_text(content.replace(fingerprint, "0" * 64))
    stored, unfinished = find_results(one.parent)
    assert (stored, [left.folder for left in unfinished]) == ([], [one])


def test_no_results_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no results folder .* \(create one with `prlm-bench run`, or use --results\)"):
        find_results(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read: No such file or directory"):
        load_folders([tmp_path])


class Unscored:
    """A retriever whose scores are no numbers."""

    def fingerprint(self) -> str:
        return ""

    def rank(self, examples: Sequence[Example], k: int | None = None) -> list[Ranking]:
        return [Ranking(example.profile[:2], (math.inf, math.nan)) for example in examples]


@pytest.fixture
def odd(host: PluginHost, tmp_path: Path) -> Iterator[str]:
    """A task whose metrics are no numbers, for some samples or for all."""
    host.registry.add(make_component("retriever", MINE, "unscored", Unscored))
    for name, values in {"nan@mine": [math.nan], "inf@mine": [math.inf], "some@mine": [math.nan, 1.0]}.items():
        metric = MeanMetric(name, lambda pairs, values=values: (values * len(pairs))[: len(pairs)])
        host.registry.add(make_component("metric", MINE, name, lambda metric=metric: metric))
    path = tmp_path / "odd.yaml"
    fields = {"extends": "mini_lamp_4", "name": "odd", "metrics": ["nan@mine", "inf@mine", "some@mine"]}
    path.write_text(yaml.safe_dump(fields))
    yield str(path)


def test_figures_that_are_no_numbers_are_null(host: PluginHost, odd: str, tmp_path: Path) -> None:
    (folder,) = run(host, tmp_path / "results", tasks=[odd], retrievers=["unscored"])
    (stored,), _ = find_results(tmp_path / "results")
    assert [stored.summary.metrics[name].value for name in stored.manifest.metric_names] == [None, None, None]
    samples = list(read_samples(folder))
    assert samples[0].metrics == {"nan@mine": None, "inf@mine": None, "some@mine": None}
    assert samples[1].metrics == {"nan@mine": None, "inf@mine": None, "some@mine": 1.0}
    assert [item.score for item in samples[0].items] == [None, None]
    for form in FORMATS:
        assert render(build_tables([stored], host.tasks), form)


def test_a_split_without_golds_is_answered_and_not_scored(host: PluginHost, tmp_path: Path) -> None:
    task = host.tasks.get("mini_lamp_4")
    whole = open_split(task, "test", synth_users=4)
    shutil.copytree(whole.root, tmp_path / "data")
    (tmp_path / "data" / "test" / "test_outputs.json").unlink()
    assert "golds" not in open_dataset(task, tmp_path / "data", "test").has
    (folder,) = run(host, tmp_path / "results", data=tmp_path / "data", split="test")
    (stored,), _ = find_results(tmp_path / "results")
    assert (stored.summary.metrics, stored.summary.n) == ({}, 12)
    samples = list(read_samples(folder))
    assert {sample.gold for sample in samples} == {None}
    assert all(sample.answer and sample.metrics == {} for sample in samples)
    (scored,) = run(host, tmp_path / "scored", split="test")
    assert [sample.answer for sample in read_samples(scored)] == [sample.answer for sample in samples]
    tables = build_tables([stored], host.tasks)
    assert [(table.protocol, len(table.rows), table.rows[0].figures.metrics) for table in tables] == [
        ("lamp", 1, {}),
        ("prlm", 1, {}),
    ]
    for form in FORMATS:
        assert "bm25" in render(tables, form) or form == "csv"
