"""From a finished sample to the line that the journal keeps, and from a cell to its manifest."""

from __future__ import annotations

import platform
import re
import shlex
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .. import __version__
from .._files import digest
from ..results.schema import ITEM_TEXT, DataIdentity, Manifest, MethodIdentity
from .pipeline import Parts, Result
from .plan import Cell
from .study import Study

if TYPE_CHECKING:
    from ..data import Dataset
    from ..tasks import Task

#: Packages that figures depend on, besides what components name themselves; those that are installed are recorded.
_PACKAGES = ("numpy", "jieba", "sacrebleu", "ir_measures")


def sample_line(result: Result) -> bytes:
    """The journal's line for a finished sample: `SampleRecord` without its metrics."""
    sample = result.sample
    prompt, completion, answer = sample.prompt, sample.completion, sample.answer
    ranking = prompt.ranking
    return orjson.dumps(
        {
            "id": prompt.example.id,
            "user": prompt.example.user,
            "query": prompt.example.query,
            "items": [
                {"id": item.id, "score": score, "text": _beginning(item.text)}
                for item, score in zip(ranking.items, ranking.scores, strict=True)
            ],
            "prompt": prompt.text,
            "prompt_tokens": prompt.tokens,
            "shown": prompt.shown,
            "cut": prompt.cut,
            "dropped": prompt.dropped,
            "completion": completion.text,
            "finish": completion.finish,
            "completion_tokens": completion.tokens,
            "generator_prompt_tokens": completion.prompt_tokens,
            "cost": completion.cost,
            "reasoning": answer.reasoning,
            "answer": answer.text,
            "parsed": answer.parsed,
            "cited": answer.cited,
            "gold": prompt.example.gold,
            "retrieval": result.retrieval,
            "rewards": result.rewards,
        }
    )


def _beginning(text: str) -> str:
    return text if len(text) <= ITEM_TEXT else text[: ITEM_TEXT - 1] + "…"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def make_manifest(
    cell: Cell, parts: Parts, rewards: list[dict[str, str]], metrics: list[str], study: Study, dataset: Dataset
) -> Manifest:
    """The manifest of a cell; its fingerprint covers everything but the command."""
    n = min(study.limit or len(dataset), len(dataset))
    content: dict[str, Any] = {
        "task": dataset.task.name,
        "benchmark": dataset.task.benchmark,
        "split": dataset.split,
        "data": DataIdentity(
            sha256=dict(dataset.sha256),
            n_total=dataset.n_total,
            n_invalid=dataset.n_invalid,
            n=n,
            n_users=len(set(dataset.users[:n])),
            view=dataset.view,
            dates=dataset.dates,
        ).model_dump(),
        "method": MethodIdentity.model_validate({**parts.identities, "k": cell.k}).model_dump(),
        "rewards": rewards,
        "metrics": metrics,
        "seed": cell.seed,
        "control": cell.is_control,
        "versions": {"prlm-bench": __version__, "python": ".".join(platform.python_version_tuple()[:2])} | _versions(),
    }
    return Manifest.model_validate(
        {**content, "fingerprint": _fingerprint(content, dataset.task), "command": _command(cell, study)}
    )


def manifest_fingerprint(manifest: Manifest, task: Task) -> str:
    """The fingerprint that a manifest of this content must have."""
    return _fingerprint(manifest.model_dump(exclude={"schema_version", "fingerprint", "command"}), task)


def _fingerprint(content: dict[str, Any], task: Task) -> str:
    return digest({**content, "task_definition": task.model_dump(mode="json")})


def folder_name(manifest: Manifest) -> Path:
    """`task/split/method-seed-fingerprint`, safe on any file system."""
    method = manifest.method
    words = [method.retriever.spec, f"k{method.k}", method.reasoner.spec, method.generator.spec, f"s{manifest.seed}"]
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(words))[:120].strip("-")
    return Path(manifest.task) / manifest.split / f"{slug}-{manifest.fingerprint[:8]}"


def _command(cell: Cell, study: Study) -> str:
    words = ["prlm-bench", "run", "--task", cell.task]
    if study.data is not None:
        words += ["--data", study.data.name or "."]
    words += ["--split", study.split, "--retriever", str(cell.retriever), "-k", str(cell.k)]
    words += ["--reasoner", str(cell.reasoner), "--generator", str(cell.generator), "--seed", str(cell.seed)]
    for reward in study.rewards:
        words += ["--reward", str(reward)]
    if study.limit is not None:
        words += ["--limit", str(study.limit)]
    if study.view != "lamp":
        words += ["--view", study.view]
    words += ["--dates"] * study.dates + ["--skip-invalid"] * study.skip_invalid
    if study.synth_users is not None:
        words += ["--synth-users", str(study.synth_users)]
    return shlex.join([*words, "--no-controls"])
