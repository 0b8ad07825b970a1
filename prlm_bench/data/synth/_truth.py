"""mini_lamp.json: how a task's data were made, and the planted preferences of its users."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import DataError
from ._config import SPLITS, VERSION, SynthConfig
from ._family import Family, Preferences
from ._users import preferences_of, user_ids

#: The name of the file in a task's folder.
METADATA = "mini_lamp.json"

_json = partial(json.dumps, ensure_ascii=False)


def truth(folder: Path) -> Mapping[str, Preferences]:
    """The planted preferences by user id, read from the `mini_lamp.json` of a task's folder.

    Raises:
        DataError: the folder holds no such file, or it is not one.
    """
    path = Path(folder) / METADATA
    try:
        users = json.loads(path.read_text(encoding="utf-8"))["users"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", "give a task's folder of mini-LaMP") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: is not metadata of mini-LaMP", "write the folder anew") from None
    if not isinstance(users, dict):
        raise DataError(f"{path}: users is not a mapping", "write the folder anew")
    return users


def metadata(task: Family, config: SynthConfig) -> Iterator[str]:
    """The text of mini_lamp.json, in pieces."""
    facts: dict[str, Any] = {
        "version": VERSION,
        "task": f"LaMP_{task.number}",
        "seed": config.seed,
        "sizes": {
            "users": config.users,
            "questions_per_user": config.questions_per_user,
            "profile_size": config.profile_size,
        },
        "noise": config.noise,
        "strength": config.strength,
        "share_users": config.share_users,
    }
    yield "{"
    for name, value in facts.items():
        yield f"\n{_json(name)}: {_json(value)},"
    yield '\n"users": {'
    # Where users are shared, the largest split has all of them.
    splits = [max(SPLITS, key=config.users.__getitem__)] if config.share_users else SPLITS
    users = chain.from_iterable(user_ids(task.number, split, config) for split in splits)
    for index, user in enumerate(users):
        yield f"{',' if index else ''}\n{_json(user)}: {_json(preferences_of(task, user, config))}"
    yield '\n},\n"splits": {'
    for split in SPLITS:
        yield f"{'' if split == SPLITS[0] else ','}\n{_json(split)}: ["
        for index, user in enumerate(user_ids(task.number, split, config)):
            yield f"{', ' if index else ''}{_json(user)}"
        yield "]"
    yield "\n}\n}\n"
