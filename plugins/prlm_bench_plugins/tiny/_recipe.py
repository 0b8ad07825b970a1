"""All hyperparameters of the tiny models. Field names are stored in the manifests of models that were made."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from .._training import Settings


class TinyRecipe(Settings):
    """Data, network and training of the tiny model."""

    #: Of data, first weights and training examples. Runs use data of seed 0 by default.
    seed: int = 1
    #: Users of each task's training split.
    users: int = 600
    #: Users whom the figures in the manifest are about.
    held_out_users: int = 40
    #: Optimizer steps.
    steps: int = 600

    #: Training examples that the tokenizer is learnt from.
    tokenizer_lessons: int = 2500

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    window: int = 2048

    #: Training examples in a step.
    batch: int = 64
    #: Learning rates of the matrices (Muon) and of the rest (AdamW).
    matrix_rate: float = 0.021
    rate: float = 0.003
    #: Share of the steps in which the rates rise; then they fall to `final_share`.
    warm_up: float = 0.05
    final_share: float = 0.02
    #: Weight in the loss of a token that a user wrote in an item; a token of the answer has 1.
    written_weight: float = 0.5
    #: Weight of a token where answers are labels, which are much shorter than texts.
    label_weight: float = 3.0
    clip: float = 1.0


class TinyReasonerRecipe(TinyRecipe):
    """As `TinyRecipe`, with the curriculum of the tiny reasoner."""

    users: int = 600
    held_out_users: int = 40
    steps: int = 720
    rate: float = 0.008
    written_weight: float = 0.2

    #: Kinds of training examples by weight in each stage, and the share of all steps after which the stage ends.
    #: Skills are taught apart: on traces alone neither is learnt, and writing is learnt in 150 steps by itself but
    #: not in 450 together with reading.
    writing: Mapping[str, float] = Field(default={"notes": 1.0})
    writing_until: float = 0.25
    reading: Mapping[str, float] = Field(default={"habits": 2.0, "notes": 0.6})
    reading_until: float = 0.65
    #: The last stage. `direct`, the answer from items at once, has a sixth of it: the model stands for one that was
    #: pretrained on far more than this task, and is to learn the use of items from whoever trains it, with reasoning
    #: or without.
    mix: Mapping[str, float] = Field(default={"answer": 0.5, "notes": 0.3, "direct": 0.5, "habits": 0.4, "trace": 1.5})

    #: Number of items in a prompt by weight (pairs of number and weight), and in those of `habits`, which are learnt
    #: from one item at a time sooner than from eight.
    items: tuple[tuple[int, float], ...] = ((8, 0.2), (4, 0.35), (2, 0.25), (1, 0.2))
    read: tuple[tuple[int, float], ...] = ((1, 0.45), (2, 0.25), (4, 0.25), (8, 0.05))
    #: How items are chosen (see `choose_items`), by weight. What depends on the topic is learnt from items on one topic
    #: first; from items on several it is not found in so few steps.
    chosen: Mapping[str, float] = Field(default={"relevant": 0.6, "words": 0.25, "random": 0.15})
    #: Minimum and maximum number of statements in a trace; the share of informative ones, and of these the share that
    #: is random.
    statements: tuple[int, int] = (4, 7)
    useful: float = 0.3
    wrong: float = 0.15
