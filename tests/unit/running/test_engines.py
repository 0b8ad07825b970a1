"""Worker processes: they run the bench's code, and none that lies in the working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: Modules that a worker or the process that keeps account of semaphores imports, and packages of the bench.
IMPORTED = (
    *("concurrent", "copyreg", "functools", "inspect", "io", "json", "logging", "multiprocessing", "orjson", "os"),
    *("pickle", "queue", "random", "resource", "runpy", "selectors", "signal", "site", "socket", "struct"),
    *("subprocess", "tempfile", "threading", "traceback", "types", "typing", "weakref", "yaml"),
)
PROGRAM = """
import os
from prlm_bench.running._engines import ProcessEngine

def work(number):
    return number, os.getpid()

def nothing():
    pass

if __name__ == "__main__":
    found = list(ProcessEngine(2).map(work, range(4), nothing))
    print([number for number, _ in found], os.getpid() in {process for _, process in found})
    print(os.environ.get("PYTHONSAFEPATH"))
"""


def test_workers_import_nothing_from_the_working_folder(tmp_path: Path) -> None:
    """They are started as `python -c`, which puts the working folder first, where the parent did not have it."""
    work, program = tmp_path / "work", tmp_path / "bin" / "program"
    for folder in (work, program.parent):
        folder.mkdir()
    for name in IMPORTED:
        (work / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name + ' '!r})\n")
    program.write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    ended = subprocess.run(
        [sys.executable, program], cwd=work, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (ended.stdout, ended.stderr) == ("[0, 1, 2, 3] False\nNone\n", "")
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
