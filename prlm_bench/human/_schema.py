"""The schemas of exported pairs, keys and judgements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

KEY_FORMAT: Literal["prlm-bench human key 1"] = "prlm-bench human key 1"
#: A choice: the first answer, the second, or neither (0).
Choice = Literal[1, 2, 0]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(_Strict):
    """One pair of answers as shown to annotators, without the methods."""

    #: `EXPORT-NUMBER`, so that pairs of different exports are never confused.
    pair: str
    #: The task's title.
    task: str
    question: str
    #: Items of the user's profile, one paragraph each.
    profile: str
    answer_1: str
    answer_2: str


class KeyPair(_Strict):
    """The origin of a pair."""

    #: Ids of the question and its user.
    question: str
    user: str
    #: Indices of the methods of answers 1 and 2 in the key's list; None in an attention check.
    first: int | None = None
    second: int | None = None
    #: In an attention check, the right answer.
    right: Literal[1, 2] | None = None


class KeyMethod(_Strict):
    """A compared method."""

    name: str
    #: The fingerprint of its result.
    fingerprint: str


class Key(_Strict):
    """The information needed to analyse the judgements of one export, hidden from annotators."""

    format: Literal["prlm-bench human key 1"] = KEY_FORMAT
    #: Name of the export: the first digits of the SHA-256 of its texts.
    export: str
    task: str
    split: str
    seed: int
    methods: tuple[KeyMethod, ...]
    #: Number of pairs of equal answers, which were left out.
    identical: int
    #: Number of pairs of different answers, from which the export was sampled.
    different: int
    pairs: dict[str, KeyPair]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One choice of one annotator."""

    pair: str
    annotator: str
    choice: Choice
