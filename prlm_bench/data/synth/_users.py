"""Users of a task: their questions in time, their planted preferences, and the file that keeps these."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..._util.json_text import load_json
from ...errors import DataError, UnknownNameError
from ..lamp._layout import GENERATED
from ._choices import Citations, Films, Reviews
from ._config import SPLITS, VERSION, SynthConfig
from ._family import Family, Preferences, Rng
from ._genres import Headlines, Mails, Papers, Tweets
from ._style import StyledTask

_FAMILIES: dict[int, Callable[[], Family]] = {
    1: Citations,
    2: Films,
    3: Reviews,
    4: lambda: StyledTask(4, Headlines()),
    5: lambda: StyledTask(5, Papers()),
    6: lambda: StyledTask(6, Mails()),
    7: lambda: StyledTask(7, Tweets()),
}


_json = partial(json.dumps, ensure_ascii=False)

_FIRST_DAY = date(2015, 1, 1)


@dataclass(frozen=True, slots=True)
class Record:
    """One question as it goes into the three files of a split."""

    id: str
    user: str
    input: str
    profile: list[dict[str, str]]
    gold: str
    #: Ids of the profile items that bear on the question, in profile order; never empty.
    relevant: list[str]


def user_ids(task: int, split: str, config: SynthConfig) -> Iterator[str]:
    """The ids of a split's users: task, split (0 where users are shared) and a running number of six digits."""
    group = 0 if config.share_users else 1 + SPLITS.index(split)
    return (f"{task}{group}{number:06d}" for number in range(config.users[split]))


def preferences_of(family: Family, user: str, config: SynthConfig) -> Preferences:
    """The planted preferences of a user: a function of seed, task and user id alone."""
    return family.preferences(Rng(config.seed, family.number, user, "preferences"))


def records(family: Family, user: str, split: str, config: SynthConfig) -> Iterator[Record]:
    """The user's questions in `split`, oldest first.

    Items and questions share one running number, which orders them in time and ends their ids. Between two
    questions one to three new items are written. Past questions do not enter the profile: their golds
    would show the truth without noise.
    """
    key = (config.seed, family.number, user)
    preferences = preferences_of(family, user, config)
    themes = family.themes(preferences, Rng(*key, "themes"), config)
    clock = Rng(*key, "dates")
    earlier = SPLITS.index(split) * config.questions_per_user if config.share_users else 0
    profile: list[dict[str, str]] = []
    theme_of: dict[str, str] = {}
    today, running, wanted = _FIRST_DAY, 0, config.profile_size
    for asked in range(earlier + config.questions_per_user):
        while len(profile) < wanted:
            name, theme = f"{user}{running}", next(themes)
            fields = family.item(preferences, theme, Rng(*key, running), config)
            profile.append({"id": name, **fields, "date": today.isoformat()})
            theme_of[name] = theme
            today, running = today + timedelta(days=1 + clock.below(5)), running + 1
        if asked >= earlier:
            question = family.question(preferences, Rng(*key, running))
            relevant = [name for name, theme in theme_of.items() if theme in question.themes]
            yield Record(f"{user}{running}", user, question.input, list(profile), question.gold, relevant)
        today, running = today + timedelta(days=1 + clock.below(5)), running + 1
        wanted += 1 + clock.below(3)


@cache
def family(number: int) -> Family:
    """The task of that number; its vocabulary is read on the first call.

    Raises:
        UnknownNameError: the number is not one from 1 to 7.
    """
    if number not in _FAMILIES:
        raise UnknownNameError("mini-LaMP task", str(number), map(str, _FAMILIES))
    return _FAMILIES[number]()


def answer(task: int, text: str, preferences: Preferences) -> str:
    """What a user with these preferences answers to an input of mini-LaMP: the gold, for the input's own user.

    With another user's preferences it is what that user would have answered to the same input.

    Args:
        task: 1 to 7.
        text: the input of a question, instruction included.
        preferences: one value of `truth`.

    Raises:
        UnknownNameError: no such task.
        DataError: the text is not an input of that task.
    """
    return family(task).answer(text, preferences)


class _Planted(BaseModel):
    """What the tests of traits read of mini_lamp.json."""

    users: dict[str, dict[str, Any]]


def truth(folder: Path) -> Mapping[str, Preferences]:
    """The planted preferences by user id, read from the `mini_lamp.json` of a task's folder.

    Raises:
        DataError: the folder holds no such file, or it is not one.
    """
    path = Path(folder) / GENERATED
    if not path.is_file():
        raise DataError(f"{path}: cannot be read: no such file", "give a task's folder of mini-LaMP")
    return load_json(path, _Planted, hint="write the folder anew").users


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
