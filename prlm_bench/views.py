"""What the Python API returns: results, samples and comparisons, each shown as a table and convertible to one."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .host import PluginHost
from .report import Comparison, SeedAggregation, Table, TableView, build_tables, render, render_comparisons
from .report.findings import Finding, find
from .results import SampleRecord, Stored, Unfinished, describe, read_samples, select_group
from .running import Outcome
from .stats import Interval

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["Comparisons", "Results", "SampleTable"]


@dataclass(frozen=True)
class Results:
    """Rows of stored results: the leaderboard, and the way to what lies behind it."""

    folder: Path
    rows: list[Stored]
    unfinished: list[Unfinished]
    host: PluginHost
    #: What the run did that returned these rows; None where they were only read.
    outcome: Outcome | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Stored]:
        return iter(self.rows)

    def filter(
        self,
        *,
        task: str | Sequence[str] = (),
        split: str | None = None,
        retriever: str | None = None,
        reasoner: str | None = None,
        generator: str | None = None,
        seed: int | None = None,
    ) -> Results:
        """The rows that match everything given.

        Args:
            task: task names, in upper or lower case.
            split: the split.
            retriever, reasoner, generator: a component's name, or its whole spec.
            seed: the seed.
        """
        names = {name.casefold() for name in ([task] if isinstance(task, str) else task)}
        parts = {"retriever": retriever, "reasoner": reasoner, "generator": generator}

        def fits(result: Stored | Unfinished) -> bool:
            manifest = result.manifest
            specs = {kind: getattr(manifest.method, kind).spec for kind in parts}
            return (
                (not names or manifest.task.casefold() in names)
                and split in (None, manifest.split)
                and seed in (None, manifest.seed)
                and all(word in (None, specs[kind], specs[kind].partition(":")[0]) for kind, word in parts.items())
            )

        return replace(self, rows=[r for r in self.rows if fits(r)], unfinished=[r for r in self.unfinished if fits(r)])

    def tables(self, *, protocol: str | None = None, interval: Interval = "auto", by_seed: bool = False) -> list[Table]:
        """The leaderboard: one table for each task, split, set of questions and metric protocol.

        Args:
            protocol: only `lamp` or `prlm`.
            interval: the kind of the intervals.
            by_seed: a row for each seed instead of one for all.
        """
        tables = build_tables(self.rows, self.host.tasks, SeedAggregation(self.host, interval, by_seed))
        return [table for table in tables if protocol in (None, table.protocol)]

    def findings(self) -> list[Finding]:
        """Checks of the rows for signatures of failure, such as rows that a control reaches."""
        return find([row for row in self.rows if row.has_samples], self.host.registry)

    def samples(self, words: str) -> SampleTable:
        """The samples of one method, all of its seeds.

        Args:
            words: a folder, the start of a fingerprint, or parts such as `bm25+tiny`.

        Raises:
            UnknownNameError: no row matches.
            DataError: several methods match, or the samples are not there.
        """
        return SampleTable(select_group(self.rows, words))

    def render(self, form: str = "terminal", view: TableView | None = None) -> str:
        """The leaderboard as text.

        Args:
            form: `terminal`, `markdown`, `csv`, `json`, `latex` or `html`.
            view: which columns a terminal shows.
        """
        return render(self.tables(), form, view)

    def to_arrow(self) -> pyarrow.Table:
        """One row for each stored row and metric, with its interval."""
        import pyarrow

        return pyarrow.Table.from_pylist(self.to_dicts())

    def to_pandas(self) -> pandas.DataFrame:
        """`to_arrow` as a data frame; needs pandas."""
        return self.to_arrow().to_pandas()

    def to_dicts(self) -> list[dict[str, Any]]:
        """One mapping for each stored row and metric, with its interval."""
        found = []
        for row in self.rows:
            manifest, summary, timing = row.manifest, row.summary, row.timing
            method = manifest.method
            parts = {kind: getattr(method, kind).spec for kind in ("retriever", "reasoner", "generator")}
            head = {"task": manifest.task, "split": manifest.split, **parts, "k": method.k, "seed": manifest.seed}
            size = {"control": manifest.control, "n": summary.n, "n_total": summary.n_total, "users": summary.n_users}
            shares = {
                "parse_failures": summary.parse_failures.value,
                "truncated_prompts": summary.truncated_prompts.value,
                "truncated_completions": summary.truncated_completions,
                "prompt_tokens": summary.prompt_tokens,
                "completion_tokens": summary.completion_tokens,
                "seconds": timing and timing.seconds,
                "timed_answers": timing and timing.answers,
                "fingerprint": manifest.fingerprint,
            }
            for name, metric in summary.metrics.items():
                figures = {"metric": name, "value": metric.value, "low": metric.low, "high": metric.high}
                figures["no_interval"] = metric.why
                found.append({**head, **size, **figures, **shares})
        return found

    def __repr__(self) -> str:
        return self.render() if self.rows else "No finished results.\n"

    def _repr_html_(self) -> str:
        return render(self.tables(), "html") if self.rows else "<p>No finished results.</p>"


@dataclass(frozen=True)
class SampleTable:
    """The samples of one method, as records, or as a table with a row for each."""

    stored: Sequence[Stored]

    def __iter__(self) -> Iterator[SampleRecord]:
        for result in self.stored:
            yield from read_samples(result.folder)

    def __len__(self) -> int:
        return sum(result.summary.n for result in self.stored)

    def to_arrow(self) -> pyarrow.Table:
        """A row for each sample, with its seed; metrics and rewards have a column each."""
        import pyarrow

        rows = []
        for result in self.stored:
            for sample in read_samples(result.folder):
                flat = sample.model_dump(exclude={"metrics", "rewards", "retrieval", "items"})
                flat["items"] = [item.id for item in sample.items]
                rows.append({"seed": result.manifest.seed, **flat, **sample.metrics, **sample.rewards})
        return pyarrow.Table.from_pylist(rows)

    def to_pandas(self) -> pandas.DataFrame:
        """`to_arrow` as a data frame; needs pandas."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        return f"{len(self)} samples of {'; '.join(describe(result) for result in self.stored)}"


@dataclass(frozen=True)
class Comparisons:
    """Paired comparisons with one baseline."""

    rows: list[Comparison]
    correction: str

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_arrow(self) -> pyarrow.Table:
        """A row for each comparison."""
        import pyarrow

        return pyarrow.Table.from_pylist([row.to_dict() for row in self.rows])

    def to_pandas(self) -> pandas.DataFrame:
        """`to_arrow` as a data frame; needs pandas."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        return render_comparisons(self.rows, self.correction)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"
