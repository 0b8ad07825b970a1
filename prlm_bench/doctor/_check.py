"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    #: None for something optional that is missing.
    ok: bool | None
    found: str
    #: What to do, where something is to be done.
    hint: str = ""
    #: What the piece is for, where it is missing.
    gives: str = ""
    #: The heading under which it is printed.
    group: str = "This installation"
