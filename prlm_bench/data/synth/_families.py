"""The seven tasks by number."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ...errors import UnknownNameError
from ._citations import Citations
from ._family import Family, Preferences
from ._films import Films
from ._headlines import Headlines
from ._mails import Mails
from ._papers import Papers
from ._reviews import Reviews
from ._style import StyledTask
from ._tweets import Tweets

_FAMILIES: dict[int, Callable[[], Family]] = {
    1: Citations,
    2: Films,
    3: Reviews,
    4: lambda: StyledTask(4, Headlines()),
    5: lambda: StyledTask(5, Papers()),
    6: lambda: StyledTask(6, Mails()),
    7: lambda: StyledTask(7, Tweets()),
}


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
