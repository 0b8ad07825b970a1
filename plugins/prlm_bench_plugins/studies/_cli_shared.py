"""What the commands of studies share: options, and how a study is run and its report shown."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlm_bench.cli.plugin_api import make_progress, print_json, print_table, say

if TYPE_CHECKING:
    from prlm_bench.host import PluginHost

    from ._report import StudyReport

UsersOption = Annotated[int | None, typer.Option("--synth-users", min=2, help="Users per split of generated tasks.")]
ChangeOption = Annotated[
    list[str] | None, typer.Option(help="Change a setting of the recipe, as SETTING=VALUE. Repeatable.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the table and the figure to this folder.")
]


def run_study(
    module: str,
    name: str,
    host: PluginHost,
    output: Path | None,
    json: bool,
    fields: dict[str, Any],
    options: dict[str, Any] | None = None,
) -> None:
    """Import a study, run it and show its report.

    Args:
        module: of this package; it registers the study.
        name: of the study.
        host: the loaded plugins.
        output, json: as on the command line.
        fields: of the `StudyConfig`, without host and progress.
        options: the study's own.
    """
    from ._base import STUDIES, StudyConfig

    import_module(f".{module}", __package__)
    with make_progress() as progress:
        config = StudyConfig(host=host, progress=progress, **fields)
        report = STUDIES[name](config, **options or {})
    show(report, output, json)


def show(report: StudyReport, output: Path | None, json: bool) -> None:
    """Print a report and write it to a folder; the exit status is 1 if a part of the study failed."""
    if json:
        print_json(report.to_json())
    else:
        for table in (report, *report.more):
            if table.rows:
                print_table(table.title, list(table.columns), table.texts())
        for finding in report.findings:
            say(finding)
    for path in report.write(output) if output else []:
        typer.echo(f"wrote {path}", err=True)
    if report.failed:
        raise typer.Exit(1)
