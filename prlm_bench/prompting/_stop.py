"""Texts that end a completion, as options write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def stop_texts(written: Sequence[str] | None) -> list[str]:
    r"""The texts that an option for stop texts means: `\n`, `\r`, `\t` and `\\` are escapes, other backslashes stay.

    Raises:
        ValueError: one of them is empty, which would end every completion before it begins.
    """
    texts = [re.sub(r"\\([nrt\\])", lambda found: _ESCAPES[found[1]], text) for text in written or ()]
    if "" in texts:
        raise ValueError("a text that ends a completion must not be empty")
    return texts
