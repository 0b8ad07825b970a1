"""Files of golds and predictions in LaMP's format: `{"task": ..., "golds": [{"id": ..., "output": ...}]}`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ..errors import DataError


def read_outputs(path: Path, like: Collection[str] | None = None, name: str = "") -> dict[str, str]:
    """Outputs by question id, in the order of the file.

    Args:
        path: the file.
        like: if given, the ids must be exactly these.
        name: name of the file in messages; its path by default.

    Raises:
        DataError: not JSON, another format, a repeated id, or ids that differ from `like`.
    """
    content = _read_json(path)
    name = name or str(path)
    rows = content.get("golds") if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        raise DataError(f'{name}: no list under "golds"', 'the format is {"task": "LaMP_4", "golds": [...]}')
    found: dict[str, str] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str) or not isinstance(row.get("output"), str):
            raise DataError(f"{name}: entry {number} needs an id and an output, both strings")
        if row["id"] in found:
            raise DataError(f"{name}: id {row['id']!r} occurs twice")
        found[row["id"]] = row["output"]
    if like is not None:
        _same_ids(found, like, name)
    return found


def read_users(path: Path, ids: Sequence[str]) -> list[str]:
    """The user of each question: its `user_id`, or its own id if there is none.

    Raises:
        DataError: not a list of questions, or a question is missing.
    """
    content = _read_json(path)
    if not isinstance(content, list) or not all(isinstance(q, Mapping) and "id" in q for q in content):
        raise DataError(f"{path}: not a list of questions")
    users = {str(question["id"]): str(question.get("user_id", question["id"])) for question in content}
    missing = [identifier for identifier in ids if identifier not in users]
    if missing:
        raise DataError(f"{path}: {len(missing)} questions are missing, the first is {missing[0]!r}")
    return [users[identifier] for identifier in ids]


def _same_ids(found: Mapping[str, str], like: Collection[str], name: str) -> None:
    missing = [identifier for identifier in like if identifier not in found]
    known = set(like)
    extra = [identifier for identifier in found if identifier not in known]
    for ids, what in ((missing, "golds have no prediction"), (extra, "predictions have no gold")):
        if ids:
            raise DataError(f"{name}: {len(ids)} of {len(like)} {what}, the first is {ids[0]!r}")


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
