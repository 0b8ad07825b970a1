"""Runs, results and scores from Python: what `prlm-bench run`, `leaderboard`, `compare` and `score` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ._util.files import pretty, write_whole
from ._util.text import MAX_ANSWER
from .data import ScoreReader
from .errors import PluginError, UnknownNameError
from .host import PluginHost, fault_of
from .host._faults import no_exit
from .interfaces import Engine, Logger
from .profiling import Profile, recording, timed
from .progress import Progress
from .report import CORRECTIONS, choose_results, compare_stored
from .results import Scores, find_results, load_folders, score_answers
from .running import Outcome, RunConfig, execute, prepare_tasks, read_run_config, run_file_plugins
from .session import component_choice, progress_context
from .stats import Interval
from .views import Comparisons, Results

__all__ = ["DEFAULT_RESULTS", "compare", "load_results", "run", "run_config", "score"]

#: Where results are kept unless another folder is named.
DEFAULT_RESULTS = Path("prlm-results")


def run(
    tasks: str | Path | Sequence[str | Path] = (),
    *,
    retrievers: Any = (),
    reasoners: Any = (),
    generators: Any = (),
    methods: Any = (),
    rewards: Any = (),
    k: int | Sequence[int] = (),
    seeds: int | Sequence[int] = (),
    config: str | Path | None = None,
    results: str | Path | None = None,
    jobs: int | None = None,
    engine: str | Engine | None = None,
    loggers: str | Logger | Sequence[str | Logger] = (),
    plugins: Sequence[str | Path] = (),
    host: PluginHost | None = None,
    progress: bool | Progress = False,
    profile: str | Path | None = None,
    **options: Any,
) -> Results:
    """Run a grid of methods and return its rows. Finished questions are not asked again: a repeated call resumes.

    Args:
        tasks: task names or task files.
        retrievers, reasoners, generators, rewards: one component or several: a spec such as `bm25:k1=1.2`, a mapping
            with `name` and options, a class, or an object with the methods of its kind (see `interfaces`).
        methods: named presets, in addition to the grid.
        k: items to show; several make a grid. 4 by default.
        seeds: one seed or several; 0 by default.
        config: a run file (YAML); the other arguments override it.
        results: the folder of the results; by default that of the run file, or `prlm-results`.
        jobs: worker processes on this machine; by default those of the run file, or 1.
        engine: computes the batches elsewhere: a registered engine by name, or an object; by default `jobs` decides.
        loggers: receive the rows at the end: registered loggers by name, or objects.
        plugins: local plugins to load besides those of the run file: `path/to/file.py` or `package.module`.
        host: loaded plugins, in place of `plugins`.
        progress: True draws progress on standard error; an object receives the updates.
        profile: write to this JSON file where the time went; `Results.outcome.profile` shows it too.
        options: further fields of a run file: `data`, `split`, `limit`, `view`, `dates`, `controls`, `skip_invalid`,
            `any_task`, `strict`, `synth_users`, `name`.

    Returns:
        The rows of this grid, control rows included. Methods that failed are in `Results.outcome`.

    Raises:
        PrlmBenchError: the run cannot be planned as asked.
    """
    path = None if config is None else Path(config)
    host = host or PluginHost([*run_file_plugins(path), *map(str, plugins)])
    given = {"retrievers": retrievers, "reasoners": reasoners, "generators": generators, "rewards": rewards}
    fields: dict[str, Any] = {f"{name}": _choices(host, name.removesuffix("s"), each) for name, each in given.items()}
    fields |= {"tasks": [str(task) for task in _listed(tasks)], "methods": _listed(methods)}
    fields |= {"k": _listed(k), "seeds": _listed(seeds), "jobs": jobs, "results": results, **options}
    plan = read_run_config(path, fields)
    with progress_context(progress) as shown:
        return run_config(
            plan,
            host,
            plan.results or DEFAULT_RESULTS,
            jobs=plan.jobs,
            engine=engine,
            loggers=_listed(loggers),
            progress=shown,
            profile=None if profile is None else Path(profile),
        )


def run_config(
    config: RunConfig,
    host: PluginHost,
    results: Path,
    *,
    jobs: int = 1,
    engine: str | Engine | None = None,
    loggers: Sequence[str | Logger] = (),
    progress: Progress | None = None,
    profile: Path | None = None,
) -> Results:
    """Run a config that has been read already; see `run`."""
    made: Engine | None = _by_name(host, "engine", engine)
    receivers: list[Logger] = [_by_name(host, "logger", logger) for logger in loggers]
    recorded = None if profile is None else Profile()
    with recording(recorded), timed("planning", []):
        tasks = prepare_tasks(config, host, progress)
    try:
        with recording(recorded):
            outcome = execute(
                config, host, results, jobs=jobs, engine=made, tasks=tasks, progress=progress, profile=recorded
            )
    finally:  # of a run that was interrupted too
        if profile is not None and recorded is not None:
            write_whole(profile, pretty(recorded.to_dict()))
    found = Results(results, load_folders([*outcome.finished, *outcome.already]), [], host, outcome)
    for receiver, name in zip(receivers, loggers, strict=True):
        told = host.registry.choose("logger", name).told if isinstance(name, str) else f"logger {type(name).__name__}"
        _log_rows(receiver, told, found, outcome)
    return found


def _log_rows(receiver: Logger, told: str, found: Results, outcome: Outcome) -> None:
    """Give a logger the rows. One that fails loses them; the rows are stored already."""
    try:
        with no_exit():
            receiver.log(found.to_dicts())
    except Exception as error:
        fault = fault_of(error)
        outcome.failed_loggers.append((told, str(fault)))
        outcome.add_faults({f"{told}: {fault}": fault})


def _by_name(host: PluginHost, kind: str, value: Any) -> Any:
    """A registered component that needs no data, by its spec; an object is returned as it is."""
    if not isinstance(value, str):
        return value
    choice = host.registry.choose(kind, value)
    missing = choice.component.missing()
    if missing is not None:
        raise PluginError(f"{kind} {choice} {missing}")
    return choice.make()


def load_results(
    folder: str | Path = DEFAULT_RESULTS, *, plugins: Sequence[str | Path] = (), host: PluginHost | None = None
) -> Results:
    """The rows of a results folder, finished ones and, in `Results.unfinished`, the others.

    Args:
        folder: what a run was given as `results`.
        plugins: local plugins that the rows were made with; their metrics are needed to compare and to pool seeds.
        host: loaded plugins, in place of `plugins`.

    Raises:
        DataError: the folder does not exist, or a file in it is damaged.
    """
    finished, unfinished = find_results(Path(folder))
    return Results(Path(folder), finished, unfinished, host or PluginHost(map(str, plugins)))


def compare(
    results: Results | str | Path,
    methods: str | Sequence[str] = (),
    baseline: str | None = None,
    *,
    metrics: Sequence[str] = (),
    correction: Literal["holm", "bh", "none"] = "holm",
    margin: float | None = None,
    interval: Interval = "auto",
) -> Comparisons:
    """Test whether methods differ: paired on the same questions, users as the unit.

    Args:
        results: rows, or a results folder.
        methods: rows by words: a folder, the start of a fingerprint, or parts such as `bm25+copy`. Without a baseline
            exactly two, the second being the baseline; none compares all rows of the baseline's table.
        baseline: the row that the others are compared with.
        metrics: names; by default those that rank the tables.
        correction: of the p-values over all comparisons.
        margin: test equivalence: differences below it count as none, in the metric's unit.
        interval: the kind of the intervals.

    Raises:
        UnknownNameError: a name matches no row.
        DataError: a name matches several, rows answered different questions, or samples are missing.
    """
    found = results if isinstance(results, Results) else load_results(results)
    if correction not in CORRECTIONS:
        raise UnknownNameError("correction", correction, CORRECTIONS)
    words = [methods] if isinstance(methods, str) else list(methods)
    chosen, base = choose_results(found.rows, words, baseline)
    compared = compare_stored(
        found.host, chosen, base, list(metrics), correction=correction, margin=margin, interval=interval
    )
    return Comparisons(compared, correction)


def score(
    predictions: Mapping[str, Any] | str | Path,
    golds: Mapping[str, Any] | str | Path,
    *,
    task: str | Path,
    users: Mapping[str, Any] | str | Path | None = None,
    metrics: Sequence[str] | None = None,
    any_task: bool = False,
    skip_invalid: bool = False,
    max_answer: int = MAX_ANSWER,
    plugins: Sequence[str | Path] = (),
    host: PluginHost | None = None,
) -> Scores:
    """Score predictions against golds, joined by question id, under both metric protocols.

    As in LaMP's own evaluation, an output may be a number (it is read as its text) and may hold half of a surrogate
    pair (it is read as U+FFFD).

    Args:
        predictions: answers by question id, or a file of them in LaMP's shape.
        golds: references by question id, or a file such as `dev_outputs.json`.
        task: the task whose metrics and labels apply.
        users: the user of each question, or a file such as `dev_questions.json`. A question without a user, and every
            question where this is not given, counts as a user of its own.
        metrics: names; by default those of the task.
        any_task: take files that name another benchmark than the task's.
        skip_invalid: leave golds out that cannot be scored, with their predictions.
        max_answer: characters of a prediction or a gold at most; some metrics take time with the square of it.
        plugins: local plugins to load.
        host: loaded plugins, in place of `plugins`.

    Returns:
        The figures; `notes` says what was left out or taken on insistence, `failures` which metrics have no value.

    Raises:
        DataError: a file is malformed or names another benchmark, ids do not agree, or a text is too long.
    """
    host = host or PluginHost(map(str, plugins))
    found = host.tasks.get(str(task))
    reader = ScoreReader(found, any_task=any_task, skip_invalid=skip_invalid, max_answer=max_answer)
    to_score = reader.read(_source(golds), _source(predictions), None if users is None else _source(users))
    measures = host.metrics(metrics or found.metrics)
    scored = score_answers(to_score.predictions, to_score.golds, to_score.users, found.labels, measures)
    users_found = len(set(to_score.users))
    scored.refuse_golds()
    return Scores(found.name, len(to_score.ids), users_found, scored.summaries, tuple(to_score.notes), scored.failures)


def _source(given: Mapping[str, Any] | str | Path) -> Mapping[str, Any] | Path:
    return given if isinstance(given, Mapping) else Path(given)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str | Path | int | Mapping) or callable(value) or not isinstance(value, Sequence):
        return [value]
    return list(value)


def _choices(host: PluginHost, kind: str, value: Any) -> list[Any]:
    """Components as a run config takes them: specs stay text, so that worker processes can read them."""
    listed = _listed(value)
    return [each if isinstance(each, str | dict) else component_choice(host, kind, each) for each in listed]
