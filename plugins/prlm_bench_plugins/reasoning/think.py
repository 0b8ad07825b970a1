"""Explicit reasoning that is asked for, and for which the model need not be trained."""

from __future__ import annotations

from collections.abc import Sequence

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator
from prlm_bench.prompting import chat_prompt, find_answer

from ._budget import Budget

#: What stands before the sentence that asks for the answer.
INSTRUCTION = (
    "Before you answer, think inside <think> and </think>: what does the above show of this user's interests, "
    "opinions and way of writing, and what follows from it here? After </think>, give the answer."
)


class Think:
    """Shows the items and asks for reasoning inside <think> and </think> before the answer object.

    Args:
        max_length: token budget of the prompt; less where the generator has room for less.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.
    """

    def __init__(self, context: Context, max_length: int = 512, tokenizer: str | None = None) -> None:
        self._task = context.task
        self._budget = Budget(max_length, tokenizer)

    def fingerprint(self) -> str:
        """That of a tokenizer of its own."""
        return self._budget.fingerprint()

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the budget."""
        chat = self._task.prompts.chat
        tokenizer, length = self._budget.of(generator)
        return [
            chat_prompt(chat, example, ranking, tokenizer, length, instruction=INSTRUCTION)
            for example, ranking in zip(examples, rankings, strict=True)
        ]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The answer object after the reasoning."""
        return find_answer(self._task, completion.text, self._task.prompts.chat.key, thinks=True)
