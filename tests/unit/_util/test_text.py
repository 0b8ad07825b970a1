"""Text that is stored and shown: no secrets, no orders to a terminal, no formulas, no cells that break a table."""

from __future__ import annotations

import base64
import csv
import io
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt

from prlm_bench._util.cells import csv_text, markdown_row
from prlm_bench._util.tables import table_text
from prlm_bench._util.text import without_logins
from prlm_bench.errors import PrlmBenchError, UnknownNameError
from prlm_bench.files import masked, printable

KEY = "sk-proj-Zm9v+/~0123456789abcd"
ORDERS = "\x1b]0;owned\x07 \x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\u200f\u2028\r"


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("see http://name:pass@host/x and https://name@other", "see http://host/x and https://other"),
        ("http://name:pa/ss?w#rd@host/x", "http://host/x"),
        ("http://name:p@ss@host/", "http://host/"),
        ("http://name:1234@host/", "http://host/"),
        ("'a:base_url=http://u:PW@h/v1,stop=\"x'", "'a:base_url=http://h/v1,stop=\"x'"),
        ("http://localhost:8000/v1/model@main", "http://localhost:8000/v1/model@main"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("acme/tiny@v1, name:pass@host", "acme/tiny@v1, name:pass@host"),
    ],
)
def test_addresses_lose_their_logins(given_: str, shown: str) -> None:
    assert without_logins(given_) == shown


@given(st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_nothing_that_is_printable_orders_a_terminal_about(text: str) -> None:
    shown = printable(text + ORDERS)
    assert not {*shown} & {*ORDERS} - {*"]0;owned [2J31mgnp.exe"}
    assert all(letter in "\n\t" or ord(letter) >= 32 for letter in shown)
    assert printable(shown) == shown, "escapes are text"
    assert printable("a\tb\n") == "a\tb\n"


def test_escapes_in_json_mean_the_same() -> None:
    value = {"a": ORDERS + "é"}
    assert json.loads(printable(json.dumps(value, ensure_ascii=False))) == value


def test_errors_show_neither_passwords_nor_orders() -> None:
    error = PrlmBenchError(f"http://u:PW@h {ORDERS}", f"try http://u:PW@h {ORDERS}")
    for text in (str(error), error.message, error.hint, *map(str, error.args)):
        assert "PW" not in text and not {"\x1b", "\u202e", "\r"} & {*text}
    assert "\x1b" not in str(UnknownNameError("task", "\x1b", ["\x1b[1m"]))


@pytest.mark.parametrize("before", range(4))
def test_keys_are_masked_in_every_form(before: int) -> None:
    text = b"x" * before + KEY.encode() + b"yy"
    forms = [KEY, quote(KEY, safe=""), text.hex(), text.hex().upper()]
    forms += [encode(text).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    for form in forms:
        shown = masked(f"before {form} after", ["", KEY])
        assert shown.startswith("before ") and shown.endswith(" after") and "***" in shown
        assert len(shown) < len("before *** after") + 12, "at most what stands around the key is left"
    assert masked("EMPTY", ["EMPTY"]) == "EMPTY", "a placeholder, which a text may contain by chance"
    assert masked("EMPTY", ["EMPTY"], shortest=1) == "***"
    assert masked("nothing of it", [KEY]) == "nothing of it"


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "＝1", "＋1", "－1", "＠a"]


def test_no_cell_is_a_formula() -> None:
    rows = list(csv.reader(io.StringIO(csv_text([FORMULAS, [-1.5, 2, None, "plain"]]), newline="")))
    assert rows == [["'" + text for text in FORMULAS], ["-1.5", "2", "", "plain"]]


@given(st.lists(st.text("a\\|`<>[]()!*\n\r\x1b ", max_size=12), min_size=2, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_markdown_row_has_its_cells_and_nothing_else(cells: list[str]) -> None:
    head = [markdown_row(["h"] * len(cells)), markdown_row(["---"] * len(cells))]
    parsed = MarkdownIt().enable("table").parse("\n".join([*head, markdown_row(["x", *cells[1:]])]))
    found = [token for token in parsed if token.type == "inline"][len(cells) :]
    assert len(found) == len(cells)
    kinds = {child.type for token in found for child in token.children or []}
    assert not kinds & {"link_open", "image", "html_inline", "code_inline"}, kinds


def test_a_table_shows_titles_and_cells_as_they_are() -> None:
    shown = table_text("[/x] \x1b[1m", ["[bold]a", "\x1b"], [["[/y]", ORDERS]])
    assert "[/x] \\u001b[1m" in shown and "[bold]a" in shown and "[/y]" in shown and "\x1b" not in shown
