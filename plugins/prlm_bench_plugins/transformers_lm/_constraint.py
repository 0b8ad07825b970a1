"""Answers that can be nothing but an answer object: constrained decoding by llguidance.

Each row of a batch has a `RowConstraint`, which follows what the row has written and says which tokens may come next.
It stays with its row when others leave the batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import open_reasoning, split_reasoning
from prlm_bench.tasks import Task

from .._hf import decode_answer, one_line

#: A value that an answer object can hold: one line without braces, not blank and no copied `...`. It ends with a quote
#: before the brace, so that apostrophes in it need no backslash.
_CHARACTER = r"[^{}\x00-\x1f]"
_TEXT = rf"'{_CHARACTER}*[^{{}}\x00-\x20.…'\"]{_CHARACTER}*'"
#: Tokens at the end of an answer in which the mark that closes its reasoning is looked for.
_TAIL = 16


def object_pattern(task: Task, key: str) -> str:
    """A regular expression of the answer objects that a task allows: its labels, or any text.

    Args:
        task: of the question.
        key: of the object.
    """
    values = "|".join(re.escape(repr(label)) for label in task.labels) if task.labels else _TEXT
    return rf"\{{{re.escape(repr(key))}: ({values})\}}"


class ObjectConstraints:
    """Constraints for the prompts of a task.

    Args:
        task: its labels decide which answers are possible.
        tokenizer: the model's, of transformers.
        end_ids: tokens that end an answer.
        label: the model, for messages.

    Raises:
        PrlmBenchError: llguidance cannot use the tokenizer.
    """

    def __init__(self, task: Task, tokenizer: Any, end_ids: Sequence[int], label: str) -> None:
        self._task, self.tokenizer, self.end_ids, self._label = task, tokenizer, list(end_ids), label
        self._known: dict[int, Any] = {}

    def of(self, prompt: Prompt, framed: str) -> RowConstraint:
        """The constraint of an answer.

        Args:
            prompt: asks for the object.
            framed: the prompt in the chat template, which may open reasoning; "" where it is plain text.

        Raises:
            PrlmBenchError: the prompt asks for no answer object.
        """
        if prompt.key is None:
            message = f"constrain=object: the prompt of question {prompt.example.id} asks for no answer object"
            raise PrlmBenchError(message, "take direct:protocol=chat, think, prlm or cite, or leave constrain out")
        reasons = prompt.reasons or bool(open_reasoning(framed, ""))
        return RowConstraint(self, object_pattern(self._task, prompt.key), reasons)

    def matcher(self, pattern: str, size: int) -> Any:
        """A matcher of llguidance for a regular expression.

        Args:
            pattern: see `object_pattern`.
            size: of the vocabulary, as wide as the model's logits.
        """
        from llguidance import LLMatcher

        return LLMatcher(self._vocabulary(size), LLMatcher.grammar_from_regex(pattern))

    def _vocabulary(self, size: int) -> Any:
        from llguidance.hf import from_tokenizer

        if size not in self._known:
            try:
                self._known[size] = from_tokenizer(self.tokenizer, n_vocab=size, eos_token=self.end_ids)
            except Exception as error:  # of tokenizers that it cannot read
                message = f"constrain=object: llguidance cannot use the tokenizer of {self._label}: {one_line(error)}"
                raise PrlmBenchError(message, "leave constrain out") from None
        return self._known[size]


class RowConstraint:
    """What one answer may go on with.

    Args:
        constraints: makes matchers.
        pattern: of the answer object.
        reasons: the object stands after reasoning, which is free until its closing mark.
    """

    def __init__(self, constraints: ObjectConstraints, pattern: str, reasons: bool) -> None:
        self._constraints, self._reasons = constraints, reasons
        # Behind the mark that closes the reasoning, models put line breaks.
        self._pattern = rf"\n{{0,2}}{pattern}" if reasons else pattern
        self._matcher: Any = None
        self._seen = 0

    def allowed(self, written: Sequence[int], size: int) -> Any:
        """Which tokens may come next, as booleans of shape (size,); None if all may.

        Args:
            written: the answer's tokens so far.
            size: of the vocabulary.
        """
        if len(written) < self._seen:  # the answer began anew, in a smaller batch
            self._matcher, self._seen = None, 0
        if self._matcher is None and (not self._reasons or self._closed(written)):
            self._matcher = self._constraints.matcher(self._pattern, size)
            self._seen = len(written)
        new, self._seen = written[self._seen :], len(written)
        if self._matcher is None:
            return None
        for token in new:
            if self._matcher.is_stopped() or not self._matcher.consume_token(token):
                break
        if self._matcher.is_stopped():  # nothing can follow the object
            ended = torch.zeros(size, dtype=torch.bool)
            ended[self._constraints.end_ids] = True
            return ended
        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        return ((bits[:, None] >> torch.arange(8)) & 1).flatten()[:size].bool()

    def _closed(self, written: Sequence[int]) -> bool:
        tail = decode_answer(self._constraints.tokenizer, list(written[-_TAIL:]))
        return split_reasoning(tail)[0] is not None


class ConstrainedRows(LogitsProcessor):
    """Leaves possible what each row's constraint allows.

    Args:
        rows: the constraint of each row, None for a free one.
        start: tokens of a row before the first new one.
    """

    def __init__(self, rows: Sequence[RowConstraint | None], start: int) -> None:
        self._rows, self._start = rows, start

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores of shape (rows, vocabulary) with impossible tokens at minus infinity."""
        for place, row in enumerate(self._rows):
            allowed = None if row is None else row.allowed(input_ids[place, self._start :].tolist(), scores.shape[-1])
            if allowed is not None:
                scores[place, ~allowed.to(scores.device)] = -torch.inf
        return scores
