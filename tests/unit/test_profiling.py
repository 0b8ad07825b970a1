"""A profile counts each second once, for the innermost stage and for the row that it was spent for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from prlm_bench.profiling import Profile, recording, settle, timed, timed_each


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    return made


def test_a_second_counts_for_the_innermost_stage(clock: Clock) -> None:
    profile = Profile()
    with recording(profile):
        clock.tick(1)
        with timed("generation"):
            clock.tick(2)
            with timed("device"):
                clock.tick(4)
            clock.tick(8)
        settle("a")
        with timed("parsing", ["a", "b"]):
            clock.tick(16)
    assert profile.rows == {"a": {"generation": 10, "device": 4, "parsing": 8}, "b": {"parsing": 8}}
    assert profile.stages == {"parsing": 16, "generation": 10, "device": 4, "other": 1}
    assert profile.wall == 31


def test_what_is_done_for_other_rows_within_a_stage_is_theirs(clock: Clock) -> None:
    """As in a stream: prompts of other rows are made while the generator draws them."""
    profile = Profile()
    with recording(profile):
        with timed("generation"):
            clock.tick(1)
            with timed("retrieval", ["b", "c"]):
                clock.tick(2)
                with timed("loading"):
                    clock.tick(4)
            clock.tick(8)
        settle("a")
    shared = {"retrieval": 1, "loading": 2}
    assert profile.rows == {"a": {"generation": 9}, "b": shared, "c": shared}


def test_a_stage_that_fails_ends(clock: Clock) -> None:
    profile = Profile()
    with recording(profile):
        with pytest.raises(ValueError, match="x"), timed("device"):
            clock.tick(1)
            raise ValueError("x")
        clock.tick(2)
    assert profile.stages == {"other": 2, "device": 1}


def test_getting_items_is_a_stage(clock: Clock) -> None:
    def items() -> Iterator[int]:
        for number in range(3):
            clock.tick(1)
            yield number

    profile = Profile()
    with recording(profile):
        for _ in timed_each("data", items(), []):
            clock.tick(10)
    assert profile.rows == {"": {"data": 3}}
    assert profile.stages == {"other": 30, "data": 3}


def test_other_threads_and_no_profile_cost_nothing(clock: Clock) -> None:
    profile = Profile()
    with recording(profile):
        thread = threading.Thread(target=lambda: timed("device").__enter__())
        thread.start()
        thread.join()
        clock.tick(1)
    with timed("device"), recording(None):
        clock.tick(1)
    settle("a")
    assert (profile.rows, profile.stages) == ({}, {"other": 1})


def test_workers_are_added(clock: Clock) -> None:
    worker, profile = Profile(), Profile()
    for _ in range(2):
        with recording(worker), timed("device", ["a"]):
            clock.tick(3)
        profile.add(worker.take())
    assert profile.to_dict() == {
        "wall_seconds": 0.0,
        "seconds": 6,
        "stages": {"device": {"seconds": 6, "share": 1.0}, "other": {"seconds": 0, "share": 0.0}},
        "rows": [{"row": "a", "seconds": 6, "stages": {"device": {"seconds": 6, "share": 1.0}}}],
    }
    assert "device       6.00 s  100.0 %" in repr(profile)


def test_a_stage_without_a_profile_is_quick() -> None:
    began = time.perf_counter()
    for _ in range(10_000):
        with timed("device"):
            pass
    assert time.perf_counter() - began < 1
