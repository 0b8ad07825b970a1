"""A user's life in time: items, questions, ids and dates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from ._config import SPLITS, SynthConfig
from ._dice import Dice
from ._family import Family, Preferences

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
    return family.preferences(Dice(config.seed, family.number, user, "preferences"))


def records(family: Family, user: str, split: str, config: SynthConfig) -> Iterator[Record]:
    """The user's questions in `split`, oldest first.

    Items and questions share one running number, which orders them in time and ends their ids. Between two
    questions one to three new items are written. Past questions do not enter the profile: their golds
    would show the truth without noise.
    """
    key = (config.seed, family.number, user)
    preferences = preferences_of(family, user, config)
    themes = family.themes(preferences, Dice(*key, "themes"), config)
    clock = Dice(*key, "dates")
    earlier = SPLITS.index(split) * config.questions_per_user if config.share_users else 0
    profile: list[dict[str, str]] = []
    theme_of: dict[str, str] = {}
    today, running, wanted = _FIRST_DAY, 0, config.profile_size
    for asked in range(earlier + config.questions_per_user):
        while len(profile) < wanted:
            name, theme = f"{user}{running}", next(themes)
            fields = family.item(preferences, theme, Dice(*key, running), config)
            profile.append({"id": name, **fields, "date": today.isoformat()})
            theme_of[name] = theme
            today, running = today + timedelta(days=1 + clock.below(5)), running + 1
        if asked >= earlier:
            question = family.question(preferences, Dice(*key, running))
            relevant = [name for name, theme in theme_of.items() if theme in question.themes]
            yield Record(f"{user}{running}", user, question.input, list(profile), question.gold, relevant)
        today, running = today + timedelta(days=1 + clock.below(5)), running + 1
        wanted += 1 + clock.below(3)
