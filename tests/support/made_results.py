"""Result folders with chosen content, written without a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from prlm_bench._util.files import pretty, write_whole
from prlm_bench.host import PluginHost
from prlm_bench.identity import json_digest
from prlm_bench.results import (
    MANIFEST,
    SAMPLES,
    SUMMARY,
    ComponentIdentity,
    DataIdentity,
    Manifest,
    MethodIdentity,
    SampleRecord,
)
from prlm_bench.results._summarize import summarize


def sample(identifier: str, user: str, answer: str, gold: str | None, **fields: Any) -> dict[str, Any]:
    """A sample record, all but its metrics."""
    texts = {"query": f"query of {identifier}", "prompt": "prompt", "completion": answer, "answer": answer}
    counts = {"prompt_tokens": 3, "shown": 0, "cut": 0, "dropped": 0}
    unknown = {"finish": None, "completion_tokens": None, "reasoning": None}
    lists: dict[str, Any] = {"items": [], "retrieval": {}, "rewards": {}, "metrics": {}}
    return {"id": identifier, "user": user, "gold": gold, "parsed": "given"} | texts | counts | unknown | lists | fields


@lru_cache
def _host() -> PluginHost:
    return PluginHost()


def write_result(
    root: Path,
    samples: Sequence[Mapping[str, Any]],
    *,
    task: str = "lamp_4",
    split: str = "dev",
    retriever: str = "bm25",
    k: int = 4,
    generator: str = "copy",
    seed: int = 0,
    control: bool = False,
    metrics: Sequence[str] = ("rouge1@lamp",),
    n_total: int | None = None,
    dist: str = "test",
    **changes: Any,
) -> Path:
    """Write a finished folder below `root`; the figures are those of the samples, components are those of `dist`."""
    host = _host()
    definition = host.tasks.get(task) if task in host.tasks.names else host.tasks.get("lamp_4")
    parts = {"retriever": retriever, "reasoner": "direct", "generator": generator}
    identities = {
        name: ComponentIdentity(spec=spec, plugin=f"{dist}/{spec}", version="1", source="0", fingerprint="")
        for name, spec in parts.items()
    }
    data = DataIdentity(
        sha256={f"{split}_questions.json": json_digest([record["id"] for record in samples])},
        n_total=n_total or len(samples),
        n_invalid=0,
        n=len(samples),
        n_users=len({record["user"] for record in samples}),
        view="lamp",
        dates=False,
    )
    content: dict[str, Any] = {"task": task, "benchmark": definition.benchmark, "split": split}
    content |= {"data": data.model_dump(), "method": MethodIdentity(**identities, k=k).model_dump()}
    scored = [ComponentIdentity(spec=m, plugin="", version="", source="", fingerprint="").model_dump() for m in metrics]
    content |= {"core": "", "rewards": [], "metrics": scored, "seed": seed, "control": control, "versions": {}}
    content |= {"command": "prlm-bench run"} | changes
    fingerprint = json_digest([content, list(samples)])
    manifest = Manifest.model_validate({"fingerprint": fingerprint, **content})
    folder = root / fingerprint[:16]
    summarized = summarize(samples, definition.labels, host.metrics(metrics))
    rows = [{**record, "metrics": single} for record, single in zip(samples, summarized.samples, strict=True)]
    lines = b"".join(
        orjson.dumps(SampleRecord.model_validate(row).model_dump(exclude={"task", "split", "row"})) + b"\n"
        for row in rows
    )
    write_whole(folder / MANIFEST, pretty(manifest.model_dump()))
    write_whole(folder / SAMPLES, lines)
    summary = summarized.summary(manifest, hashlib.sha256(lines).hexdigest())
    write_whole(folder / SUMMARY, pretty(summary.model_dump()))
    return folder
