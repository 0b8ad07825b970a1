"""The progress line says what a run is doing, within 80 columns and in lines for log files."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from prlm_bench._util.progress_bars import BarProgress, PlainProgress
from prlm_bench.interfaces import Activity
from prlm_bench.progress import Watches
from prlm_bench.running._throughput import Throughput

STATUS = "1240 tok/s, 128 rows, 93% busy"


@pytest.mark.parametrize(("columns", "rate"), [(80, False), (140, True)])
def test_a_bar_fits_its_terminal(columns: int, rate: bool) -> None:
    out = io.StringIO()
    progress = BarProgress(Console(file=out, width=columns, force_terminal=True))
    assert isinstance(progress, Watches)
    with progress:
        progress.start("mini_lamp_7 dev", 12_000, 40)
        progress.watch(lambda: STATUS)
        progress.advance(4)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").split("\n")
    assert max(map(len, lines)) <= columns
    last = [line for line in lines if line.strip()][-1]
    assert re.match(r"mini_lamp_7 dev ━+ +44/12000 ", last)
    assert last.rstrip().endswith(STATUS)
    assert ("0:00:00" in last) == rate


def test_lines_for_a_log_say_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()
    assert isinstance(progress, Watches)
    progress.start("one", 2)
    progress.watch(lambda: STATUS)
    progress.advance(2)
    progress.start("two", 1)
    progress.advance(1)
    first, second = (line for line in capsys.readouterr().err.splitlines() if "/s" in line)
    assert first.endswith(f" s left, {STATUS}")
    assert second.endswith(" s left"), "another stage is not that of the run"


def test_tokens_are_counted_over_the_last_seconds() -> None:
    now = 100.0
    doing = Activity()
    status = Throughput(lambda: doing, lambda: now)
    assert status() == ""
    now += 4
    status.add(200)
    assert status() == "50 tok/s"
    doing = Activity(rows=128, busy=0.931)
    now += 26
    assert status() == "128 rows, 93% busy"
    for _ in range(100):
        now += 1
        status.add(30)
    assert status() == "32 tok/s, 128 rows, 93% busy"
