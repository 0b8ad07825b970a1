"""Tables fit their terminal: nothing is wider than it, and no word and no number is cut in two."""

from __future__ import annotations

import random
import re

import pytest

from prlm_bench._util.tables import output_width, paragraph, table_text, wrapped

NAMES = (
    "bm25 · k4 · chat · smollm2 †",
    "none",
    "other-user · k1 · copy †",
    "hybrid:of=bm25+minilm,weights=0.25+0.75 · k16",
)
TEXTS = (
    "folder/bm25-k1-direct-protocol-chat-copy-s0-9cb0322d",
    "a title of some words",
    "yes",
    "",
    "標題の文字",
)
NUMBER = re.compile(r"\d[\d.]*")


def cell(rng: random.Random, kind: int) -> str:
    value = rng.random() * 10 ** rng.randint(-3, 5)
    return (
        f"{value:.4f}",
        f"{value:.4f} [{value - 1:.3f}, {value + 1:.3f}]",
        f"{value:.2f} ±{value / 9:.2f}",
        f"{rng.randint(0, 10**7)}",
        f"{value:.1f}%",
        rng.choice(NAMES),
        rng.choice(TEXTS),
        rng.choice(("-", "failed", f"{value:.1f} of {rng.randint(1, 9999)}")),
    )[kind]


@pytest.mark.parametrize("seed", range(60))
def test_no_number_is_cut_and_nothing_is_wider_than_the_terminal(seed: int) -> None:
    rng = random.Random(seed)
    kinds = [5, *(rng.randrange(8) for _ in range(rng.randint(1, 16)))]
    rows = [[cell(rng, kind) for kind in kinds] for _ in range(rng.randint(1, 5))]
    titles = ["method", *(rng.choice(("rouge1@lamp ↑", "parse failures", "folder", "seconds")) for _ in kinds[1:])]
    for width in (40, 80, 120):
        text = table_text("a title of a table that is long enough to be wrapped", titles, rows, width=width)
        drawn = [re.sub("[標題の文字]", "xx", line) for line in text.splitlines()]
        assert max(map(len, drawn)) <= width
        for row in rows:
            for number in NUMBER.findall(" ".join(row)):
                assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", text), (number, text)


def test_what_has_no_room_side_by_side_is_a_block_of_lines() -> None:
    text = table_text("", ["method", "value", "needs"], [["bm25", "0.5 [0.125, 0.875]", ""]], width=24)
    assert text == "method  bm25\nvalue   0.5\n        [0.125, 0.875]\n\n"


def test_columns_that_say_the_same_are_lifted_only_where_room_is_scarce() -> None:
    rows = [["a", "dev", "one two three four"], ["b", "dev", "five six seven eight"]]
    narrow = table_text("", ["task", "split", "words"], rows, width=26)
    assert narrow.splitlines()[:2] == ["all rows: split dev", "task  words"]
    assert "all rows" not in table_text("", ["task", "split", "words"], rows, width=80)


def test_figures_are_aligned_to_the_right_and_words_to_the_left() -> None:
    rows = [["ab", "1.5", "-"], ["c", "12.25 [1, 20]", "3"]]
    assert table_text("", ["name", "value", "n"], rows, width=40).splitlines() == [
        "name          value  n",
        "──────────────────────",
        "ab              1.5  -",
        "c     12.25 [1, 20]  3",
        "",
    ]


def test_a_file_has_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output_width() is None
    long = "word " * 200
    assert table_text("", ["parse failures"], [[long.strip()]]).splitlines()[2] == long.strip()
    assert paragraph(long.strip()) == long.strip() + "\n"
    monkeypatch.setenv("COLUMNS", "60")
    assert output_width() == 60


def test_words_are_broken_behind_punctuation_and_marks_stay_with_them() -> None:
    assert wrapped("model=/a/long/path,n=0.125", 12) == ["model=/a/", "long/path,n=", "0.125"]
    assert wrapped("none · echo †", 8) == ["none ·", "echo †"]
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert paragraph("  an indented line of words", 16) == "  an indented\n    line of\n    words\n"


def test_orders_to_the_terminal_are_no_text() -> None:
    text = table_text("a\x1b[2Jb", ["c\x07"], [["d\x1b]0;x\x07"]], width=40)
    assert re.search(r"[\x00-\x09\x0b-\x1f]", text) is None
