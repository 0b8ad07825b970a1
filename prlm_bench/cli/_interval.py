"""The option that chooses the kind of intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..stats import Interval

IntervalOption = Annotated[
    str, typer.Option(help="Kind of the intervals: percentile, or bca (bias-corrected and accelerated).")
]


def checked_interval(name: str) -> Interval:
    """The kind of intervals of this name.

    Raises:
        UnknownNameError: there is none.
    """
    from ..errors import UnknownNameError
    from ..stats import INTERVALS

    for kind in INTERVALS:
        if kind == name:
            return kind
    raise UnknownNameError("interval", name, INTERVALS)
