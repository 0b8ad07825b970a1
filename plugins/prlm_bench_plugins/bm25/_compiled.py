"""`OkapiIndex` compiled by numba: the same numbers, bit for bit, without a Python object for each token.

Texts are read as UTF-8. Tokens are those of `str.split`; two tokens are equal if their bytes are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from ._okapi import LOGS, Floats, Ints

Bytes = NDArray[np.uint8]
#: Shape (slots,): terms by key, -1 where a slot is free. The number of slots is a power of two.
Table = NDArray[np.int32]
#: Shape (terms,): a token's bytes, if it has at most eight; else a mixture of them.
Keys = NDArray[np.uint64]
#: Shape (terms, 5): begin and size of the first occurrence, last posting and its text, number of texts.
Terms = NDArray[np.int32]
#: Shape (postings, 3): the text, how often the term is in it, the term's posting before this one or -1.
Postings = NDArray[np.int32]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_BEGIN, _SIZE, _LAST, _TEXT, _TEXTS = range(5)
_EIGHT, _REST = np.uint64(8), np.uint64(56)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing


def _machine_code(function: _Function) -> _Function:
    """The function, compiled on its first call; the code is cached on disk where a folder is writable."""
    try:
        compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba finds no such folder
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(_Function, compiled)


def _inlined(function: _Function) -> _Function:
    """The function, inlined into its callers: a call for each token would cost more than the token's work."""
    return cast(_Function, numba.njit(inline="always", error_model="numpy")(function))


@_machine_code
def is_white(first: int, second: int, third: int) -> bool:
    """True where a character of two or three bytes is white space."""
    if first == 0xC2:
        return second == 0x85 or second == 0xA0
    if first == 0xE1:
        return second == 0x9A and third == 0x80
    if first == 0xE2 and second == 0x80:
        return third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
    return (first == 0xE2 and second == 0x81 and third == 0x9F) or (first == 0xE3 and second == third == 0x80)


@_inlined
def next_token(data: Bytes, at: int, stop: int) -> tuple[int, int, int, np.uint64]:
    """Begin, end and key of the first token from `at` on, and where to continue; begin is `stop` if there is none."""
    begin, end, key = at, -1, np.uint64(0)
    while at < stop:
        byte = data[at]
        width = 0
        if byte <= 0x20:
            width = 1 if byte == 0x20 or 0x09 <= byte <= 0x0D or byte >= 0x1C else 0
        elif 0xC2 <= byte <= 0xE3 and at + 1 < stop:  # the bytes that wider white space begins with
            width = 2 if byte < 0xE0 else 3
            if not is_white(byte, data[at + 1], data[at + width - 1]):
                width = 0
        if width == 0:
            key = ((key << _EIGHT) | (key >> _REST)) ^ np.uint64(byte)
            at += 1
        elif begin == at:
            at += width
            begin = at
        else:
            end = at
            at += width
            break
    return begin, end if end >= 0 else at, at, key


@_inlined
def slot_of(
    text: Bytes, begin: int, size: int, key: np.uint64, table: Table, keys: Keys, terms: Terms, data: Bytes
) -> int:
    """The slot of the term that is this token of `text`, or the free one where it belongs."""
    mask = len(table) - 1
    at = int((key * _SPREAD) >> np.uint64(32)) & mask
    while table[at] >= 0:
        number = table[at]
        if keys[number] == key and terms[number, _SIZE] == size:
            same = 0 if size > 8 else size
            while same < size and data[terms[number, _BEGIN] + same] == text[begin + same]:
                same += 1
            if same == size:
                break
        at = (at + 1) & mask
    return at


@_machine_code
def fill(
    data: Bytes, sizes: Ints, table: Table, keys: Keys, terms: Terms, postings: Postings, lengths: Ints
) -> tuple[int, int]:
    """Write terms, postings and the number of tokens of each text; returns the numbers of terms and postings.

    Returns -1 terms if the table is too small. The caller then allocates a larger one: replacing an array in here
    would make numba count references at every token.
    """
    n_terms = n_postings = stop = 0
    most = len(table) // 2
    for text in range(len(sizes)):
        at, stop = stop, stop + sizes[text]
        lengths[text] = 0
        while True:
            begin, end, at, key = next_token(data, at, stop)
            if begin == stop:
                break
            lengths[text] += 1
            slot = slot_of(data, begin, end - begin, key, table, keys, terms, data)
            number = table[slot]
            if number < 0:
                if n_terms == most:
                    return -1, 0
                table[slot] = number = n_terms
                keys[number] = key
                terms[number, _BEGIN], terms[number, _SIZE] = begin, end - begin
                terms[number, _LAST], terms[number, _TEXT], terms[number, _TEXTS] = -1, -1, 0
                n_terms += 1
            last = terms[number, _LAST]
            if terms[number, _TEXT] == text:
                postings[last, 1] += 1
            else:
                postings[n_postings, 0], postings[n_postings, 1], postings[n_postings, 2] = text, 1, last
                terms[number, _LAST], terms[number, _TEXT] = n_postings, text
                terms[number, _TEXTS] += 1
                n_postings += 1
    return n_terms, n_postings


@_machine_code
def index_of(data: Bytes, sizes: Ints) -> tuple[Table, Keys, Terms, Postings, Ints]:
    """Table, keys, terms and postings, and the number of tokens of each text.

    Args:
        data: the texts one after the other.
        sizes: bytes of each text.
    """
    most = len(data) // 2 + len(sizes)  # tokens
    postings, lengths = np.empty((most, 3), np.int32), np.empty(len(sizes), np.int64)
    slots = 64
    while slots < len(data) // 4:
        slots *= 2
    while True:
        table = np.full(slots, -1, np.int32)
        keys, terms = np.empty(slots // 2, np.uint64), np.empty((slots // 2, 5), np.int32)
        n_terms, n_postings = fill(data, sizes, table, keys, terms, postings, lengths)
        if n_terms >= 0:
            return table, keys[:n_terms].copy(), terms[:n_terms].copy(), postings[:n_postings].copy(), lengths
        slots *= 4


@_machine_code
def weigh(terms: Terms, lengths: Ints, k1: float, b: float, epsilon: float, logs: Floats) -> tuple[Floats, Floats]:
    """The idf of each term and the length norm of each text, by operations in rank_bm25's order."""
    count = len(lengths)
    idf = np.empty(len(terms))
    total = 0.0
    for number in range(len(terms)):
        texts = terms[number, _TEXTS]
        idf[number] = logs[count - texts] - logs[texts]
        total += idf[number]
    floor = epsilon * (total / len(terms))
    for number in range(len(terms)):
        if idf[number] < 0:
            idf[number] = floor
    mean_length = lengths.sum() / count
    norm = np.empty(count)
    for text in range(count):
        norm[text] = k1 * (1 - b + b * lengths[text] / mean_length)
    return idf, norm


@_machine_code
def score(
    query: Bytes,
    data: Bytes,
    table: Table,
    keys: Keys,
    terms: Terms,
    postings: Postings,
    idf: Floats,
    norm: Floats,
    k1: float,
) -> Floats:
    """The score of each text, shape (texts,), added term by term as the query has them."""
    scores = np.zeros(len(norm))
    at, stop = 0, len(query)
    while True:
        begin, end, at, key = next_token(query, at, stop)
        if begin == stop:
            return scores
        number = table[slot_of(query, begin, end - begin, key, table, keys, terms, data)]
        posting = terms[number, _LAST] if number >= 0 else -1
        while posting >= 0:
            text, frequency = postings[posting, 0], postings[posting, 1]
            scores[text] += idf[number] * (frequency * (k1 + 1) / (frequency + norm[text]))
            posting = postings[posting, 2]


class CompiledIndex:
    """A compiled `OkapiIndex`: same arguments, same scores.

    Args:
        texts: n texts, together below 2 GiB.
        k1, b, epsilon: as in the formula.
    """

    __slots__ = ("_data", "_k1", "_parts")

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25) -> None:
        joined = "".join(texts)
        if joined.isascii():
            data, sizes = joined.encode(), list(map(len, texts))
        else:
            parts = [text.encode("utf-8", "surrogatepass") for text in texts]
            data, sizes = b"".join(parts), list(map(len, parts))
        self._data = np.frombuffer(data, np.uint8)
        self._k1 = k1
        table, keys, terms, postings, lengths = index_of(self._data, np.array(sizes, np.int64))
        idf, norm = weigh(terms, lengths, k1, b, epsilon, LOGS.up_to(len(texts)))
        self._parts = (table, keys, terms, postings, idf, norm)

    def scores(self, query: str) -> Floats:
        """The score of every text for `query`, shape (n,); a repeated query term counts again."""
        data = np.frombuffer(query.encode("utf-8", "surrogatepass"), np.uint8)
        found: Floats = score(data, self._data, *self._parts, self._k1)
        return found
