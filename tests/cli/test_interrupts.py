"""Ctrl-C at any moment, once or twice: status 130, one line, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Runs the command line in this process, which sends itself Ctrl-C when `MOMENT` comes.
SCRIPT = """
import atexit, os, signal, sys

moment, words = sys.argv[1], sys.argv[2:]


def press():
    os.kill(os.getpid(), signal.SIGINT)


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            press()


class Dying:
    def __del__(self):
        press()
        for _ in range(1000):
            pass


def twice():
    try:
        press()
        for _ in range(1000):
            pass
    finally:
        press()
        for _ in range(1000):
            pass


import prlm_bench.__main__ as command

sys.argv = ["prlm-bench", *words]
sys.meta_path.insert(0, Finder())
if moment == "exit":
    atexit.register(press)
elif moment in ("destructor", "twice", "other error"):
    import prlm_bench.doctor as doctor
    import time

    def found(*_, **__):
        if moment == "twice":
            twice()
        if moment == "other error":
            try:
                press()
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                raise RuntimeError("a library's own") from None
        Dying()
        time.sleep(30)

    doctor.diagnose = found
command.main()
"""


def run(folder: Path, moment: str, *words: str) -> subprocess.CompletedProcess[str]:
    # A shell that starts its jobs in the background has them ignore Ctrl-C.
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, moment, *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def slow(moment: str) -> Any:
    return pytest.param(moment, marks=pytest.mark.slow)


@pytest.mark.parametrize("moment", ["prlm_bench.cli", slow("prlm_bench.cli._human"), slow("prlm_bench.doctor"), "exit"])
def test_an_interrupt_while_modules_are_imported_and_at_the_end(tmp_path: Path, moment: str) -> None:
    ended = run(tmp_path, moment, "doctor")
    assert (ended.returncode, ended.stderr) == (130, "prlm-bench: interrupted\n"), ended


@pytest.mark.parametrize("moment", ["destructor", "twice", slow("other error")])
def test_an_interrupt_where_python_or_a_library_hides_it(tmp_path: Path, moment: str) -> None:
    ended = run(tmp_path, moment, "doctor")
    assert (ended.returncode, ended.stderr) == (130, "prlm-bench: interrupted\n"), ended


@pytest.mark.slow
def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, "typer", "plugins"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
    )
    assert ended.returncode == 0, ended
