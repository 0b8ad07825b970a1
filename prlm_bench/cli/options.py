"""Options shared by commands, as dataclasses whose fields become options of a command (see `takes`).

Plugins import what they may use of them from `prlm_bench.cli.plugin_api`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from ._output import say

if TYPE_CHECKING:
    from ..host import PluginHost
    from ..progress import Progress
    from ..report import TableView
    from ..session import Session
    from ..stats import Interval
    from ..views import Results

TaskOption = Annotated[str, typer.Option("--task", help="Task name or task file.")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder with <split>/<split>_questions.json, or its parent.")
]
SplitOption = Annotated[str, typer.Option("--split", help="Split: train, dev or test.")]
RetrieverOption = Annotated[str, typer.Option("--retriever", help="Retriever, as NAME:option=value.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Random seed.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first questions, up to this number.")
]
ViewOption = Annotated[str, typer.Option("--view", help="Texts that retrieval reads: lamp or prlm.")]
DatesOption = Annotated[bool, typer.Option("--dates", help="Append dates to the texts that retrieval reads.")]
SkipOption = Annotated[bool, typer.Option("--skip-invalid", help="Skip malformed questions.")]
AnyTaskOption = Annotated[
    bool, typer.Option("--any-task", help="Take data of another benchmark than the task's; results say so.")
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Also load a local plugin: path/to/file.py or package.module. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ResultsOption = Annotated[
    Path, typer.Option("--results", envvar="PRLM_BENCH_RESULTS", help="Results folder.", show_default=True)
]
DEFAULT_RESULTS = Path("prlm-results")
IntervalOption = Annotated[
    str,
    typer.Option(
        "--interval", help="Kind of interval: auto, by what a figure is; or percentile or bca, of resampled users."
    ),
]

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Options of commands that read one split."""

    task: TaskOption
    data: DataOption = None
    split: SplitOption = "dev"
    seed: SeedOption = 0
    limit: LimitOption = None
    view: ViewOption = "lamp"
    dates: DatesOption = False
    skip_invalid: SkipOption = False
    any_task: AnyTaskOption = False
    plugin: PluginOption = None

    def open(self, progress: Progress) -> Session:
        """The split, opened."""
        from ..session import Session

        return Session(
            self.task,
            data=self.data,
            split=self.split,
            seed=self.seed,
            limit=self.limit,
            view=self.view,
            dates=self.dates,
            skip_invalid=self.skip_invalid,
            any_task=self.any_task,
            progress=progress,
            host=host_for(self.plugin),
        )


@dataclass(frozen=True, kw_only=True)
class ResultsOptions:
    """Options of commands that read stored rows."""

    results: ResultsOption = DEFAULT_RESULTS
    task: Annotated[list[str] | None, typer.Option("--task", help="Only these tasks. Repeatable.")] = None
    split: Annotated[str | None, typer.Option("--split", help="Only this split.")] = None
    plugin: PluginOption = None

    def load(self) -> Results:
        """The rows that the options select.

        Raises:
            DataError: the folder does not exist or contains a damaged file.
        """
        from ..api import load_results

        return load_results(self.results, host=host_for(self.plugin)).filter(task=self.task or (), split=self.split)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of commands that print the leaderboard."""

    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", metavar="NAMES", help="Only these columns, such as seed,'parse failures'. Repeatable."
        ),
    ] = None
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", metavar="NAMES", help="Only the columns of these metrics. Repeatable."),
    ] = None
    wide: Annotated[
        bool, typer.Option("--wide", help="All columns, full specs, both ends of intervals, however wide the table.")
    ] = False

    def view(self) -> TableView:
        """What to show of the tables."""
        from ..report import TableView

        return TableView(columns=_words(self.columns), metrics=_words(self.metrics), wide=self.wide)


def _words(given: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for each in given or () for word in each.split(",") if word.strip())


def takes(options: type[Any], name: str = "options") -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command the fields of a dataclass as options; it receives an instance as one of its parameters.

    Args:
        options: a keyword-only dataclass whose fields are annotated like typer parameters.
        name: the parameter.
    """

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @wraps(command)
        def wrapped(**values: Any) -> T:
            own = {field.name: values.pop(field.name) for field in fields(options)}
            return command(**{name: options(**own)}, **values)

        hints = get_type_hints(options, include_extras=True)
        own = [_parameter(field.name, hints[field.name], field.default) for field in fields(options)]
        known = get_type_hints(command, include_extras=True)
        others = [
            _parameter(parameter.name, known[parameter.name], parameter.default)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != name
        ]
        merged = [*own, *others] if name == "options" else [*others, *own]
        merged.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
        wrapped.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in merged}
        del wrapped.__wrapped__
        return wrapped

    return decorate


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    empty = inspect.Parameter.empty
    given = empty if default in (MISSING, empty) else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=annotation)


def host_for(extra: Sequence[str] | None, *, quiet: bool = False) -> PluginHost:
    """Load all plugins; each that fails costs one line on standard error.

    Args:
        extra: the values of `--plugin`.
        quiet: do not print these lines.

    Raises:
        PluginError: a plugin file does not exist.
    """
    from ..errors import PluginError
    from ..host import PluginHost
    from . import COMMANDS

    for name in extra or ():
        if name.endswith(".py") and not Path(name).is_file():
            raise PluginError(f"no such plugin file: {name}")
    key = tuple(extra or ())
    if key not in _hosts:
        host = _hosts[key] = PluginHost(key, reserved=COMMANDS)
        _log.info("%d plugins", len(host.plugins))
        for failure in [] if quiet else host.failures:
            what = f"plugin {failure.origin} was not loaded: {failure.error} at {failure.where}"
            say(f"prlm-bench: warning: {what}", err=True)
    return _hosts[key]


#: The plugins of this command line, loaded once for each set of `--plugin` values.
_hosts: dict[tuple[str, ...], PluginHost] = {}


def forget_hosts() -> None:
    """Reload plugins when they are needed next."""
    _hosts.clear()


def checked_interval(name: str) -> Interval:
    """The interval type of this name.

    Raises:
        UnknownNameError: no interval type has this name.
    """
    from ..errors import UnknownNameError
    from ..stats import INTERVALS

    for kind in INTERVALS:
        if kind == name:
            return kind
    raise UnknownNameError("interval", name, INTERVALS)
