"""`results verify`: a folder holds up, or it is said why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def folder(here: Any) -> Path:
    """One finished result."""
    words = ("--task", "mini_lamp_4", "--synth-users", "4", "--retriever", "bm25", "-k", "1", "--generator", "copy")
    assert here("run", *words, "--no-controls", "--results", "r").status == 0
    (manifest,) = Path("r").rglob("manifest.json")
    return manifest.parent


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_first_sample(folder: Path, change: Callable[[Any], None]) -> None:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    change(record)
    (folder / "samples.jsonl").write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")


def test_an_honest_folder_holds_up(here: Any, folder: Path) -> None:
    done = here("results", "verify", "r", "--json")
    assert done.status == 0
    assert json.loads(done.stdout) == {str(folder): []}


def better_summary(folder: Path) -> None:
    edit(folder / "summary.json", lambda s: s["metrics"]["rouge1@lamp"].update(value=0.99))


def other_answer(folder: Path) -> None:
    edit_first_sample(folder, lambda record: record.update(answer=record["gold"]))


def other_options(folder: Path) -> None:
    edit(folder / "manifest.json", lambda m: m["method"]["retriever"].update(spec="bm25:k1=2.0"))


def fewer_samples(folder: Path) -> None:
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(lines[1:]))


def repeated_sample(folder: Path) -> None:
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join([lines[1], *lines[1:]]))


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("better"))


def lost_gold(folder: Path) -> None:
    edit_first_sample(folder, lambda record: record.update(gold=None))


def other_digest(folder: Path) -> None:
    edit(folder / "summary.json", lambda s: s.update(digest="0" * 64))


def broken_line(folder: Path) -> None:
    (folder / "samples.jsonl").write_text("{\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (better_summary, "summary.json.metrics.rouge1@lamp.value is 0.99, recomputed:"),
        (other_answer, "the checksum differs"),
        (other_answer, "metrics.rouge1@lamp is"),
        (other_options, "the fingerprint does not match its content"),
        (fewer_samples, "11 samples, but the manifest says 12"),
        (repeated_sample, "a question occurs twice"),
        (renamed, "the folder's name does not end with"),
        (lost_gold, "1 of 12 golds are missing"),
        (other_digest, "summary.json: its digest does not match its content and the manifest"),
        (broken_line, "samples.jsonl:1"),
    ],
)
def test_damage_is_named(here: Any, folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    done = here("results", "verify", "r")
    assert done.status == 2
    assert said in done.stdout
    assert done.stderr.strip() == "prlm-bench: 1 of 1 result folders are invalid"


def test_nothing_to_verify_is_a_mistake(here: Any) -> None:
    assert "no result folders" in here("results", "verify", "nowhere").mistake


def forge(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "manifest.json", lambda m: m.update(fields))


def forge_method(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "manifest.json", lambda m: m["method"]["generator"].update(fields))


def forge_metric(name: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "manifest.json", lambda m: m["metrics"][0].update(spec=name))


@pytest.mark.parametrize(
    ("forgery", "said"),
    [
        (forge(task="planted.yaml"), "unknown task 'planted.yaml'"),
        (forge(task="../r/planted.yml"), "unknown task '../r/planted.yml'"),
        (forge(task="/etc/passwd"), "unknown task '/etc/passwd'"),
        (forge(task="mini_lamp_4\u0000"), "unknown task"),
        (forge(task="\u001b[2Jmini_lamp_4"), "unknown task '\\x1b[2Jmini_lamp_4'"),
        (forge_metric("planted.py"), "unknown metric 'planted.py'"),
        (forge_metric("rouge1@lamp:file=planted.py"), "metric 'rouge1@lamp' has no option 'file'"),
        (forge(fingerprint="../../../tmp/planted"), "the fingerprint does not match"),
        (forge(fingerprint="0" * 64), "the fingerprint does not match"),
        (forge(split="../dev"), "the fingerprint does not match"),
        (forge(command="prlm-bench run; rm -rf /"), ""),
        (forge(schema_version=3), "schema_version"),
        (forge(extra={"__reduce__": "os.system"}), "extra"),
        (forge_method(spec="copy", plugin="planted.py/copy"), "the fingerprint does not match"),
        (forge_method(fingerprint="\u202e"), "the fingerprint does not match"),
    ],
)
def test_a_forged_manifest_opens_nothing_and_is_named(
    here: Any, folder: Path, forgery: Callable[[Path], None], said: str
) -> None:
    """Names in it are those of known components alone; the command, which nothing runs, is not checked."""
    (folder.parent / "planted.py").write_text("raise SystemExit('ran')")
    for place in (Path(), Path("r")):
        for name in ("planted.yaml", "planted.yml"):
            (place / name).write_text("name: planted\n")
    forgery(folder)
    done = here("results", "verify", "r")
    assert done.status == (2 if said else 0)
    assert said in done.stdout
    assert done.stderr == ("prlm-bench: 1 of 1 result folders are invalid\n" if said else "")
    assert not {"\x1b", "\u202e", "\0"} & {*done.stdout}
