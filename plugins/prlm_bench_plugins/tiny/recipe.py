"""How the tiny model is made: every number that its quality hangs on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Data, network and training.

    Args:
        seed: of data, first weights and lessons. The data that runs use by default have seed 0.
        users: users of the training split, for each of the seven tasks.
        held_out_users: users whom the figures in the manifest are about.
        steps: optimizer steps.
    """

    seed: int = 1
    users: int = 600
    held_out_users: int = 40
    steps: int = 600

    #: Lessons that the tokenizer is learnt from.
    tokenizer_lessons: int = 2500

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    window: int = 2048

    #: Lessons in a step.
    batch: int = 64
    #: Of the matrices (Muon) and of the rest (AdamW).
    matrix_rate: float = 0.021
    rate: float = 0.003
    #: Share of the steps in which the rates rise; then they fall to `final_share`.
    warm_up: float = 0.05
    final_share: float = 0.02
    #: What a token counts that a user wrote in an item, against one of the answer.
    written_weight: float = 0.5
    #: What a token counts where answers are labels, which are much shorter than texts.
    label_weight: float = 3.0
    clip: float = 1.0
