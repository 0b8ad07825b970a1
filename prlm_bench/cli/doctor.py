"""`prlm-bench doctor`."""

from __future__ import annotations

from ._host import JsonOption, host_for
from ._output import print_json, print_table


def doctor(json: JsonOption = False) -> None:
    """Check this installation: versions, optional packages, plugins, folders."""
    from ..diagnosis import diagnose

    checks = diagnose(host_for(None, quiet=True))
    if json:
        print_json([{"check": c.name, "ok": c.ok, "found": c.found, "hint": c.hint} for c in checks])
        return
    rows = [[c.name, {True: "ok", False: "PROBLEM", None: "-"}[c.ok], c.found, c.hint] for c in checks]
    print_table("", ["check", "", "found", "what to do"], rows)
