"""How long a prompt may be."""

from __future__ import annotations

from prlm_bench.interfaces import Generator, Tokenizer
from prlm_bench.prompting import load_tokenizer, token_budget


class Budget:
    """A number of tokens, and the tokenizer that they are counted with.

    Args:
        max_length: tokens of the prompt, the model's chat template not counted; less where the generator has
            room for less.
        tokenizer: `words`, a folder or a hub name; by default the generator's own, else `words`.

    Raises:
        ValueError: `max_length` is below 1.
        PrlmBenchError: the tokenizer cannot be loaded.
    """

    def __init__(self, max_length: int, tokenizer: str | None) -> None:
        if max_length < 1:
            raise ValueError("max_length must be at least 1")
        self._max_length = max_length
        self._own = load_tokenizer(tokenizer) if tokenizer else None
        self._default = load_tokenizer("words")

    def fingerprint(self) -> str:
        """That of a tokenizer of its own; the generator's belongs to the generator."""
        return self._own.fingerprint() if self._own else ""

    def of(self, generator: Generator) -> tuple[Tokenizer, int]:
        """The tokenizer for prompts to this generator, and how many of its tokens they may have."""
        return self._own or generator.tokenizer or self._default, token_budget(generator, self._max_length)
