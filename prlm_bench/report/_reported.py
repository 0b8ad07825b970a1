"""Published figures, quoted with their source, split, protocol and model."""

from __future__ import annotations

from functools import lru_cache

from pydantic import BaseModel, ConfigDict

from .._util.assets import asset
from .._util.yaml_text import read_yaml


class Reported(BaseModel):
    """Published figures of one method on one task, not measured by this project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    benchmark: str
    #: User split or time split, and which part of it, such as `time/test`.
    split: str
    protocol: str
    model: str
    method: str
    #: As printed; metric names are this project's.
    metrics: dict[str, float]
    note: str = ""


@lru_cache
def all_reported() -> tuple[Reported, ...]:
    """All published rows that ship with the project, in file order."""
    content = read_yaml(asset("results") / "reported.yaml").content
    rows = []
    for source in content:
        head = {key: source[key] for key in ("source", "split", "protocol", "model")} | {"note": source.get("note", "")}
        for benchmark, table in source["tables"].items():
            for method, values in table["rows"].items():
                metrics = dict(zip(table["metrics"], values, strict=True))
                rows.append(Reported(**head, benchmark=benchmark, method=method, metrics=metrics))
    return tuple(rows)


def reported_for(benchmark: str, protocol: str) -> list[Reported]:
    """Published rows of one benchmark under one protocol."""
    return [row for row in all_reported() if row.benchmark == benchmark and row.protocol == protocol]
