"""`prlm-bench data`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._util.progress_bars import make_progress
from ..progress import ByteProgress
from ._output import print_json, print_table, say
from .options import AnyTaskOption, DataOption, JsonOption, PluginOption, SkipOption, SplitOption, TaskOption, host_for

if TYPE_CHECKING:
    from ..progress import Progress
    from ..tasks import Task

app = typer.Typer(
    help="Import, inspect, validate, split, download and generate data.", no_args_is_help=True, rich_markup_mode=None
)
DestinationOption = Annotated[Path, typer.Option("--output", "-o", help="Data root to write to.")]


def _open(task: Task, split: str, data: Path | None, skip_invalid: bool, any_task: bool) -> Any:
    from ..data import open_split

    with make_progress() as progress:
        return open_split(task, split, data, skip_invalid=skip_invalid, any_task=any_task, progress=progress)


@app.command("import")
def import_split(
    task: TaskOption,
    data: DataOption = None,
    split: SplitOption = "dev",
    skip_invalid: SkipOption = False,
    any_task: AnyTaskOption = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Read a split into the cache. Commands that need it do so automatically."""
    _show(_open(host_for(plugin).tasks.get(task), split, data, skip_invalid, any_task).info(), json)


@app.command("info")
def info(
    task: TaskOption,
    data: DataOption = None,
    split: SplitOption = "dev",
    skip_invalid: SkipOption = False,
    any_task: AnyTaskOption = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Show the contents of a split: questions, users, profile sizes, dates, hashes."""
    _show(_open(host_for(plugin).tasks.get(task), split, data, skip_invalid, any_task).info(), json)


def _show(found: dict[str, Any], json: bool) -> None:
    if json:
        print_json(found)
        return
    rows = []
    for name, value in found.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        rows.append([name.replace("_", " "), text])
    print_table("", ["", ""], rows)


@app.command("validate")
def validate(
    task: TaskOption,
    data: DataOption = None,
    split: SplitOption = "dev",
    max_problems: Annotated[int, typer.Option("--most", min=1, help="Maximum number of problems to print.")] = 50,
    any_task: AnyTaskOption = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Check a whole split and list all problems. Exit status 2 if there are errors."""
    from ..data import data_root, validate as check
    from ..errors import DataError

    found = host_for(plugin).tasks.get(task)
    report = check(found, data_root(found, data), split, any_task=any_task)
    if json:
        print_json(report.to_dict())
    else:
        for problem in report.problems[:max_problems]:
            say(f"{problem.severity}: {problem.file}: {problem}")
        if len(report.problems) > max_problems:
            print(f"... and {len(report.problems) - max_problems} more; raise --most to see them")
        print(
            f"{report.n_questions} questions, {report.n_invalid} malformed, "
            f"{len(report.errors)} errors, {len(report.warnings)} warnings"
        )
    if not report.ok:
        errors = len(report.errors)
        hints = ["--skip-invalid skips malformed questions"] * (not report.fatal and errors > report.other_task)
        hints += ["--any-task takes data of another benchmark"] * report.other_task
        count = f"{errors} error{'s' * (errors != 1)} in the data"
        raise DataError(f"{found.name} {split}: {count}", "; ".join(hints))


@app.command("split")
def split_users(
    task: TaskOption,
    output: DestinationOption,
    data: DataOption = None,
    split: SplitOption = "dev",
    any_task: AnyTaskOption = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Write a split as `train` and `test`, halves by the SHA-256 of user ids, with all of a user's questions in one.

    For data with a single split that has golds: the same files give the same halves anywhere.
    """
    from ..data import split_by_user

    halves = split_by_user(_open(host_for(plugin).tasks.get(task), split, data, False, any_task), output)
    if json:
        print_json([{**asdict(half), "questions_file": str(half.questions_file)} for half in halves])
        return
    rows = [[half.split, str(half.questions), str(half.users), str(half.questions_file)] for half in halves]
    print_table("", ["split", "questions", "users", "file"], rows)


@app.command("download")
def download(
    task: Annotated[list[str], typer.Option("--task", help="Task name. Repeatable.")],
    output: DestinationOption,
    split: Annotated[list[str] | None, typer.Option("--split", help="Split.  [default: train, dev, test]")] = None,
    base_url: Annotated[str | None, typer.Option(help="URL of another server with the official layout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Download again what exists already.")] = False,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Bytes that a file may have.  [default: 34359738368, 32 GiB]")
    ] = None,
    min_rate: Annotated[
        float, typer.Option(min=0, help="Bytes a second that have to come, over a minute; 0 waits for ever.")
    ] = 1024,
    json: JsonOption = False,
) -> None:
    """Download official LaMP files; interrupted downloads resume. LaMP is licensed under CC BY-NC-SA 4.0."""
    from ..data import DEFAULT_URL, download as fetch
    from ..data._download import MAX_BYTES

    host = host_for(None)
    fetched = []
    with make_progress() as progress:
        for name in task:
            found = host.tasks.get(name)
            splits = split or ["train", "dev", "test"]
            file_progress = _FileProgress(progress)
            url = base_url or DEFAULT_URL
            fetched += fetch(
                found,
                output / found.folder,
                splits,
                base_url=url,
                force=force,
                progress=file_progress,
                max_bytes=max_bytes or MAX_BYTES,
                min_rate=min_rate,
            )
    if json:
        print_json([{"path": str(f.path), "action": f.action, "bytes": f.size, "sha256": f.sha256} for f in fetched])
        return
    rows = [[str(f.path), f.action, str(f.size), f.sha256] for f in fetched]
    print_table("", ["file", "", "bytes", "sha256"], rows)


class _FileProgress:
    """Reports the progress of each file separately."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._files: dict[str, ByteProgress] = {}

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if total is not None:
            self._files.setdefault(name, ByteProgress(self._progress, name))(done, total)


@app.command("synth")
def synth(
    output: DestinationOption,
    task: Annotated[list[int] | None, typer.Option("--task", min=1, max=7, help="Task number; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed; equal arguments give equal bytes.")] = 0,
    train_users: Annotated[int, typer.Option(min=1, help="Users in the train split.")] = 60,
    dev_users: Annotated[int, typer.Option(min=1, help="Users in the dev split.")] = 40,
    test_users: Annotated[int, typer.Option(min=1, help="Users in the test split.")] = 40,
    questions: Annotated[int, typer.Option(min=1, help="Questions per user.")] = 3,
    profile_size: Annotated[int, typer.Option(min=3, help="Items in a user's first profile; later ones grow.")] = 12,
    noise: Annotated[
        float, typer.Option(min=0, max=1, help="Share of an item's traits that are drawn at random.")
    ] = 0.1,
    strength: Annotated[
        float, typer.Option(help="Probability that an item shows the user's aggregated trait; above 0.5, at most 1.")
    ] = 0.75,
    share_users: Annotated[bool, typer.Option("--share-users", help="Let the splits share their users.")] = False,
) -> None:
    """Generate mini-LaMP: seven tasks with planted preferences and known relevant items."""
    from ..data.synth import SynthConfig, write_mini_lamp

    config = SynthConfig(
        seed=seed,
        train_users=train_users,
        dev_users=dev_users,
        test_users=test_users,
        questions_per_user=questions,
        profile_size=profile_size,
        noise=noise,
        strength=strength,
        share_users=share_users,
    )
    for folder in write_mini_lamp(output, task or range(1, 8), config):
        print(folder)
