"""How long a prompt may be."""

from __future__ import annotations

from ..interfaces import Generator


def token_budget(generator: Generator, max_length: int) -> int:
    """The budget of a prompt, in tokens: `max_length`, or less where the generator has room for less.

    A generator says so with `max_prompt_tokens`: tokens of the prompt, its chat template not counted, or None.

    Args:
        generator: who will be asked.
        max_length: what the reasoner would take.
    """
    bound: int | None = getattr(generator, "max_prompt_tokens", None)
    return max_length if bound is None else min(max_length, bound)
