"""The streaming reader gives what `json.load` gives, whatever the pieces, and says where a file goes wrong."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st

from prlm_bench.data.store._json import ListReader, StructureError, objects

# Lone surrogates included: JSON can spell them, and the reader must pass them on.
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(['"', "\\", '\\"', "{", "}", "[{", "\u2028\r\n\0"])
NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
# A busy machine is no reason to fail.
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHUNKS = st.integers(1, 70)


@st.composite
def documents(draw: st.DrawFn, elements: st.SearchStrategy[Any] = VALUES | OBJECTS) -> bytes:
    content = draw(st.lists(elements, max_size=6))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t"), ("\r\n,  ", ":")]))
    ascii_only = draw(st.booleans())
    text = json.dumps(
        content, indent=draw(st.sampled_from([None, 0, 3])), separators=separators, ensure_ascii=ascii_only
    )
    try:
        return (draw(st.sampled_from(["", " ", "\n\t"])) + text + draw(st.sampled_from(["", "\n", "  "]))).encode()
    except UnicodeEncodeError:
        return json.dumps(content).encode()


def read(data: bytes, chunk: int) -> list[Any]:
    return list(ListReader("f.json", io.BytesIO(data).read, chunk))


@STEADY
@given(documents(), CHUNKS)
def test_any_chunk_size_gives_what_json_load_gives(data: bytes, chunk: int) -> None:
    assert read(data, chunk) == json.loads(data)


@STEADY
@given(documents(OBJECTS), CHUNKS, st.data())
def test_every_cut_is_noticed(data: bytes, chunk: int, drawn: st.DataObject) -> None:
    whole = data.rstrip()
    cut = drawn.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(StructureError, match=r"cut off|empty") as caught:
        read(whole[:cut], chunk)
    assert caught.value.offset <= cut


@STEADY
@given(documents(), CHUNKS, st.data())
@example(b"[1.5e-3]", 1, None)
def test_a_changed_byte_gives_the_same_or_an_error_in_both(
    data: bytes, chunk: int, drawn: st.DataObject | None
) -> None:
    if drawn is not None:
        place = drawn.draw(st.integers(0, len(data)))
        gone = drawn.draw(st.integers(0, 1))
        data = data[:place] + bytes([drawn.draw(st.sampled_from(b'"\\{}[],: x1\n\xff\x00'))]) + data[place + gone :]
    try:
        expected = json.loads(data.decode())
    except ValueError:
        expected = None
    assume(b"\0" not in data[:4])
    if not isinstance(expected, list):
        with pytest.raises(StructureError):
            read(data, chunk)
        return
    # json.load has integers of any size; no field of the data is a number.
    assume(not any(isinstance(value, int) and abs(value) >= 2**63 for value in _leaves(expected)))
    assert read(data, chunk) == expected


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    return [value]


@STEADY
@given(st.lists(OBJECTS, max_size=5), st.integers(0, 3))
def test_objects_are_found_where_they_are(content: list[Any], blanks: int) -> None:
    pieces = [json.dumps(value).encode() for value in content]
    starts, ends, data = [], [], b" " * blanks
    for piece in pieces:
        starts.append(len(data))
        data += piece
        ends.append(len(data) - 1)
        data += b" , "
    found = objects(data)
    assert np.array_equal(found[0], starts)
    assert np.array_equal(found[1], ends)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 21])
@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"", 0, "the file is empty"),
        (b" \n", 2, "the file is empty"),
        (b'"golds"', 0, "not a JSON list: it begins with '\"'"),
        (b'{"task": 1}', 11, 'an object without a list "golds"'),
        (b'{"golds": 1}', 12, 'an object without a list "golds"'),
        (b"{}", 2, 'an object without a list "golds"'),
        (b'{"golds": [], "golds": []}', 24, 'two lists "golds"'),
        (b'{"golds": [{"id": "a"}]', 23, "cut off at byte 23, after questions[0] (id 'a')"),
        (b'{"golds" [', 9, "':' is missing"),
        (b'{"golds": [],}', 13, "'\"' is missing"),
        (b'{"golds": []} x', 14, "text follows the end of the list"),
        (b"[", 1, "cut off at byte 1, before the first question was whole"),
        (b'[{"id": "a"}, {"id": "b"', 24, "cut off at byte 24, after questions[0] (id 'a')"),
        (b'[{"id": "a"}, {"id": "b\xc3', 24, "cut off at byte 24, after questions[0] (id 'a')"),
        (b'[{"id": "a"} {"id": "b"}]', 13, "a comma or ']' is missing"),
        (b'[{"id": "a"}{"id": "b"}]', 12, "a comma or ']' is missing"),
        (b'[{"id": "a"},]', 13, "not valid JSON at byte 13, after questions[0] (id 'a')"),
        (b'[{"id": "a"}] x', 14, "text follows the end of the list"),
        (b'[{"id": "\xc3\xa9"}, {"id": "say "no""}]', 28, "not valid JSON at byte 28"),
        ('[{"id": "é"}]'.encode("latin-1"), 9, "not UTF-8: byte 0xe9 at byte 9"),
        ('[{"id": "é"}]'.encode("utf-16"), 0, "UTF-16"),
        ('[{"id": "é"}]'.encode("utf-16-le"), 0, "UTF-16"),
        ('[{"id": "é"}]'.encode("utf-32"), 0, "UTF-32"),
        (b"\x1f\x8b\x08\x00", 0, "gzip"),
    ],
)
def test_errors_say_where(data: bytes, offset: int, message: str, chunk: int) -> None:
    with pytest.raises(StructureError) as caught:
        read(data, chunk)
    assert message in str(caught.value)
    assert str(caught.value).startswith("f.json: ")
    assert caught.value.offset == offset


def test_a_byte_order_mark_is_no_content() -> None:
    assert read(b'\xef\xbb\xbf[{"id": "a"}]', 2) == [{"id": "a"}]


def test_a_stray_quote_is_found_without_reading_to_the_end() -> None:
    bad = b'[{"id": "a", "input": "say "no" now"}'
    source = io.BytesIO(bad + b', {"id": "b"}' * 100_000 + b"]")
    with pytest.raises(StructureError, match="not valid JSON at byte 28"):
        list(ListReader("f.json", source.read, 1000))
    assert source.tell() < 10_000


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(StructureError):
        read(b'[{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}]", 1 << 21)
