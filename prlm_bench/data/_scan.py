"""Finds where the objects of a JSON list begin and end, many bytes at a time.

Only four bytes matter: quotes, backslashes and braces. All are ASCII, so UTF-8 text around them cannot
be mistaken for them. Whether what lies between a pair of braces is valid JSON is for a parser to say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]

_QUOTE, _BACKSLASH, _OPEN, _CLOSE = b'"\\{}'


def objects(data: bytes | memoryview, start: int = 0) -> tuple[Positions, Positions]:
    """Positions of the outermost objects that `data` holds whole.

    Args:
        data: n bytes of JSON.
        start: a position outside strings and objects.

    Returns:
        Positions of the opening and of the closing braces, both of shape (number of objects,), in `data`.
    """
    view = np.frombuffer(data, dtype=np.uint8)[start:]
    quotes = _string_bounds(view)
    braces = np.flatnonzero((view == _OPEN) | (view == _CLOSE))
    # Outside strings, an even number of string bounds lies to the left.
    braces = braces[np.searchsorted(quotes, braces) & 1 == 0]
    opening = view[braces] == _OPEN
    depth = np.cumsum(np.where(opening, 1, -1))
    if depth.size and depth.min() < 0:
        stray = int(np.argmax(depth < 0))
        braces, opening, depth = braces[:stray], opening[:stray], depth[:stray]
    ends = braces[~opening & (depth == 0)]
    starts = braces[opening & (depth == 1)][: ends.size]
    return starts + start, ends + start


def _string_bounds(view: NDArray[np.uint8]) -> Positions:
    quotes = np.flatnonzero(view == _QUOTE)
    slashes = np.flatnonzero(view == _BACKSLASH)
    if not slashes.size:
        return quotes
    after_slash = np.flatnonzero((quotes > 0) & (view[quotes - 1] == _BACKSLASH))
    if not after_slash.size:
        return quotes
    # A quote is escaped where the run of backslashes before it has odd length.
    run_starts = slashes[np.diff(slashes, prepend=-2) != 1]
    run_start = run_starts[np.searchsorted(run_starts, quotes[after_slash]) - 1]
    bounds = np.ones(quotes.size, dtype=bool)
    bounds[after_slash[(quotes[after_slash] - run_start) % 2 == 1]] = False
    return quotes[bounds]
