"""Rows as runs of an experiment tracker: what a row is in the run's config, its figures in what is logged.

A row is the same run however often it is sent, since its fingerprint is the run's id. Figures are sent, never samples.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

#: What a row is; the other members of a mapping are figures.
_CONFIG = ("task", "split", "retriever", "k", "reasoner", "generator", "seed", "control", "fingerprint")
_OF_METRIC = ("metric", "value", "low", "high", "no_interval")
_PROJECT = "prlm-bench"


@dataclass(frozen=True)
class TrackedRow:
    """A row as a run."""

    config: dict[str, Any]
    #: Metrics with the ends of their intervals (`rouge1@lamp`, `rouge1@lamp/low`), shares, counts and seconds.
    figures: dict[str, float]

    @property
    def id(self) -> str:
        """The same for the same row, and for no other."""
        return str(self.config["fingerprint"])[:16]

    @property
    def name(self) -> str:
        """The method in one line, with its seed."""
        method = [str(self.config[part]) for part in ("retriever", "reasoner", "generator")]
        return " ".join([*method, *(f"{part}={self.config[part]}" for part in ("k", "seed"))])

    @property
    def group(self) -> str:
        """Rows that answered the questions of one split."""
        return f"{self.config['task']} {self.config['split']}"


def tracked(rows: Sequence[Mapping[str, Any]]) -> Iterator[TrackedRow]:
    """The rows, of mappings that have one metric each.

    Args:
        rows: as `Logger.log` gets them.
    """
    found: dict[str, TrackedRow] = {}
    for row in rows:
        config = {name: row[name] for name in _CONFIG}
        mine = found.setdefault(row["fingerprint"], TrackedRow(config, {}))
        given = {name: value for name, value in row.items() if name not in (*_CONFIG, *_OF_METRIC)}
        given |= {row["metric"]: row["value"], f"{row['metric']}/low": row["low"], f"{row['metric']}/high": row["high"]}
        mine.figures.update({name: value for name, value in given.items() if value is not None})
    yield from found.values()


class Wandb:
    """Weights & Biases: a run for each row, grouped by task and split."""

    def __init__(
        self,
        project: str = _PROJECT,
        entity: str = "",
        mode: Literal["", "online", "offline", "disabled"] = "",
        dir: str = "",
    ) -> None:
        """Set where rows go.

        Args:
            project: the project.
            entity: the user or team; by default that of the login.
            mode: `offline` writes files for `wandb sync`; by default `WANDB_MODE` decides.
            dir: the folder of these files; by default `WANDB_DIR` or `./wandb`.
        """
        self._given: dict[str, Any] = {
            "project": project,
            "entity": entity or None,
            "mode": mode or None,
            "dir": dir or None,
        }

    def log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the rows."""
        import wandb

        # What the tracker would say of this machine, of the program and of its repository is nobody's concern.
        settings = wandb.Settings(
            silent=True,
            host="-",
            console="off",
            save_code=False,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        for row in tracked(rows):
            with redirect_stdout(sys.stderr):
                run = wandb.init(
                    **self._given,
                    id=row.id,
                    name=row.name,
                    group=row.group,
                    config=row.config,
                    resume="allow",
                    settings=settings,
                )
                run.log(row.figures)
                run.finish()


class Trackio:
    """trackio: a run for each row in the local database, which `trackio show` shows."""

    def __init__(self, project: str = _PROJECT, space: str = "") -> None:
        """Set where rows go.

        Args:
            project: the project.
            space: a Hugging Face Space to send them to as well; by default they stay on this machine.
        """
        self._project, self._space = project, space or None

    def log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows."""
        trackio: Any = import_module("trackio")  # it has no types
        for row in tracked(rows):
            with redirect_stdout(io.StringIO()):  # it has four lines to say for each row
                trackio.init(
                    project=self._project,
                    name=f"{row.group} {row.name} {row.id}",
                    group=row.group,
                    space_id=self._space,
                    config=row.config,
                    resume="allow",
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
                trackio.log(row.figures)
                trackio.finish()
