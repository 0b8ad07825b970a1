"""How the tiny reasoner is made: every number that its quality hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .recipe import Recipe


@dataclass(frozen=True)
class ReasonerRecipe(Recipe):
    """As `Recipe`, for one task, with the shares of the lessons.

    Args:
        seed: of data, first weights and lessons.
        users: users of the training split.
        steps: optimizer steps.
    """

    users: int = 600
    held_out_users: int = 40
    steps: int = 720
    rate: float = 0.008
    written_weight: float = 0.2

    #: Lessons by weight, in the first steps and until which share of all steps. Skills are taught apart: on traces
    #: alone neither is learnt, and writing is learnt in 150 steps by itself but not in 450 beside reading.
    writing: Mapping[str, float] = field(default_factory=lambda: {"notes": 1.0})
    writing_until: float = 0.25
    reading: Mapping[str, float] = field(default_factory=lambda: {"habits": 2.0, "notes": 0.6})
    reading_until: float = 0.65
    #: What is taught together after that. `direct`, the answer from items at once, has a sixth of it: the model is to
    #: stand for one that was pretrained on far more than this task, and to be taught the use of items by whoever
    #: trains it, with reasoning or without.
    mix: Mapping[str, float] = field(
        default_factory=lambda: {"answer": 0.5, "notes": 0.3, "direct": 0.5, "habits": 0.4, "trace": 1.5}
    )

    #: How many items lessons show (pairs of number and weight), and those of habits, which are learnt from one item at
    #: a time sooner than from eight.
    items: tuple[tuple[int, float], ...] = ((8, 0.2), (4, 0.35), (2, 0.25), (1, 0.2))
    read: tuple[tuple[int, float], ...] = ((1, 0.45), (2, 0.25), (4, 0.25), (8, 0.05))
    #: How they are chosen (see `lessons.choose`). What depends on the topic is learnt from items on one topic first;
    #: among items on several it is not found at all in so few steps.
    chosen: Mapping[str, float] = field(default_factory=lambda: {"relevant": 0.6, "words": 0.25, "random": 0.15})
    #: Statements in a trace, at least and at most; the share of useful ones, and of these the share that is random.
    statements: tuple[int, int] = (4, 7)
    useful: float = 0.3
    wrong: float = 0.15
