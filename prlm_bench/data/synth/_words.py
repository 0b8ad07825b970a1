"""The vocabulary, and the few rules that turn filled templates into prose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ...errors import DataError

_FOLDER = Path(__file__).with_name("vocabulary")
_SMALL = frozenset(("a", "an", "and", "as", "at", "by", "for", "from", "in", "of", "on", "the", "to", "with"))


@cache
def vocabulary(name: str) -> Any:
    """The content of `vocabulary/<name>.yaml`: nested lists and mappings of strings."""
    return yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def prose(template: str, facts: Mapping[str, str]) -> str:
    """`template` filled with `facts`, its sentences capitalized, with "an" where "a" would be wrong."""
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.format_map(facts))
    return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def title_case(text: str) -> str:
    """`text` with capitals as in a headline: every word but small ones that do not come first."""
    words = text.split(" ")
    return " ".join(
        word if index and word in _SMALL else word[:1].upper() + word[1:] for index, word in enumerate(words)
    )


class Finder:
    """Finds the vocabulary's phrases in a text, whatever their case.

    Args:
        what: what the phrases are, in the singular; used in messages.
        phrases: lower- or mixed-case phrases, found as whole words only; a longer phrase wins over its parts.
    """

    def __init__(self, what: str, phrases: Iterable[str]) -> None:
        self._what = what
        self._phrases = {phrase.lower(): phrase for phrase in phrases}
        longest = sorted(self._phrases, key=lambda phrase: (-len(phrase), phrase))
        self._pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, longest)) + r")\b", re.IGNORECASE)

    def all(self, text: str) -> list[str]:
        """All phrases in `text` in the order in which they occur, as the vocabulary spells them."""
        return [self._phrases[found.lower()] for found in self._pattern.findall(text)]

    def one(self, text: str) -> str:
        """The first phrase in `text`.

        Raises:
            DataError: there is none, so the text is not one of mini-LaMP's.
        """
        found = self._pattern.search(text)
        if found is None:
            raise DataError(f"no known {self._what} in {text[:80]!r}", "only inputs of mini-LaMP can be read")
        return self._phrases[found[0].lower()]
