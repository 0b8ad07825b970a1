"""What is handed out, the key that stays behind, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

KEY_FORMAT: Literal["prlm-bench human key 1"] = "prlm-bench human key 1"
#: What a choice may be: the first answer, the second, or neither.
Choice = Literal[1, 2, 0]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(_Strict):
    """One pair of answers as an annotator sees it; nothing in it says which method gave which."""

    #: Of the form `EXPORT-NUMBER`, so that pairs of two exports are never taken for each other.
    pair: str
    #: What the answers are to do: the task's title.
    task: str
    question: str
    #: Items of the user's profile, one paragraph each.
    profile: str
    answer_1: str
    answer_2: str


class KeyPair(_Strict):
    """Where a pair comes from."""

    #: Id of the question, and of the user who asked it.
    question: str
    user: str
    #: The methods of answer 1 and answer 2, as places in the key's list; None in an attention check.
    first: int | None = None
    second: int | None = None
    #: In an attention check, the answer that is plainly right.
    right: Literal[1, 2] | None = None


class KeyMethod(_Strict):
    """A method that takes part."""

    name: str
    #: Of its result.
    fingerprint: str


class Key(_Strict):
    """What is needed to read the judgements of one export, and what annotators must not see."""

    format: Literal["prlm-bench human key 1"] = KEY_FORMAT
    #: Name of the export: the start of the SHA-256 of its texts.
    export: str
    task: str
    split: str
    seed: int
    methods: tuple[KeyMethod, ...]
    #: Pairs of answers that were equal, so that there was nothing to choose and they were left out.
    identical: int
    #: Pairs of answers that differed: what the export was drawn from.
    different: int
    pairs: dict[str, KeyPair]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One choice of one annotator."""

    pair: str
    annotator: str
    choice: Choice
