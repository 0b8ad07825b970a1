"""The progress line says what a run is doing, within 80 columns and in lines for log files."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from prlm_bench._util.progress_bars import BarProgress, PlainProgress, clock, make_progress, pace
from prlm_bench._util.verbosity import verbosity
from prlm_bench.interfaces import Activity
from prlm_bench.progress import ByteProgress, Silent, Watches, working
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
    assert first.endswith(f", 0:00:00 left, {STATUS}")
    assert second.endswith(", 0:00:00 left"), "another stage is not that of the run"


@pytest.mark.parametrize(
    ("rate", "label", "said"),
    [
        (0.0, "lamp_7 dev", ""),
        (1240.4, "lamp_7 dev", "1240/s"),
        (12.0, "lamp_7 dev", "12/s"),
        (1.26, "lamp_7 dev", "1.3/s"),
        (0.4, "lamp_7 dev", "2.5 s/question"),
        (0.0098, "lamp_7 dev", "102 s/question"),
        (0.5, "training the tiny model, examples", "2.0 s/example"),
        (0.5, "evaluating, kinds of prompts", "2.0 s/kind of prompts"),
        (0.25, "importing lamp_7, MB", "4.0 s/MB"),
    ],
)
def test_a_slow_model_has_seconds_for_each_question(rate: float, label: str, said: str) -> None:
    assert pace(rate, label) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0:00:00"), (61, "0:01:01"), (33475, "9:17:55"), (360000, "100:00:00")]
)
def test_times_are_hours_minutes_and_seconds(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_what_a_slow_run_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = PlainProgress()
    progress.start("lamp_7 dev", 160)
    now[0] = 102.3
    progress.advance()
    assert capsys.readouterr().err.splitlines()[-1] == "lamp_7 dev: 1/160, 102 s/question", "which has loaded the model"
    now[0] = 204.6
    progress.advance()
    assert capsys.readouterr().err.splitlines()[-1] == "lamp_7 dev: 2/160, 102 s/question, 4:29:23 left"


def test_long_work_inside_a_component_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with working("encoding, texts", 100) as advance:
        advance(50)  # nobody looks
    with PlainProgress(), working("encoding, texts", 3000) as advance:
        for _ in range(3):
            now[0] += 9
            advance(900)
    assert capsys.readouterr().err.splitlines() == ["encoding, texts: 1800/3000, 100/s, 0:00:12 left"]
    out = io.StringIO()
    with BarProgress(Console(file=out, width=140, force_terminal=True)) as bar:
        with working("encoding, texts", 3000) as advance:
            advance(1)
            bar._bar.refresh()
            assert "encoding" not in out.getvalue(), "short work is not worth a bar"
        monkeypatch.setattr("prlm_bench._util.progress_bars._SOON", 0.0)
        with working("encoding, texts", 3000) as advance:
            assert any(bar._bar.tasks[0].visible for _ in range(10**7)), "a timer shows it"
            advance(900)
            bar._bar.refresh()
        assert not bar._bar.tasks
    assert re.search(r"encoding, texts .* 900/3000", out.getvalue())


def test_bytes_are_shown_in_megabytes() -> None:
    class Kept(Silent):
        def start(self, label: str, total: int, done: int = 0) -> None:
            calls.append((label, total))

        def advance(self, count: int = 1) -> None:
            calls.append(count)

    calls: list[object] = []
    report = ByteProgress(Kept(), "importing lamp_7 dev, bytes")
    for done in (0, 999_999, 10_500_000, 25_000_001):
        report(done, 25_000_001)
    assert calls == [("importing lamp_7 dev, MB", 26), 0, 0, 10, 16]
    ByteProgress(Kept(), "small")(10, 100)
    assert len(calls) == 5


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbosity, "quiet", True)
    with make_progress() as progress:
        progress.start("one", 2)
        progress.advance(2)
        progress.note("done")
    assert capsys.readouterr() == ("", "")


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
