"""From prompts to token ids: chat template, special tokens, and the room that a prompt has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from prlm_bench import Prompt
from prlm_bench.errors import PrlmBenchError
from prlm_bench.prompting import quiet_transformers


class Encoder:
    """A model's tokenizer, with its chat template where it has one.

    Args:
        name: the model's, for messages.
        tokenizer: of transformers.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self._name = name
        self.tokenizer = tokenizer

    def text(self, prompt: Prompt) -> str:
        """What the model reads: a turn of a chat goes into the chat template, if there is one.

        Raises:
            PrlmBenchError: the template refuses the turn.
        """
        if not self._has_template(prompt):
            return prompt.text
        turn = [{"role": "user", "content": prompt.text}]
        try:
            text: str = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template may raise anything
            reason = " ".join(str(error).split())
            raise PrlmBenchError(f"the chat template of {self._name!r} refuses a user's turn: {reason}") from None
        return text

    def ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of each prompt; a chat template brings its own special tokens."""
        found: list[list[int]] = [[] for _ in prompts]
        for framed in (False, True):
            places = [place for place, prompt in enumerate(prompts) if self._has_template(prompt) is framed]
            if places:
                texts = [self.text(prompts[place]) for place in places]
                encoded = self.tokenizer(texts, add_special_tokens=not framed)["input_ids"]
                for place, ids in zip(places, encoded, strict=True):
                    found[place] = ids
        return found

    @property
    def frame(self) -> int:
        """Tokens that the chat template puts around a turn."""
        example: Any = None
        turns = [Prompt(example, example, text, chat=True) for text in ("a", "")]
        return max(len(ids) for ids in self.ids(turns)) if self.tokenizer.chat_template else 0

    def _has_template(self, prompt: Prompt) -> bool:
        return prompt.chat and bool(self.tokenizer.chat_template)


@lru_cache(maxsize=8)
def load_encoder(name: str, folder: Path, digest: str, code: bool, left: bool) -> Encoder:
    """A model's tokenizer, loaded once for all generators that use it.

    Args:
        name: the model's, for messages.
        folder: where it is.
        digest: its identity, so that changed files are loaded anew.
        code: its own Python files may run.
        left: whether padding goes to the left.

    Raises:
        PrlmBenchError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=code, local_files_only=True)
    except Exception as error:  # the layers below have errors of many kinds
        reason = " ".join(str(error).split())[:300]
        raise PrlmBenchError(f"the tokenizer of {name!r} cannot be loaded: {reason}") from None
    tokenizer.padding_side = "left" if left else "right"
    return Encoder(name, tokenizer)
