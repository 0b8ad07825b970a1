"""Length of the longest common subsequence, computed row by row with the bits of one integer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def lcs_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence of two sequences.

    Bit i of `row` is 0 where the dynamic programming table increases at i, so a row takes a few operations on integers
    of `len(shorter)` bits (M. Crochemore et al., "A fast and practical bit-vector algorithm for the
    longest common subsequence problem", Information Processing Letters 80, 2001; H. Hyyrö, 2004).
    """
    shorter, longer = (first, second) if len(first) <= len(second) else (second, first)
    positions: dict[Hashable, int] = {}
    bit = 1
    for item in shorter:
        positions[item] = positions.get(item, 0) | bit
        bit <<= 1
    full = bit - 1
    row = full
    for item in longer:
        # An item that is not in the shorter sequence does not change the row.
        if item in positions:
            matched = row & positions[item]
            row = (row + matched) | (row - matched)
    return len(shorter) - (row & full).bit_count()
