"""Reasoning in completions: the marks that models put around it, and where it ends.

Every generator and every reasoner decides here what is reasoning. Models write `<think>` and `</think>`, `[THINK]`,
`<seed:think>`, `<|START_THINKING|>` and others; gpt-oss and Gemma 4 write channels. Where a server has split the
reasoning off, or a chat template has opened it in the prompt, the completion gets the marks that the model left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

START, END = "<think>", "</think>"

_WORD = r"(?:\w+[:_])?(?:think|thinking|thoughts?|reason|reasoning)"
#: Opening marks that are no ordinary text, wherever they stand.
_OPENERS = [
    rf"<\|(?!end_)(?:begin_(?:of_)?|start_(?:of_)?)?{_WORD}(?:_start)?\|>",
    r"(?-i:\[THINK\])",
    "◁think▷",
    r"<\|inner_prefix\|>",
    r"(?:<\|start\|>\w*)?<\|channel\|>(?!final)\w+\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>",
    r"<\|channel>(?:thought|analysis)?",
    "<unused94>(?:thought)?",
]
#: Tags like those of HTML, which count at the beginning of a line only: elsewhere a text may be about them.
_TAG = rf"<(?!end_){_WORD}>"
_CLOSERS = [
    rf"<(?:/|end_(?:of_)?){_WORD}>",
    rf"<\|(?:/|end_(?:of_)?){_WORD}\|>",
    rf"<\|{_WORD}_end\|>",
    r"(?-i:\[/THINK\])",
    "◁/think▷",
    r"<\|inner_suffix\|>",
    r"(?:<\|end\|>)?(?:<\|start\|>\w*)?<\|channel\|>final[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>",
    r"<channel\|>",
    "<unused95>",
]
_OPEN = re.compile(rf"{'|'.join(_OPENERS)}|^[ \t]*{_TAG}", re.IGNORECASE | re.MULTILINE)
_CLOSE = re.compile("|".join(_CLOSERS), re.IGNORECASE)
_OPENED = re.compile(rf"(?P<mark>{'|'.join(_OPENERS)}|{_TAG})\s*\Z", re.IGNORECASE)
#: A token that is a mark by itself.
_MARK = re.compile("|".join([*_OPENERS, _TAG, *_CLOSERS]), re.IGNORECASE)
#: Tokens that are marks together.
_CHANNEL_TOKENS = ("<|channel|>", "<|start|>", "<|message|>", "<|constrain|>", "<|end|>")
_LEFT_OVER = re.compile(r"(?:<\|(?:end|return|call)\|>\s*)+\Z")


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A completion, taken apart."""

    #: The reasoning that is closed; None if there is none.
    closed: str | None
    #: What is said outside the reasoning.
    rest: str
    #: Reasoning that an opening mark begins and nothing ends; None if there is none.
    unclosed: str | None = None


def find_reasoning(text: str) -> Reasoning:
    """Take a completion apart: reasoning ends with the last closing mark, or never."""
    closed, rest = split_reasoning(text)
    opened = _OPEN.search(rest)
    if opened is None:
        return Reasoning(closed, rest)
    return Reasoning(closed, rest[: opened.start()], rest[opened.end() :].strip())


def split_reasoning(text: str) -> tuple[str | None, str]:
    """`(reasoning, rest)`: the text before the last mark that closes reasoning, and the text after it."""
    closers = list(_CLOSE.finditer(text))
    if not closers:
        return None, text
    before, rest = text[: closers[-1].start()].strip(), text[closers[-1].end() :]
    opened = _OPEN.match(before)
    return (before[opened.end() :].strip() if opened else before), _LEFT_OVER.sub("", rest)


def mark_reasoning(reasoning: str, text: str) -> str:
    """A completion with the reasoning that a server has split off, in the marks that `find_reasoning` reads.

    Args:
        reasoning: what the server sent beside the text.
        text: the answer; a blank one means that the reasoning was cut off, which a closing mark would hide.
    """
    if not reasoning.strip() or _CLOSE.search(text):
        return text
    return f"{START}\n{reasoning.strip()}\n" + (f"{END}\n{text}" if text.strip() else "")


def open_reasoning(prompt: str, text: str) -> str:
    """A completion with the opening mark that its prompt ends with, as a chat template of a reasoning model does.

    Args:
        prompt: in its chat template.
        text: what the model wrote.
    """
    opened = _OPENED.search(prompt)
    if opened is None or _OPEN.match(text.lstrip()):
        return text
    return f"{opened['mark']}\n{text}"


def reasoning_marks(tokens: Iterable[str]) -> dict[str, str]:
    """How those of a tokenizer's special tokens that mark reasoning are written, while others are dropped.

    A token is a mark wherever it stands, so one that looks like a tag is written on a line of its own.
    """
    known = set(tokens)
    marks = {token for token in known if _MARK.fullmatch(token.strip())}
    if _CHANNEL_TOKENS[0] in known:
        marks |= known & set(_CHANNEL_TOKENS)
    return {mark: f"\n{mark}" if re.fullmatch(_TAG, mark, re.IGNORECASE) else mark for mark in marks}
