"""What is too large is refused in one line that says how large it may be, before it fills the memory."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prlm_bench
from prlm_bench._util import reading
from prlm_bench.errors import DataError
from prlm_bench.files import parse_record, parse_yaml, read_yaml
from prlm_bench.results import find_results
from prlm_bench.retrieval_eval._trec import read_run

#: A generator that writes 6000 characters to each prompt.
PLUGIN = """
from prlm_bench import Completion, hookimpl


class Long:
    tokenizer = None

    def fingerprint(self):
        return ""

    def generate(self, prompts):
        for j, prompt in enumerate(prompts):
            yield j, Completion("w" * 6000)


@hookimpl
def prlm_bench_register_generators(register):
    register("long", Long)
"""
WORDS = (
    "run",
    "--results",
    "results",
    "--task",
    "mini_lamp_4",
    "--synth-users",
    2,
    "--limit",
    2,
    "--retriever",
    "recency",
    "--generator",
)


def golds(path: Path, *texts: str) -> Path:
    path.write_text(json.dumps([{"id": f"q{i}", "output": text} for i, text in enumerate(texts)]))
    return path


def test_a_long_prediction_is_not_scored(tmp_path: Path, here: Callable[..., Any]) -> None:
    golds(tmp_path / "g.json", "a title", "another")
    golds(tmp_path / "p.json", "a title", "x " * 100_001)
    words = ("score", "--task", "lamp_4", "--golds", "g.json", "--predictions", "p.json")
    assert here(*words).mistake == (
        "p.json: the output of question 'q1' has 200002 characters, more than the 200000 that are scored (--max-answer "
        "allows more)"
    )
    assert here(*words, "--max-answer", 200_002).status == 0
    ended = here(*words[:4], "p.json", "--predictions", "g.json", "--metric", "rouge1@lamp")
    assert ended.mistake.startswith("p.json: the output of question 'q1' has 200002 characters")


def test_the_limit_is_an_argument(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the output of question 'q' has 4 characters, more than the 3"):
        prlm_bench.score({"q": "abcd"}, {"q": "abc"}, task="lamp_4", max_answer=3)
    assert prlm_bench.score({"q": "abcd"}, {"q": "abc"}, task="lamp_4", max_answer=4).n == 1


def test_a_row_with_a_long_answer_fails_and_the_others_are_finished(tmp_path: Path, here: Callable[..., Any]) -> None:
    (tmp_path / "long.py").write_text(PLUGIN)
    words = (*WORDS, "long", "--generator", "copy", "--no-controls", "--plugin", "long.py", "--max-answer", 5999)
    ended = here(*words)
    assert ended.status == 1
    (failed,) = (line for line in ended.stderr.splitlines() if line.startswith("FAILED"))
    assert failed.endswith("has 6000 characters, more than the 5999 that are scored (--max-answer allows more)")
    ended = here(*words[:-1], 6000)
    assert ended.status == 0, ended.stderr
    finished, unfinished = find_results(tmp_path / "results")
    assert not unfinished
    assert any("--max-answer 6000" in row.manifest.command for row in finished)
    assert len({row.manifest.fingerprint for row in finished}) == 2, "the limit is no part of the identity"


def test_a_long_gold_stops_a_run_before_anything_is_generated(here: Callable[..., Any]) -> None:
    said = here(*WORDS, "copy", "--max-answer", 5).mistake
    assert said.startswith("mini_lamp_4 dev: the gold of question ")
    assert said.endswith("more than the 5 that are scored (--max-answer allows more)")


def test_files_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_UNPACKED", 1 << 20)
    path = tmp_path / "x.run.gz"
    line = b"q Q0 i%d 1 1 tag\n"
    path.write_bytes(gzip.compress(b"".join(line % i for i in range(100_000))))
    with pytest.raises(DataError, match=r"x\.run\.gz:\d+: cannot be read: more than .* unpacked \(unpack it first"):
        read_run(path)
    monkeypatch.setattr(reading, "MAX_LINE", 1 << 10)
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(DataError, match=r"x\.run\.gz:1: cannot be read: a line of more than"):
        read_run(path)


def test_yaml_has_a_size_and_a_depth(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: " + "x" * (1 << 20))
    with pytest.raises(DataError, match=r"x\.yaml: cannot be read: it is larger than 1 MiB"):
        read_yaml(path)
    assert parse_yaml("[" * 50 + "]" * 50, "x").content is not None
    with pytest.raises(DataError, match="x: cannot be read: nested too deeply, over 50 levels"):
        parse_yaml("[" * 51 + "]" * 51, "x")
    deep = "a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 25 + "*a" + "]" * 25
    with pytest.raises(DataError, match="x:2: cannot be read: nested too deeply"):
        parse_yaml(deep, "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "'yes' is true or false in YAML; write true or false, or quote it"),
        ("2001-01-01", "'2001-01-01' is a date in YAML; quote it"),
        ("017", "'017' is a number that YAML reads as octal"),
        ("1:30", "'1:30' is a number that YAML reads as"),
        ("1_000", "'1_000' is a number that YAML reads as"),
        (".inf", "'.inf' is a number that JSON does not have"),
        ("1e999", "1e999 is too large for a number"),
        ("9" * 5000, "a whole number of more than 64 bits"),
        ("!!python/name:os.system", "the tag tag:yaml.org,2002:python/name:os.system is not read; leave it out"),
        ("!mine x", "the tag !mine is not read; leave it out"),
        ("*a", "the alias *a stands for nothing that ends before it"),
        ("{<<: {a: 1}}", "'<<' is a merge of YAML; write the values out"),
        ("{a: 1, a: 2}", "a: given twice"),
        ('"\\0"', "a zero byte, or half a surrogate pair, which no file can hold"),
        ("--- 1\n--- 2", "more than one document"),
    ],
)
def test_yaml_says_what_json_can_say(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_yaml(text, "x")
    assert said in str(caught.value)


def test_numbers_of_json_are_numbers() -> None:
    assert parse_yaml("[1e-5, -1, +2, .5, 1.5E3, 9223372036854775807, null, ~, TRUE, 0o17, 'yes']", "x").content == [
        *(1e-5, -1, 2, 0.5, 1500.0, 2**63 - 1, None, None, True, "0o17", "yes")
    ]
    assert parse_yaml("{1: a, yes: b, 2001-01-01: c}", "x").content == {"1": "a", "yes": "b", "2001-01-01": "c"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 100_000, "nested more than 200 levels deep"),
        (b"[" * 201 + b"]" * 201, "nested more than 200 levels deep"),
        (b"9" * 5000, "not readable as JSON at byte 0: a whole number has too many digits"),
        (b"NaN", "not valid JSON at byte 0"),
        (b'"\\ud800"', "not valid JSON at byte"),
        (b"\xff\xfe[\0]\0", "the file is UTF-16, not UTF-8"),
        (b"\x1f\x8b\0", "the file is gzip-compressed; unpack it first"),
        (b"", "the file is empty"),
        (b'{"a": [1, "x"]}', "a.1: Input should be a valid integer"),
        (b"[]", "not a JSON object"),
    ],
)
def test_json_of_the_standard(data: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_record(data, dict[str, list[int]], "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert said in str(caught.value)


def test_brackets_in_texts_are_no_nesting() -> None:
    text = {"a": "[" * 5000 + '\\"{'}
    assert parse_record(json.dumps(text).encode(), dict[str, str], "x.json") == text
    assert parse_record(b"[" * 200 + b"]" * 200, list[Any], "x.json")
