"""The `direct` reasoner: how published retrieval-augmented baselines work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from prlm_bench import Answer, Completion, Example, Prompt, Ranking
from prlm_bench.interfaces import Context, Generator, Tokenizer
from prlm_bench.prompting import chat_prompt, find_answer, lamp_prompts

from ._chat import ChatReasoner


class Direct(ChatReasoner):
    """Shows the items and asks for the answer, without reasoning.

    Args:
        protocol: `lamp`, LaMP's in-prompt augmentation, where the completion is the answer; `chat`, this project's
            own wording, answered by an object such as {'title': '...'}; or `plain`, the question and the request for
            that object, without items and without a word about the user.
        max_length: token budget of the prompt; lower where the generator's own limit is.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.
    """

    def __init__(
        self,
        context: Context,
        protocol: Literal["lamp", "chat", "plain"] = "lamp",
        max_length: int = 512,
        tokenizer: str | None = None,
    ) -> None:
        super().__init__(context, max_length, tokenizer)
        self._chat = protocol != "lamp"
        self._plain = protocol == "plain"

    def prompts(self, examples: Sequence[Example], rankings: Sequence[Ranking], generator: Generator) -> list[Prompt]:
        """One prompt for each example, within the token budget."""
        if self._chat:
            return super().prompts(examples, rankings, generator)
        tokenizer, length = self._budget.of(generator)
        return lamp_prompts(self._task.prompts.lamp, examples, rankings, tokenizer, length)

    def parse(self, prompt: Prompt, completion: Completion) -> Answer:
        """The completion, or the answer object in it."""
        if self._chat:
            return super().parse(prompt, completion)
        return find_answer(self._task, completion.text, None)

    def _prompt(
        self, example: Example, ranking: Ranking, tokenizer: Tokenizer, max_length: int, block: str = ""
    ) -> Prompt:
        if not self._plain:
            return super()._prompt(example, ranking, tokenizer, max_length, block)
        chat = self._task.prompts.chat
        ask = f"Answer with {{'{chat.key}': '...'}} and nothing after it."
        return chat_prompt(chat.model_copy(update={"ask": ask}), example, Ranking(), tokenizer, max_length)
