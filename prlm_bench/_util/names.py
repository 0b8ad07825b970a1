"""Names as people write them: `LaMP_7` is `lamp_7`, `BM25` is `bm25`."""

from __future__ import annotations

from collections.abc import Iterable


def matched(name: str, known: Iterable[str]) -> str:
    """The known name that a name means: itself, or the only one that differs in upper and lower case alone.

    A name that means none, or several, is returned as it is.
    """
    names = [*known]
    if name in names:
        return name
    alike = {each for each in names if each.casefold() == name.casefold()}
    return alike.pop() if len(alike) == 1 else name
