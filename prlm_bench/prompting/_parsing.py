"""Reads answers out of completions: strictly first, then tolerantly in named steps.

The answer object is `{'title': '...'}` or the like, the format of the `prlm` protocol. The name of the
step that found an answer is kept with it; where none does, the answer is empty and counts as a failure.
"""

from __future__ import annotations

import math
import re

from ..interfaces import Reasoner
from ..records import Answer, Completion, Prompt
from ..tasks import Task
from ._objects import STEPS, read_object

__all__ = ["STEPS", "find_answer", "parse_completion", "read_object", "split_reasoning"]

_START, _END = "<think>", "</think>"
#: A completion that opens like this answers at once, whatever it was asked to do first.
_AT_ONCE = re.compile(r"\s*(?:```\w*\s*)?\{")


def parse_completion(reasoner: Reasoner, prompt: Prompt, completion: Completion) -> Answer:
    """The answer in a completion: the reasoner reads it, unless the generator gave the answer itself.

    An answer that is given is taken as it is: metrics strip where their protocol does, and `bleu-4@prlm` counts blanks.
    """
    if not completion.is_answer:
        return reasoner.parse(prompt, completion)
    return Answer(completion.text, "given" if completion.text.strip() else None)


def split_reasoning(text: str) -> tuple[str | None, str]:
    """`(reasoning, rest)`: what stands before the last `</think>`, and what follows it."""
    before, found, after = text.rpartition(_END)
    return (_without_start(before), after) if found else (None, text)


def find_answer(task: Task, text: str, key: str | None = None, *, thinks: bool = False) -> Answer:
    """The answer in a completion.

    Reasoning that is opened by `<think>` and never closed takes up the whole completion. A whole answer object
    in it is still taken, by the step `unclosed`; without one there is no answer.

    Args:
        task: says which answers are possible: one of its labels, a finite number, or any text that is not blank.
        text: the completion; reasoning that ends with `</think>` is split off.
        key: the key of the answer object; None where the completion is the answer, which is then taken as it
            stands: a label must be written exactly, as the `lamp` protocol has it.
        thinks: the completion was to begin with reasoning, so that one which begins otherwise than with the
            answer object is reasoning even without `<think>` (chat templates of reasoning models write it).

    Returns:
        The answer; its text is empty and its step None where nothing possible was found.
    """
    reasoning, rest = split_reasoning(text)
    unclosed = reasoning is None and (rest.lstrip().startswith(_START) or (thinks and not _AT_ONCE.match(rest)))
    if unclosed:
        reasoning = _without_start(rest)
    if key is None:
        value, step = ("", None) if unclosed else (rest.strip(), "whole")
    else:
        value, step = read_object(rest, key)
        if unclosed:
            step = None if step in (None, "truncated") else "unclosed"
    if step is not None and key is not None and not _possible(task, value):
        value, step = _label(task, value), "label"
    return Answer(value, step, reasoning) if step and _possible(task, value) else Answer("", None, reasoning)


def _without_start(text: str) -> str:
    return text.strip().removeprefix(_START).strip()


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
    """The only label that differs from `value` in nothing but letter case and punctuation; "" without one."""
    bare = _letters(value)
    found = [label for label in task.labels if bare and _letters(label) == bare]
    return found[0] if len(found) == 1 else ""


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.replace("_", " ").casefold()))
