"""Parses answers from completions, strictly first, then tolerantly in named steps.

The answer object, such as `{'title': '...'}`, is the format of the `prlm` protocol. The name of the step that found the
answer is recorded with it; if none does, the answer is empty and counts as a parse failure.
"""

from __future__ import annotations

import math
import re

from ..interfaces import Reasoner
from ..records import Answer, Completion, Prompt
from ..tasks import Task
from ._objects import STEPS, read_object
from ._reasoning import find_reasoning

__all__ = ["STEPS", "find_answer", "parse_completion", "read_object"]

#: A completion with this beginning is an answer without reasoning.
_AT_ONCE = re.compile(r"\s*(?:```\w*\s*)?\{")


def parse_completion(reasoner: Reasoner, prompt: Prompt, completion: Completion) -> Answer:
    """The answer in a completion: parsed by the reasoner, unless the completion is the answer itself.

    Such an answer is not changed: metrics strip it if their protocol does, and `bleu-4@prlm` counts blanks.
    """
    if not completion.is_answer:
        return reasoner.parse(prompt, completion)
    return Answer(completion.text, "given" if completion.text.strip() else None)


def find_answer(task: Task, text: str, key: str | None = None, *, thinks: bool = False, cut: bool = False) -> Answer:
    """The answer in a completion.

    Reasoning that is opened and never closed extends to the end of the completion. A complete answer object in it still
    counts, with the step `unclosed`, unless the completion was cut off: then the object is a draft.

    Args:
        task: defines the possible answers: its labels, finite numbers, or any text that is not blank.
        text: the completion; see `find_reasoning` for the reasoning in it.
        key: the key of the answer object; None if the completion itself is the answer, in which labels must be
            written exactly, as in the `lamp` protocol.
        thinks: the completion should begin with reasoning: unless it begins with the answer object, it is reasoning
            even without an opening mark.
        cut: the completion did not end by itself, or may not have.

    Returns:
        The answer; its text is empty and its step None if no possible answer was found.
    """
    found = find_reasoning(text)
    reasoning, rest, unclosed = found.closed, found.rest, found.unclosed
    marked = unclosed is not None
    if thinks and not marked and reasoning is None and not _AT_ONCE.match(rest):
        unclosed, rest = rest.strip(), ""
    if unclosed is not None:
        reasoning = "\n".join(filter(None, [reasoning, unclosed]))
    if key is None:
        value, step = ("", None) if unclosed is not None and not rest.strip() else (rest.strip(), "whole")
    else:
        value, step = read_object(rest, key)
        if step is None and unclosed is not None and not (marked and cut):
            value, step = read_object(unclosed, key)
            step = None if step in (None, "truncated") else "unclosed"
    if step is not None and key is not None and not _possible(task, value):
        value, step = _label(task, value), "label"
    return Answer(value, step, reasoning) if step and _possible(task, value) else Answer("", None, reasoning)


def _possible(task: Task, value: str) -> bool:
    if task.output == "label":
        return value in task.labels
    if task.output == "number":
        try:
            return math.isfinite(float(value))
        except ValueError:
            return False
    return bool(value)


def _label(task: Task, value: str) -> str:
    """The only label that differs from `value` just in letter case and punctuation; "" if there is none."""
    bare = _letters(value)
    found = [label for label in task.labels if bare and _letters(label) == bare]
    return found[0] if len(found) == 1 else ""


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.replace("_", " ").casefold()))
