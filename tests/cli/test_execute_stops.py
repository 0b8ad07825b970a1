"""A run may be killed or interrupted anywhere; the same command goes on and ends in the same bytes."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prlm_bench.results import TIMING, finished_ids

Command = Callable[..., Any]
MORE_MOMENTS = ["before:manifest.json", "before:samples.jsonl", "after:samples.jsonl"]

#: A generator that takes its time, small batches, and a process that kills itself where `KILL` says.
PLUGIN = '''
import os
import signal
import time
from pathlib import Path

from prlm_bench import Completion, hookimpl
from prlm_bench.running import _execute as execute

execute.BATCH = 4


class Slow:
    """Answers after a while."""

    tokenizer = None

    def fingerprint(self):
        return ""

    def generate(self, prompts):
        for j, prompt in enumerate(prompts):
            time.sleep(float(os.environ.get("SLOW", "0")))
            yield j, Completion(f"{prompt.example.id}, {prompt.shown} items")


@hookimpl
def prlm_bench_register_generators(register):
    register("slow", Slow)


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


kill = os.environ.get("KILL", "").split(":")
if kill[0] == "write":  # in the middle of the n-th line of a journal
    count, write = iter(range(int(kill[1]))), os.write

    def torn(descriptor, content):
        if next(count, None) is None:
            write(descriptor, content[: len(content) // 2])
            _die()
        return write(descriptor, content)

    os.write = torn
elif kill[0] in ("before", "after"):  # the moment when a file takes its name
    replace = Path.replace

    def die_at(path, target):
        hit = Path(target).name == kill[1]
        if hit and kill[0] == "before":
            _die()
        replace(path, target)
        if hit:
            _die()

    Path.replace = die_at
'''
WORDS = ("--task", "mini_lamp_4", "--task", "mini_lamp_3", "--synth-users", "4", "--retriever", "bm25", "-k", "2")
WORDS += ("--generator", "slow", "--reward", "format", "--no-controls", "--plugin", "slow.py")


def slow(case: Any) -> Any:
    return pytest.param(case, marks=pytest.mark.slow)


def run_words(results: str, jobs: int) -> list[str]:
    return ["run", *WORDS, "--results", results, "--jobs", str(jobs)]


def files(folder: Path) -> dict[str, bytes]:
    """All files but those that say how long a run took."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != TIMING)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def finished_samples(results: Path) -> int:
    """Samples in journals and, where a row is finished, in its samples."""
    folders = {path.parent for path in results.rglob("manifest.json")}
    return sum(max(len(finished_ids(f / "journal.jsonl")), _lines(f / "samples.jsonl")) for f in folders)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@pytest.fixture
def plugin(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(PLUGIN)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The result of the command that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "slow.py").write_text(PLUGIN)
    subprocess.run([sys.executable, "-m", "prlm_bench", *run_words("results", 1)], cwd=folder, check=True)
    found = files(folder / "results")
    assert [Path(name).name for name in found] == ["manifest.json", "samples.jsonl", "summary.json"] * 2
    assert [content.count(b"\n") for name, content in found.items() if name.endswith("samples.jsonl")] == [12, 12]
    return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command as the leader of a process group; whatever is left of it at the end is killed."""
    processes = []

    def start(jobs: int, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "prlm_bench", *run_words("results", jobs)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if group_is_alive(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group_is_alive(process: subprocess.Popen[str]) -> bool:
    """True while the process or one that it started is there."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("kill", ["write:9", "before:summary.json", *map(slow, MORE_MOMENTS)])
def test_killed_at_a_delicate_moment(cli: Command, tmp_path: Path, unbroken: dict[str, bytes], kill: str) -> None:
    assert cli(*run_words("results", 1), KILL=kill).status == -signal.SIGKILL
    assert files(tmp_path / "results") != unbroken
    assert cli(*run_words("results", 1)).status == 0
    assert files(tmp_path / "results") == unbroken


@pytest.mark.usefixtures("plugin")
def test_killed_when_only_tidying_is_left(cli: Command, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    assert cli(*run_words("results", 1), KILL="after:summary.json").status == -signal.SIGKILL
    (journal,) = (tmp_path / "results").rglob("journal.jsonl")
    assert (journal.parent / "summary.json").is_file()
    ended = cli(*run_words("results", 1))
    assert ended.stderr.splitlines()[-1] == "1 rows run, 1 were there already, 0 failed; results in results"
    assert files(tmp_path / "results") == unbroken


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_random_moments(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, unbroken: dict[str, bytes], jobs: int
) -> None:
    rng = random.Random(jobs)
    results = tmp_path / "results"
    seen = [0]
    while True:
        process = started(jobs, SLOW="0.05")
        goal = seen[-1] + rng.randint(1, 8)
        wait_until(lambda goal=goal, process=process: finished_samples(results) >= goal or process.poll() is not None)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert wait_until(lambda process=process: not group_is_alive(process)), "workers outlive their parent"
        seen.append(finished_samples(results))
    assert seen == sorted(seen), "what is finished stays finished"
    assert len([count for count in seen if 0 < count < 24]) >= 2, "it was over before it could be killed"
    assert files(results) == unbroken


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
def test_two_jobs_give_the_same_bytes_as_one(cli: Command, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    ended = cli(*run_words("results", 2))
    assert ended.status == 0, ended
    assert files(tmp_path / "results") == unbroken


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("jobs", [1, slow(2)])
def test_interrupted_it_says_how_to_go_on(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, unbroken: dict[str, bytes], jobs: int
) -> None:
    process = started(jobs, SLOW="0.2")  # on a busy machine the run would else be over before it is interrupted
    assert wait_until(lambda: finished_samples(tmp_path / "results") >= 3)
    os.killpg(process.pid, signal.SIGINT)  # a terminal interrupts the whole group
    out, said = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert said.splitlines()[-1] == (
        "prlm-bench: interrupted; finished samples are kept. Resume with: "
        + shlex.join(["prlm-bench", *run_words("results", jobs)])
    )
    assert "Traceback" not in said
    assert wait_until(lambda: not group_is_alive(process), 5)
    assert 3 <= finished_samples(tmp_path / "results") < 24
    process = started(jobs)
    process.communicate()
    assert process.returncode == 0
    assert files(tmp_path / "results") == unbroken


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
def test_a_worker_that_dies_costs_one_line(
    started: Callable[..., subprocess.Popen[str]], tmp_path: Path, unbroken: dict[str, bytes]
) -> None:
    process = started(2, SLOW="0.05")
    assert wait_until(lambda: finished_samples(tmp_path / "results") >= 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        pytest.skip("this system does not tell the children of a process")
    worker = int(children.read_text().split()[-1])
    os.kill(worker, signal.SIGKILL)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert said.splitlines()[-1].startswith("prlm-bench: a worker process died")
    assert "Traceback" not in said
    process = started(1)
    process.communicate()
    assert files(tmp_path / "results") == unbroken


@pytest.mark.slow
def test_workers_know_tasks_that_were_given_as_files(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: mini_lamp_4\nname: mine\n")
    ended = cli(
        *("run", "--task", "mine.yaml", "--synth-users", 4, "--retriever", "bm25", "--generator", "copy"),
        *("--results", "results", "--jobs", 2),
    )
    assert ended.status == 0, ended.stderr
    assert len(list((tmp_path / "results" / "mine" / "dev").iterdir())) == 5
