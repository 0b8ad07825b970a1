"""The format that PrLM trains: reasoning, a line that is `</think>`, then the answer object.

Source: PrLM (arXiv 2508.07342). Its code trains with a system prompt and evaluates without one; here one
prompt, without a system prompt, serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator, Tokenizer
from prlm_bench.prompting import chat_prompt, find_answer
from prlm_bench.tasks import ChatPrompt

from ._budget import Budget

#: What stands before the sentence that asks for the answer.
INSTRUCTION = (
    "Reason first: what the above shows of this user's interests and way of writing, and how it bears on this "
    "request. Close the reasoning with a line that holds nothing but </think>. Then give the answer."
)


def prlm_prompt(
    template: ChatPrompt, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int = 512
) -> Prompt:
    """The one prompt of PrLM, for training and evaluation alike: a single user's turn.

    Args:
        template: the task's wording, `task.prompts.chat`.
        example: the question.
        ranking: the items to show, cut to k.
        tokenizer: sets lengths.
        max_length: the budget in tokens, the chat template's own tokens not counted.
    """
    return chat_prompt(template, example, ranking, tokenizer, max_length, instruction=INSTRUCTION)


class Prlm:
    """PrLM's trained format: reasoning that is closed by </think>, then the answer object.

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
        """`prlm_prompt` for each example."""
        chat = self._task.prompts.chat
        tokenizer, length = self._budget.of(generator)
        return [
            prlm_prompt(chat, example, ranking, tokenizer, length)
            for example, ranking in zip(examples, rankings, strict=True)
        ]

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The answer object after the reasoning."""
        return find_answer(self._task, completion.text, self._task.prompts.chat.key, thinks=True)
