"""Judgements are read from every form they come in, and what is none is refused by file and line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.errors import DataError
from prlm_bench.human._files import write_key
from prlm_bench.human._judgements import read_judgements
from prlm_bench.human._schema import Judgement, Key, KeyMethod, KeyPair

KEY = Key(
    export="ab",
    task="lamp_4",
    split="dev",
    seed=0,
    methods=(KeyMethod(name="one", fingerprint="1"), KeyMethod(name="two", fingerprint="2")),
    identical=0,
    different=3,
    pairs={f"ab-{i}": KeyPair(question=f"q{i}", user=f"u{i}", first=0, second=1) for i in range(1, 4)}
    | {"ab-4": KeyPair(question="q4", user="u4", right=2)},
)
THREE = [Judgement("ab-1", "Ann", 1), Judgement("ab-2", "Ann", 2), Judgement("ab-3", "Ann", 0)]


def read(tmp_path: Path, content: str | bytes, name: str = "file") -> list[Judgement]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_judgements([path], KEY)


def label_studio(choices: Sequence[Any], by: Any = "Ann") -> str:
    tasks = [
        {
            "id": number,
            "data": {"pair": f"ab-{number}"},
            "annotations": [
                {
                    "id": number,
                    "completed_by": by,
                    "was_cancelled": False,
                    "result": [{"from_name": "choice", "type": "choices", "value": {"choices": [choice]}}],
                }
            ],
        }
        for number, choice in enumerate(choices, 1)
    ]
    return json.dumps(tasks, indent=2)


@pytest.mark.parametrize(
    "content",
    [
        "pair,annotator,choice\nab-1,Ann,1\nab-2,Ann,2\nab-3,Ann,0\n",
        "pair,annotator,choice\r\nab-1,Ann,1\r\nab-2,Ann,2\r\nab-3,Ann,0",
        "\ufeffpair;annotator;choice\nab-1; Ann ;left\nab-2;Ann;RIGHT\nab-3;Ann;tie\n",
        "choice\tPair\tother\tannotator\n1\tab-1\tx\tAnn\n2\tab-2\t\tAnn\n0\tab-3\t\tAnn\n",
        'pair,question,annotator,choice\nab-1,"two\nlines",Ann,1\n\nab-2,,Ann,2\nab-4,,,\nab-3,,Ann,0\n',
        json.dumps([{"pair": f"ab-{i}", "annotator": "Ann", "choice": c} for i, c in ((1, 1), (2, 2), (3, 0))]),
        json.dumps([{"pair": f"ab-{i}", "annotator": "Ann", "choice": c} for i, c in ((1, "1"), (2, "2"), (3, "0"))]),
        "\n".join(f'{{"pair": "ab-{i}", "annotator": "Ann", "choice": {c}}}' for i, c in ((1, 1), (2, 2), (3, 0))),
        label_studio(["1", "2", "0"]),
        label_studio(["left", "right", "tie"], {"id": 7, "email": "Ann"}),
    ],
)
def test_every_form_of_the_same_judgements_is_read(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == THREE


def test_label_studio_numbers_annotators_and_may_cancel(tmp_path: Path) -> None:
    tasks = json.loads(label_studio(["1", "2"], 7))
    tasks[1]["annotations"][0]["was_cancelled"] = True
    tasks[0]["annotations"].append(tasks[0]["annotations"][0] | {"completed_by": {"id": 8}})
    assert read(tmp_path, json.dumps(tasks)) == [Judgement("ab-1", "7", 1), Judgement("ab-1", "8", 1)]


def test_names_that_look_like_formulas_come_back(tmp_path: Path) -> None:
    assert read(tmp_path, 'pair,annotator,choice\nab-1,"\'=Ann",1\n')[0].annotator == "=Ann"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("pair,annotator,choice\nab-1,Ann,1\nab-9,Ann,1\n", "file:3: pair 'ab-9' is not in the export ab of this key"),
        ("pair,annotator,choice\nab-1,Ann,3\n", "file:2: choice '3' is not 1, 2 or 0"),
        ("pair,annotator,choice\nab-1,,1\n", "file:2: no annotator"),
        ("pair,annotator,choice\nab-1,Ann,1\n\nab-1,Ann,1\n", "file:4: 'Ann' judged ab-1 already in "),
        ('pair,note,annotator,choice\nab-1,"a\nb",Ann,1\nab-2,,,1\n', "file:4: no annotator"),
        ("pair,choice\nab-1,1\n", "file:1: no column 'annotator'"),
        ('pair,annotator,choice\nab-1,"Ann,1\n', "file:2: not CSV"),
        ("", "file:1: no column 'pair'"),
        ("pair,annotator,choice\n", "no judgements in "),
        ("[]", "no judgements in "),
        (
            '[\n{"pair": "ab-1", "annotator": "Ann", "choice": 1},\n{"pair": "ab-2",\n"choice": 1}]',
            "file:3: no annotator",
        ),
        ('[\n{"pair": "ab-1", "annotator": "Ann", "choice": true}]', "file:2: choice True is not 1, 2 or 0"),
        ('[\n{"pair": "ab-1", "annotator": "Ann", "choice": 1.0}]', "file:2: choice 1.0 is not 1, 2 or 0"),
        ('[\n{"pair": ["ab-1"], "annotator": "Ann", "choice": 1}]', "file:2: pair ['ab-1'] is not"),
        ("[1, null]", "file:1: pair None is not in the export ab of this key"),
        ('[\n{"pair": "ab-1"},\n{"pair" 1}]', "file:3: not JSON"),
        ('[{"pair": "ab-1", "annotator": "Ann", "choice": 1} 2]', "file:1: not JSON: missing comma"),
        ('[{"pair": "ab-1", "annotator": "Ann", "choice": 1}', "file:1: not JSON"),
        ('[{"pair": "ab-1", "annotator": "Ann", "choice": 1}] x', "file:1: not JSON"),
        ("[" * 100_000, "file:1: not JSON"),
        (label_studio(["good"]), "file:2: choice 'good' is not 1, 2 or 0"),
        (label_studio(["1"], None), "file:2: no annotator"),
        (b"pair,annotator,choice\nab-1,\xff,1\n", "file:2: cannot be read: not UTF-8"),
    ],
)
def test_what_is_no_judgement_is_refused_by_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert message in str(caught.value)


def test_all_problems_are_counted_and_the_first_is_named(tmp_path: Path, here: Callable[..., Any]) -> None:
    write_key(KEY, tmp_path / "key.json")
    (tmp_path / "one.csv").write_text("pair,annotator,choice\nab-1,Ann,1\nab-2,Ann,x\n")
    (tmp_path / "two.csv").write_text("pair,annotator,choice\nab-1,Ann,2\nab-3,Ann,2\nzz-1,Bob,2\n")
    ended = here("human", "import", "one.csv", "two.csv", "--key", "key.json")
    assert ended.mistake == "one.csv:3: choice 'x' is not 1, 2 or 0; 3 of 5 judgements invalid, this is the first"
    (tmp_path / "one.csv").write_text("pair,annotator,choice\nab-1,Ann,1\n")
    ended = here("human", "import", "one.csv", "one.csv", "--key", "key.json")
    assert ended.mistake == ("one.csv:2: 'Ann' judged ab-1 already in one.csv:2; 1 of 2 judgements invalid")
    assert (
        here("human", "import", "none.csv", "--key", "key.json").mistake
        == "none.csv: cannot be read: No such file or directory"
    )
    assert here("human", "import", "one.csv", "--key", "one.csv").mistake.startswith("one.csv: not valid JSON")


def test_the_command_prints_tables_or_json(tmp_path: Path, here: Callable[..., Any]) -> None:
    write_key(KEY, tmp_path / "key.json")
    rows = [f"ab-{i},{name},{1 + i % 2}" for name in ("Ann", "Bob") for i in range(1, 5)]
    (tmp_path / "all.csv").write_text("\n".join(["pair,annotator,choice", *rows]))
    ended = here("human", "import", "all.csv", "--key", "key.json")
    assert ended.status == 0
    for words in (
        "6 judgements of 3 of 3 pairs",
        "Krippendorff's alpha 3 1.0000 (3 users)",
        "Prior of strengths: one tie of each method with an average one",
        "(2 annotators, 3 users)",
        "Ann",
        "1 of 1",
        "win rate",
        "an interval needs 3 annotators and 6 users",
    ):
        assert words in " ".join(ended.stdout.split())
    assert "Kendall" not in ended.stdout
    plain = json.loads(here("human", "import", "all.csv", "--key", "key.json", "--json").stdout)
    assert (plain["agreement"]["alpha"]["value"], plain["metrics"]) == (1.0, None)
    dropped = here("human", "import", "all.csv", "--key", "key.json", "--drop-failed")
    assert "all annotators failed an attention check" in dropped.mistake
