"""Clipped n-gram matches of many pairs at once, with one sort for all orders; used by both BLEU metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# With at most this many symbols a chunk of pairs always fits into 63-bit keys: 10 bits + 4 * 13 bits + 1 bit.
_CHUNK = 1 << 12


def ngram_totals(lengths: Ints, highest: int = 4) -> Ints:
    """The number of n-grams of orders 1 to highest in texts of these lengths: shape (n,) to (n, highest)."""
    totals: Ints = np.maximum(lengths[:, None] - np.arange(highest), 0)
    return totals


def clipped_matches(pairs: Sequence[tuple[Ints, Ints]], highest: int = 4) -> Ints:
    """For each pair and each order, the sum over n-grams of min(count in the answer, count in the gold).

    Args:
        pairs: n pairs (answer, gold) of symbols, each a one-dimensional array of non-negative integers.
        highest: the highest order, 4 at most.

    Returns:
        Counts of shape (n, highest).
    """
    matches = np.zeros((len(pairs), highest), dtype=np.int64)
    texts = [text for pair in pairs for text in pair]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    if not lengths.sum():
        return matches
    symbols = _dense(np.concatenate(texts))
    ends = np.concatenate(([0], np.cumsum(lengths)))
    for first, last in _chunks(lengths.reshape(-1, 2).sum(axis=1).tolist()):
        chunk = symbols[ends[2 * first] : ends[2 * last]]
        if chunk.size:
            owner = np.repeat(np.arange(2 * (last - first)), lengths[2 * first : 2 * last])
            matches[first:last] = _chunk_matches(_dense(chunk), owner, last - first, highest)
    return matches


def _chunks(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of pairs, of at most `_CHUNK` symbols (counting 4 more per pair), unless a single pair is larger."""
    first = load = 0
    for index, size in enumerate(sizes):
        if index > first and load + size + 4 > _CHUNK:
            yield first, index
            first, load = index, 0
        load += size + 4
    yield first, len(sizes)


def _dense(symbols: Ints) -> Ints:
    """The symbols renamed 1, 2, ... without gaps, in their order."""
    ranks = np.zeros(int(symbols.max()) + 1, dtype=np.int64)
    ranks[symbols] = 1
    return np.cumsum(ranks)[symbols]


def _chunk_matches(symbols: Ints, owner: Ints, n_pairs: int, highest: int) -> Ints:
    """`clipped_matches` of one chunk; `owner` is the text of each symbol, 2 * pair + (1 for the gold).

    The bits of a key are, from the highest: the pair, `highest` symbols (0 past the end of the text), one for the side.
    Sorting the keys sorts their prefixes, which are the n-grams of each lower order.
    """
    size, width = len(symbols), int(symbols.max()).bit_length()
    fits = (n_pairs - 1).bit_length() + highest * width + 1 <= 63
    keys = (owner >> 1).astype(np.int64 if fits else object)
    for step in range(highest):
        ahead = np.zeros_like(symbols)
        within = np.flatnonzero(owner[step:] == owner[: max(size - step, 0)])
        ahead[within] = symbols[within + step]
        keys = (keys << width) | ahead
    keys = (keys << 1) | (owner & 1)
    keys.sort()
    in_gold = (keys & 1).astype(np.int64)
    columns = []
    for order in range(1, highest + 1):
        prefixes = keys >> (1 + width * (highest - order))
        starts = np.flatnonzero(np.concatenate(([True], prefixes[1:] != prefixes[:-1])))
        grams = prefixes[starts]
        golds = np.add.reduceat(in_gold, starts)
        answers = np.diff(starts, append=size) - golds
        whole = (grams & ((1 << width) - 1)) != 0
        shared = np.minimum(golds, answers) * whole
        owners = (grams >> (width * order)).astype(np.int64)
        columns.append(np.bincount(owners, weights=shared, minlength=n_pairs))
    return np.stack(columns, axis=1).astype(np.int64)
