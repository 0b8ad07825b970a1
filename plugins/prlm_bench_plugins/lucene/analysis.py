"""Lucene's analyzers, as Anserini sets them up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from .java import java_class

AnalyzerName = Literal["english", "krovetz", "unstemmed", "whitespace"]

#: Analyzed texts that are remembered; the profiles of one user share most of theirs.
_REMEMBERED = 1 << 14


class Analysis:
    """One analyzer.

    Args:
        name: english (lower case, English stop words left out, Porter stems), krovetz (the same with
            Krovetz stems), unstemmed (the same without stems), or whitespace (words as they stand).
    """

    def __init__(self, name: AnalyzerName) -> None:
        self.analyzer = _make(name)
        self._analyze: Callable[[Any, str], Any] = java_class("io.anserini.analysis.AnalyzerUtils").analyze
        self.tokens = lru_cache(_REMEMBERED)(self._tokens)

    def _tokens(self, text: str) -> tuple[str, ...]:
        """The tokens of a text, in order, repeats kept; no token holds a blank."""
        # One call for the whole list: a call for each token is many times slower.
        written: str = self._analyze(self.analyzer, java_text(text)).toString()[1:-1]
        # Equal tokens share one string, since many texts are remembered.
        return tuple(map(sys.intern, written.split(", "))) if written else ()


def java_text(text: str) -> str:
    """The text with a `?` for every lone surrogate, which cannot be handed over."""
    return text.encode("utf-8", "replace").decode()


def _make(name: AnalyzerName) -> Any:
    if name == "whitespace":
        return java_class("org.apache.lucene.analysis.core.WhitespaceAnalyzer")()
    english = java_class("io.anserini.analysis.DefaultEnglishAnalyzer")
    if name == "unstemmed":
        return english.newNonStemmingInstance()
    return english.newStemmingInstance("porter" if name == "english" else "krovetz")
