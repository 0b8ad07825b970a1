"""What can be wrong with data, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..._util.text import well_formed

Severity = Literal["error", "warning"]

_KINDS = {
    str: "a string", int: "a number", float: "a number", bool: "a boolean",
    list: "a list", dict: "an object", type(None): "null",
}  # fmt: skip


def kind(value: object) -> str:
    """The JSON name of a value's type, with its article."""
    return _KINDS[type(value)]


def storable(text: str) -> bool:
    """False where `text` holds lone surrogates, which no UTF-8 file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


SURROGATE = "holds a lone surrogate, which cannot be stored"


def text_problem(value: object) -> str | None:
    """What keeps a JSON value from being a text that can be stored; None where nothing does."""
    if not isinstance(value, str):
        return f"is {kind(value)}, not a string"
    return None if storable(value) else SURROGATE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    #: `error`: the question (or the file) cannot be used; `warning`: it can, but look at it.
    severity: Severity
    #: The path of the file.
    file: str
    #: What is wrong.
    message: str
    #: The question's place in its file, counted from 0; None where the problem is not one question's.
    index: int | None = None
    #: The question's id, where it has one.
    id: str | None = None
    #: Where in the question, such as `profile[3].title`.
    field: str | None = None

    @property
    def where(self) -> str:
        """The question and the field, such as `questions[7] (id '110') profile[3].title`; may be empty."""
        parts = []
        if self.index is not None:
            parts.append(f"questions[{self.index}]")
        if self.id is not None:
            parts.append(f"(id {self.id!r})" if parts else f"id {self.id!r}")
        if self.field is not None:
            parts.append(self.field)
        return " ".join(parts)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def to_dict(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        names = ("severity", "file", "index", "id", "field", "message")
        values = {name: getattr(self, name) for name in names}
        return {name: well_formed(value) if isinstance(value, str) else value for name, value in values.items()}
