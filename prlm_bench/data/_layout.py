"""What a store holds: `items.arrow` (distinct profile items), `questions.arrow` and `meta.json`.

Questions refer to items by row number, in the order of the profile. Texts are UTF-8, as the data has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..tasks import Task

#: Changed whenever stores of the same data would differ; old stores are then not found.
VERSION = 1
ITEMS, QUESTIONS, META = "items.arrow", "questions.arrow", "meta.json"


def item_schema(item_fields: tuple[str, ...]) -> pa.Schema:
    """Columns of `items.arrow`, in the order of `Row.items`: id, the item fields, date."""
    names = ["id", *(f"field:{name}" for name in item_fields), "date"]
    return pa.schema([(name, pa.large_string()) for name in names])


def question_schema() -> pa.Schema:
    """Columns of `questions.arrow`."""
    return pa.schema(
        [
            ("id", pa.large_string()),
            ("user", pa.large_string()),
            ("input", pa.large_string()),
            ("gold", pa.large_string()),
            ("relevant", pa.list_(pa.large_string())),
            ("items", pa.list_(pa.uint32())),
        ]
    )


def store_key(task: Task, sha256: Mapping[str, str]) -> str:
    """The name of the store of these files, given by role, read for this task."""
    identity = {
        "version": VERSION,
        "sha256": dict(sha256),
        "item_fields": task.item_fields,
        "query": task.query.model_dump(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a store without reading it."""

    key: str
    #: SHA-256 by role: `questions`, `outputs`, `relevance`.
    sha256: dict[str, str]
    #: Bytes of the questions file.
    source_bytes: int
    #: Questions in the file, malformed ones included.
    n_total: int
    #: Malformed questions, which are not in the store.
    n_invalid: int
    #: The first malformed question and what is wrong with it; empty where there is none.
    first_problem: str
    #: Questions that name their user.
    n_with_user: int
    #: Distinct items that have a date.
    n_with_date: int
    #: Rows of each record batch.
    item_rows: list[int]
    question_rows: list[int]
    #: Bytes of the two Arrow files.
    bytes: dict[str, int]

    def write(self, folder: Path) -> None:
        """Write `meta.json`."""
        (folder / META).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """Read `meta.json`.

        Raises:
            OSError, ValueError: it is not there, or not whole.
        """
        content: Any = json.loads((folder / META).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or set(content) != {field.name for field in fields(cls)}:
            raise ValueError("fields are missing")
        return cls(**content)
