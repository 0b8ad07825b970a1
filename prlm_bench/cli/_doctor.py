"""`prlm-bench doctor`."""

from __future__ import annotations

import textwrap
from itertools import groupby
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from ._output import print_json, say
from .options import JsonOption, host_for

if TYPE_CHECKING:
    from ..doctor import Check

#: Columns of the status and of a check's name.
_STATUS, _NAME = 8, 22


def doctor(json: JsonOption = False) -> None:
    """Check this installation, and what there is to run models with. Exit status 2 if there are problems.

    For each missing piece it says what the piece would give and how to get it. The server of OPENAI_BASE_URL and those
    at the usual addresses on this machine are asked for their list of models, without a key.
    """
    from ..doctor import diagnose
    from ..errors import PrlmBenchError

    checks = diagnose(host_for(None, quiet=True))
    if json:
        print_json([_plain(check) for check in checks])
    else:
        for group, members in groupby(checks, key=lambda check: check.group):
            say(group, *(line for check in members for line in _lines(check)), "")
        say("ok: found; -: optional and missing; PROBLEM: repair it first")
    problems = [check.name for check in checks if check.ok is False]
    if problems:
        raise PrlmBenchError(f"problems with {', '.join(problems)}")


def _plain(check: Check) -> dict[str, object]:
    known: dict[str, object] = {"check": check.name, "group": check.group, "ok": check.ok, "found": check.found}
    return known | {"gives": check.gives, "hint": check.hint}


def _lines(check: Check) -> list[str]:
    """A check in lines of the terminal's width: what was found, what is missing without it, and what to do."""
    width = max(60, min(get_terminal_size().columns, 120))
    status = {True: "ok", False: "PROBLEM", None: "-"}[check.ok]
    name = f"{check.name}: " if len(check.name) > _NAME else f"{check.name:{_NAME}} "
    first = f"  {status:{_STATUS}}{name}{check.found}"
    rest = " " * (2 + _STATUS + _NAME + 1)
    texts = [first]
    texts += [f"{rest}gives: {check.gives}"] if check.gives else []
    texts += [f"{rest}do: {check.hint}"] if check.hint else []
    return [
        line
        for text in texts
        for line in textwrap.wrap(text, width, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
    ]
