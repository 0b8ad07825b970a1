"""What strangers contribute (manifests, names, texts, errors of servers) orders no terminal and leaves no secret."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.made_results import sample, write_result

Cli = Callable[..., Any]
ORDERS = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\r"
SPEC = f"=HYPERLINK(1)|[x](http://evil)<img src=x onerror=alert(1)>{ORDERS}[/bold]\\"
ADDRESS = "http://name:PASSWORD@host/v1"


def clean(text: str) -> bool:
    """No character in it is an order to a terminal, or turns the direction of text."""
    return all(letter in "\n\t" or (letter >= " " and letter not in "\x7f\x9b\u202e\u2066") for letter in text)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two rows of a stranger, and one that is unfinished."""
    samples = [sample(f"q{i}", f"u{i % 3}", "a" if i < 4 else "b", "a", rewards={SPEC: 0.5}) for i in range(12)]
    other = [{**record, "answer": "b"} for record in samples]
    root = tmp_path / "r"
    write_result(root, samples, retriever=SPEC, generator=SPEC, split=f"dev{ORDERS}", command=f"run {ORDERS}")
    write_result(root, other, retriever="bm25", split=f"dev{ORDERS}", command=f"run {ORDERS}")
    folder = write_result(root, samples[:3], retriever=f"b{ORDERS}", command=f"run {ORDERS}")
    (folder / "summary.json").unlink()
    (folder / "samples.jsonl").unlink()
    return root


COMMANDS = (
    *(f"leaderboard --format {form}" for form in ("terminal", "markdown", "csv", "json", "latex", "html")),
    *("leaderboard --by-seed", "leaderboard --json", "results list", "results list --json", "results verify r"),
    *("results findings", "results findings --passed", "results findings --json", "compare", "compare --json"),
    *("compare nothing\x1b[2J", "leaderboard --task \x1b[2J", "leaderboard --format \x1b[2J", "\x1b[2J"),
    *(
        "site --output site",
        "site --markdown page.md",
        "human export \u202e bm25 --output x.csv",
        "submit lamp --output x.zip",
    ),
    *("data info --task lamp_7 --data \x1b[2J", "score --task lamp_7 --predictions \x1b[2J --golds \x1b[2J"),
    *(
        "run --task mini_lamp_7 --retriever \x1b[2J --generator copy",
        "run \x1b[2J.yaml",
        "--plugin \x1b[2J.py list tasks",
    ),
    *("rank --task mini_lamp_7 --retriever dense:model=./\x1b[2J", "prompts --task mini_lamp_7 --tokenizer ./\x1b[2J"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_gives_orders_to_the_terminal(command: str, results: Path, here: Cli) -> None:
    words = command.split(" ")
    reads = words[0] in ("leaderboard", "compare", "site", "human", "submit") or words[:2] in (
        ["results", "list"],
        ["results", "findings"],
    )
    done = here(*words, *(["--results", "r"] if reads else []))
    assert "Traceback" not in done.stderr
    assert clean(done.stdout), ascii(done.stdout)
    assert clean(done.stderr), ascii(done.stderr)


def test_the_csv_of_a_table_holds_no_formula(results: Path, here: Cli) -> None:
    rows = list(csv.DictReader(io.StringIO(here("leaderboard", "--format", "csv", "--results", "r").stdout)))
    measured = [row for row in rows if row["kind"] == "measured"]
    assert {row["retriever"][:12] for row in measured} == {"bm25", "'=HYPERLINK("}
    for row in rows:
        assert len(row) == len({*row}) and None not in row
        assert not [value for value in row.values() if value[:1] in ("=", "+", "@", "\t")]


PLUGIN = '''
"""A generator behind an address, which fails and repeats what it was given."""
from prlm_bench import Completion, hookimpl

ORDERS = "\\x1b[2J\\u202e"


class Remote:
    """Says nothing, or fails."""

    tokenizer = None

    def __init__(self, url: str, fails: bool = False) -> None:
        self.url, self.fails = url, fails

    def fingerprint(self) -> str:
        return f"served by {self.url}"

    def generate(self, prompts):
        if self.fails:
            raise RuntimeError(f"no answer of {self.url}{ORDERS}")
        for place, _ in enumerate(prompts):
            yield place, Completion("nothing")


@hookimpl
def prlm_bench_register_generators(register):
    register("remote", Remote, cached=True)


class Judge:
    """Fails at an address, and repeats it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def score(self, samples):
        raise RuntimeError(f"no answer of {self.url}{ORDERS}")


@hookimpl
def prlm_bench_register_rewards(register):
    register("judge", Judge)
'''


def test_a_password_in_an_address_is_stored_and_shown_nowhere(
    here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever plugin takes the address."""
    monkeypatch.setenv("PRLM_BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "remote.py").write_text(PLUGIN)
    words = "run --task mini_lamp_7 --synth-users 4 --limit 2 --retriever bm25 -k 1 --no-controls --plugin remote.py"
    said = []
    for spec, status in (
        (f"remote:url={ADDRESS}", 0),
        (f"remote:url={ADDRESS},fails=true", 1),
        (f"remote:url={ADDRESS},odd=1", 2),
        (f'remote:url={ADDRESS},odd="', 2),
        (f"remote:fails={ADDRESS}", 2),
        (f"openai-api:x,base_url={ADDRESS}", 2),
        (f'openai-api:base_url={ADDRESS},stop="a', 2),
    ):
        done = here(*words.split(), "--generator", spec, "--results", "r", "--profile")
        assert done.status == status, done
        said += [done.stdout, done.stderr]
    done = here(*words.split(), "--generator", "copy", "--reward", f"judge:url={ADDRESS}", "--results", "r", "-j", "2")
    assert done.status == 1, done
    said += [done.stdout, done.stderr]
    assert "no answer of http://host/v1\\u001b[2J\\u202e" in "".join(said)
    for command in ("leaderboard", "results list --json", "results findings", "cache list", "cache list --json"):
        done = here(*command.split(), *([] if command.startswith("cache") else ["--results", "r"]))
        said += [done.stdout, done.stderr]
    assert not [text for text in said if "PASSWORD" in text or not clean(text)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".json", ".jsonl", ".sqlite"} <= {path.suffix for path in files}
    assert not [path for path in files if b"PASSWORD" in path.read_bytes() or "PASSWORD" in str(path)]
    found = [json.loads(path.read_text()) for path in (tmp_path / "r").rglob("manifest.json")]
    specs = {manifest["method"]["generator"]["spec"]: manifest["command"] for manifest in found}
    assert "http://host/v1" in specs["remote:url=http://host/v1"]
    again = here(*words.split(), "--generator", f"remote:url={ADDRESS.replace('PASSWORD', 'other')}", "--results", "r")
    assert "0 rows run, 1 were there already" in again.stderr, "another password is no other model"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../a",
            "/tmp/a",
            "a/b",
            "a\\b",
            "a b",
            "a\nb",
            "a\0b",
            "a;b",
            "$(a)",
            "`a`",
            "a|b",
            "-a",
            "--a",
        ),
        *("__init__", "A", "ä", "a\u202eb", "a\x1b[2J", "%s", "{0}", "${a}", "a'b", 'a"b', "#a", "~a", "*"),
    ],
)
def test_odd_names_of_plugins_write_nothing(here: Cli, tmp_path: Path, name: str) -> None:
    done = here("new-plugin", "--output", "out", "--", name)
    assert done.status == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and clean(done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_the_key_of_a_human_evaluation_is_its_owners(results: Path, here: Cli) -> None:
    for path in results.iterdir():
        if not (path / "summary.json").is_file():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    done = here("human", "export", "bm25", "HYPERLINK", "--output", "-", "--results", "r")
    assert done.mistake == "an export is several files, which standard output cannot hold (give --output a file)"
    rows = sorted(str(path) for path in Path("r").iterdir())
    done = here("human", "export", *rows, "--output", "pairs.csv", "--results", "r")
    assert done.status == 0, done
    assert Path("pairs.key.json").stat().st_mode & 0o777 == 0o600
    assert clean(done.stdout + done.stderr)
