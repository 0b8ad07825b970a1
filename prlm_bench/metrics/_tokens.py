"""Texts to words, exactly as the packages that define the two protocols cut them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache

from ..errors import MissingDependencyError

_ALPHANUMERIC = re.compile(r"[a-z0-9]+")

# What jieba 0.42.1 does to a text without Chinese characters, where its dictionary has no say: the character
# classes of `jieba.re_han_default` and `jieba.finalseg.re_skip`, any other character alone, "\r\n" as one.
_PLAIN = re.compile(r"[a-zA-Z0-9]+(?:\.[0-9]+)?%?|[+#&._%\-]+|\r\n|.", re.DOTALL)
_CHINESE = re.compile("[\u4e00-\u9fd5]")

# rouge_chinese 1.0.3, `Rouge.cut_sent`: where a sentence ends, and what is written there.
_SENTENCE_ENDS = (
    (re.compile("([。！？?])([^”’])"), "\\1\n\\2"),
    (re.compile(r"(\.{6})([^”’])"), "\\1\n\\2"),
    (re.compile("(…{2})([^”’])"), "\\1\n\\2"),
    (re.compile("([。！？?][”’])([^，。！？?])"), "\\1\n\\2"),
)


def lamp_words(text: str) -> list[str]:
    """The runs of `a-z0-9` in the lower-cased text: rouge_score 0.1.2's default tokenizer without stemming."""
    return _ALPHANUMERIC.findall(text.lower())


def prlm_words(text: str) -> list[str]:
    """The words that rouge_chinese 1.0.3 sees in `" ".join(jieba.cut(text.lower()))`; none where the text is blank.

    A line that holds blanks only is one word, the empty string: rouge_chinese splits lines at single blanks.
    """
    lowered = text.lower()
    if not lowered.strip():
        return []
    joined = " ".join(jieba_cut(lowered))
    if joined.isascii() and "\n" not in joined and "?" not in joined and "......" not in joined:
        return joined.split()
    for end, marked in _SENTENCE_ENDS:
        joined = end.sub(marked, joined)
    return [word for line in joined.rstrip().split("\n") if line for word in line.split() or [""]]


def jieba_cut(lowered: str) -> list[str]:
    """`list(jieba.cut(lowered))` of jieba 0.42.1 with its own dictionary, for a text in lower case.

    jieba cuts a text block by block; only the blocks that depend on its dictionary are left to it.
    """
    if not _needs_dictionary(lowered):
        return _PLAIN.findall(lowered)
    blocks, cut = _jieba()
    words: list[str] = []
    for block in blocks(lowered):
        words += cut(block) if _needs_dictionary(block) else _PLAIN.findall(block)
    return words


def _needs_dictionary(lowered: str) -> bool:
    """True where a Chinese character occurs, or one of the dictionary's two words in lower case that have none."""
    return "c#" in lowered or "c++" in lowered or bool(not lowered.isascii() and _CHINESE.search(lowered))


@cache
def _jieba() -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
    """Two functions: a text to the blocks that jieba cuts one by one, and a block to its words.

    The tokenizer is an instance of our own, filled from the dictionary that ships with jieba: words that a program
    adds to jieba cannot change a score, and neither can the cache file that all programs of a machine share.

    Raises:
        MissingDependencyError: jieba is not installed.
    """
    with warnings.catch_warnings():
        # jieba 0.42.1 has invalid escapes in its sources and imports pkg_resources.
        warnings.simplefilter("ignore")
        try:
            import jieba
        except ImportError:
            raise MissingDependencyError("ROUGE of the prlm protocol", "jieba", "prlm-metrics") from None

        tokenizer = jieba.Tokenizer()
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return jieba.re_han_default.split, tokenizer.lcut
