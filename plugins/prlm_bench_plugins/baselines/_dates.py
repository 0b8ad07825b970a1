"""Dates of profile items, which data sets write as year-month-day with or without leading zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar

from prlm_bench import Document, Example
from prlm_bench.errors import DataError

_Read = TypeVar("_Read")


def date_parts(written: str | None) -> tuple[int, ...]:
    """The numbers of a date, for ordering: (2020, 1, 9) for `2020-01-09` or `2020-1-9`.

    Missing parts stay missing, so that a bare year sorts before its months.

    Raises:
        ValueError: the date is missing, or not made of numbers joined by hyphens.
    """
    return tuple(int(part) for part in str(written).split("-"))


def day_number(written: str | None) -> int:
    """The proleptic Gregorian ordinal of a date, for differences in days.

    A missing month or day counts as the first; a time of day after `T` is ignored.

    Raises:
        ValueError: the date is missing or not in the calendar.
    """
    year, month, day, *_ = *str(written).partition("T")[0][:10].split("-"), "1", "1"
    return date(int(year), int(month), int(day)).toordinal()


def read_dates(
    example: Example, items: Sequence[Document], read: Callable[[str | None], _Read], problem: str
) -> list[_Read]:
    """The dates of the items of a question.

    Args:
        example: the question, for the error message.
        items: n items.
        read: `date_parts` or `day_number`.
        problem: ends the error message, such as "which recency cannot order".

    Returns:
        n dates as `read` gives them.

    Raises:
        DataError: `read` refuses a date; the message names the question and the item.
    """
    found = []
    for item in items:
        try:
            found.append(read(item.date))
        except ValueError:
            message = f"question {example.id}: item {item.id} has the date {item.date!r}, {problem}"
            raise DataError(message, "dates are written year-month-day") from None
    return found
