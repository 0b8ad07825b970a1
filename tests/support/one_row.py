"""A run of one row by a model that answers at once, to be stopped and damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from prlm_bench import Completion, Prompt
from prlm_bench.host import Origin, PluginHost
from prlm_bench.host._registry import make_component
from prlm_bench.results import TIMING
from prlm_bench.running import (
    PreparedTask,
    RunConfig,
    execute,
    prepare_tasks,
)

Change = Callable[[bytes], bytes]
Command = Callable[..., Any]
MINE = Origin("mine", "mine", "1", "mine.py")
WHOLE = ["manifest.json", "samples.jsonl", "summary.json"]


class Model:
    """Answers with the question's id; fails at one question, if told to, and calls `before` at each."""

    tokenizer = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails_at: str | None = None
        self.before: Callable[[int], object] = lambda count: None

    def fingerprint(self) -> str:
        return ""

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for j, prompt in enumerate(prompts):
            if prompt.example.id == self.fails_at:
                raise RuntimeError("the model is gone")
            self.before(len(self.asked))
            self.asked.append(prompt.example.id)
            yield j, Completion(f"{prompt.example.id} \u00e9\u65e5 {prompt.shown}", finish="stop", tokens=4)


@pytest.fixture(name="model")
def a_model(host: PluginHost) -> Model:
    made = Model()
    host.registry.add(make_component("generator", MINE, "model", lambda: made))
    return made


@pytest.fixture(name="task")
def a_task(host: PluginHost, model: Model) -> PreparedTask:
    return prepared(host)


def config(**fields: Any) -> RunConfig:
    base = {"tasks": ["mini_lamp_4"], "synth_users": 4, "retrievers": ["bm25"], "generators": ["model"]}
    return RunConfig.model_validate({**base, "controls": False, **fields})


def prepared(host: PluginHost, **fields: Any) -> PreparedTask:
    (made,) = prepare_tasks(config(**fields), host)
    return made


def run(host: PluginHost, task: PreparedTask, results: Path) -> Path:
    """Run the only cell to its end."""
    task.pipeline.failed.clear()
    outcome = execute(config(), host, results, tasks=[task])
    (folder,) = [*outcome.finished, *outcome.already]
    return folder


def begun(host: PluginHost, model: Model, task: PreparedTask, results: Path) -> Path:
    """Run until the last question; the journal that is left."""
    model.fails_at = task.ids[-1]
    execute(config(), host, results, tasks=[task])
    model.fails_at, model.asked = None, []
    return task.folder(results, 0) / "journal.jsonl"


def files(folder: Path) -> dict[str, bytes]:
    """All files but the one that says how long a run took."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != TIMING}


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]
