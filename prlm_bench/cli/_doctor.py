"""`prlm-bench doctor`."""

from __future__ import annotations

from ._output import print_json, print_table
from .options import JsonOption, host_for


def doctor(json: JsonOption = False) -> None:
    """Check this installation: versions, optional packages, plugins, folders. Exit status 2 if there are problems."""
    from ..doctor import diagnose
    from ..errors import PrlmBenchError

    checks = diagnose(host_for(None, quiet=True))
    if json:
        print_json([{"check": c.name, "ok": c.ok, "found": c.found, "hint": c.hint} for c in checks])
    else:
        rows = [[c.name, {True: "ok", False: "PROBLEM", None: "-"}[c.ok], c.found, c.hint] for c in checks]
        print_table("", ["check", "", "found", "what to do"], rows)
    problems = [check.name for check in checks if check.ok is False]
    if problems:
        raise PrlmBenchError(f"problems with {', '.join(problems)}")
