"""Frozen prompts: files with the prompts of a method, from which lm_eval's tasks are made.

A folder has three files for each task: `TASK.jsonl`, a line for each question; `TASK.json`, the run that made
them; and `prlm_TASK.yaml`, so that the folder itself can be an include path of lm_eval.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson
from pydantic import BaseModel

from prlm_bench import Completion, Document, Example, Prompt, Ranking
from prlm_bench.errors import DataError, RunError
from prlm_bench.files import (
    cache_root,
    expanded,
    load_json,
    load_json_lines,
    pretty,
    read_bytes,
    replacing,
    write_whole,
)
from prlm_bench.host import PluginHost
from prlm_bench.results import Manifest
from prlm_bench.running import BATCH, Components
from prlm_bench.tasks import Task

from ._score_docs import PREFIX, ScoredDocs

if TYPE_CHECKING:
    from prlm_bench.data import Dataset
    from prlm_bench.progress import Progress
    from prlm_bench.running import PreparedTask

#: Environment variable with the folder of the prompts, where `--metadata prompts=FOLDER` does not name it.
VARIABLE = "PRLM_BENCH_PROMPTS"
#: Token limit of a completion, where the generator has no option for it.
_MAX_NEW_TOKENS = 128
_AGAIN = "export the prompts again"
_YAML = "task: {name}\nclass: !function prlm_bench_plugins.lm_eval_bridge.adapter.FrozenTask\n"


class _Exported(BaseModel):
    """`TASK.json`: the run that made the prompts."""

    task: Task
    reasoner: str
    plugins: list[str]
    max_new_tokens: int
    prompts_sha256: str
    run: Manifest


class _Item(BaseModel):
    """A retrieved item."""

    id: str
    text: str
    fields: dict[str, str]
    date: str | None


class _Line(BaseModel):
    """A line of `TASK.jsonl`: a question with its prompt."""

    id: str
    user: str
    task: str
    protocol: Literal["chat", "plain"]
    fingerprint: str
    prompt: str
    gold: str | None
    input: str
    query: str
    items: list[_Item]
    scores: list[float | None]
    tokens: int
    shown: int
    cut: int
    dropped: int
    ranks: tuple[int, ...] | None = None


def freeze(bench: PreparedTask, folder: Path, host: PluginHost, max_new_tokens: int | None, progress: Progress) -> Path:
    """Write the prompts of a bench with one cell.

    Args:
        bench: retriever, reasoner and the generator that prompts are made for.
        folder: where to write.
        host: the loaded plugins.
        max_new_tokens: token limit of a completion; by default the generator's.
        progress: receives progress updates.

    Returns:
        The file of the prompts.

    Raises:
        DataError: no prompt could be made.
    """
    task, manifest, cell = bench.dataset.task, bench.manifests[0], bench.plan.cells[0]
    path = folder / f"{task.name}.jsonl"
    checksum = hashlib.sha256()
    progress.start(f"{task.name} {bench.dataset.split}", len(bench.ids))
    with replacing(path) as file:
        for prompt in _prompts(bench):
            line = orjson.dumps(_line(prompt, task.name, manifest.fingerprint).model_dump()) + b"\n"
            checksum.update(line)
            file.write(line)
            progress.advance()
    content = {
        "task": task.model_dump(mode="json"),
        "reasoner": str(cell.reasoner),
        "plugins": list(host.extra),
        "max_new_tokens": max_new_tokens or _token_limit(cell.generator),
        "prompts_sha256": checksum.hexdigest(),
        "run": manifest.model_dump(mode="json"),
    }
    name = PREFIX + task.name
    write_whole(folder / f"{name}.yaml", _YAML.format(name=name).encode())
    write_whole(folder / f"{task.name}.json", pretty(content))
    return path


def _prompts(bench: PreparedTask) -> Iterator[Prompt]:
    parts, k = bench.pipeline.parts[0], bench.plan.cells[0].k
    for examples in bench.dataset.batches(BATCH, 0, len(bench.ids)):
        rankings = [Ranking(r.items[:k], r.scores[:k]) for r in parts.retriever.rank(examples, k)]
        yield from parts.reasoner.prompts(examples, rankings, parts.generator)


def _line(prompt: Prompt, task: str, fingerprint: str) -> _Line:
    example, ranking = prompt.example, prompt.ranking
    if prompt.turns:
        raise RunError(f"the prompt of question {example.id} has several turns, and a task of lm_eval has one text")
    return _Line(
        id=example.id,
        user=example.user,
        task=task,
        protocol="chat" if prompt.chat else "plain",
        fingerprint=fingerprint,
        prompt=prompt.text,
        gold=example.gold,
        input=example.input,
        query=example.query,
        items=[_Item(id=d.id, text=d.text, fields=dict(d.fields), date=d.date) for d in ranking.items],
        scores=[float(score) for score in ranking.scores],
        tokens=prompt.tokens,
        shown=prompt.shown,
        cut=prompt.cut,
        dropped=prompt.dropped,
        ranks=prompt.ranks,
    )


def _token_limit(generator: Any) -> int:
    options = generator.component.options
    for name in ("max_new_tokens", "max_tokens"):
        if name in options:
            return int(generator.options.get(name, options[name].default))
    return _MAX_NEW_TOKENS


def find_frozen_prompts(name: str, metadata: Mapping[str, Any]) -> ScoredDocs:
    """The frozen prompts of a task, from the folder in the metadata or the environment, else beside the YAML file.

    Args:
        name: the task's name in lm_eval.
        metadata: as lm_eval passes it on.

    Raises:
        DataError: there are none, or the files are damaged.
        RunError: the reasoner that made them has changed since.
    """
    task = name.removeprefix(PREFIX)
    beside = Path(str(metadata.get("config_source", ""))).parent
    folder = expanded(str(metadata.get("prompts") or os.environ.get(VARIABLE) or beside))
    manifest, lines = folder / f"{task}.json", folder / f"{task}.jsonl"
    if not (manifest.is_file() and lines.is_file()):
        where = f"no prompts of {task}" if folder == beside else f"no prompts of {task} in {folder}"
        hint = f"`prlm-bench lm-eval export` writes them; name their folder in --metadata prompts= or in {VARIABLE}"
        raise DataError(where, hint)
    about = load_json(manifest, _Exported, hint=_AGAIN)
    if hashlib.sha256(read_bytes(lines)).hexdigest() != about.prompts_sha256:
        raise DataError(f"{lines}: not the file that was exported", _AGAIN)
    rows = {row.id: row for row in load_json_lines(lines, _Line, _AGAIN)}
    return _scored_docs(name, about, rows)


def _scored_docs(name: str, content: _Exported, rows: Mapping[str, _Line]) -> ScoredDocs:
    host, run, task = PluginHost(content.plugins), content.run, content.task
    chosen = host.registry.choose("reasoner", content.reasoner)
    components = Components(host, cast("Dataset", _TaskOnly(task, run.split)), cache_root())
    reasoner, identity = components.make(chosen, run.seed)
    if identity != run.method.reasoner.model_dump():
        raise RunError(f"the prompts of {task.name} are of another version of {chosen}", "export them again")

    def answer(identifier: str, completion: str) -> str:
        return str(reasoner.parse(_prompt(rows[identifier]), Completion(completion)).text)

    columns = {"id", "user", "task", "protocol", "fingerprint", "prompt", "gold"}
    docs = [row.model_dump(include=columns) for row in rows.values()]
    about = {"split": run.split, "fingerprint": run.fingerprint}
    metrics = host.metrics(task.metrics)
    return ScoredDocs(name, docs, metrics, task.labels, answer, content.max_new_tokens, about)


def _prompt(row: _Line) -> Prompt:
    """The prompt as it was, except that the profile has only the retrieved items."""
    items = tuple(Document(item.id, item.text, item.fields, item.date) for item in row.items)
    example = Example(row.id, row.user, row.input, row.query, items, row.gold)
    ranking = Ranking(items, tuple(math.nan if score is None else score for score in row.scores))
    counts = (row.tokens, row.shown, row.cut, row.dropped)
    return Prompt(example, ranking, row.prompt, row.protocol == "chat", *counts, ranks=row.ranks)


class _TaskOnly:
    """Stands in for the data set: a reasoner that only parses completions needs no more than the task."""

    def __init__(self, task: Task, split: str) -> None:
        self.task, self.split = task, split

    def __getattr__(self, name: str) -> Any:
        hint = "run it with `prlm-bench run` or `prlm-bench lm-eval run`"
        raise RunError(f"this reasoner needs the data of {self.task.name} to read answers, not prompts alone", hint)
