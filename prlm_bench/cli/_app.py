"""Gathers the commands and turns errors into one line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from .. import __version__
from ..errors import PrlmBenchError
from ._host import host_for

app = typer.Typer(
    name="prlm-bench",
    help="A bench for personalized language models: any retriever, reasoner, generator and reward on LaMP.",
    epilog="Plugins may add commands: `prlm-bench list commands`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"prlm-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """A bench for personalized language models: any retriever, reasoner, generator and reward on LaMP."""


def _add_commands() -> None:
    if app.registered_commands:  # a second command line in one process
        return
    from . import (
        _cache as cache,
        _compare as compare,
        _data as data,
        _doctor as doctor,
        _human as human,
        _leaderboard as leaderboard,
        _list as listing,
        _new_plugin as new_plugin,
        _plugins as plugins,
        _prompts as prompts,
        _rank as rank,
        _results as results,
        _retrieval as retrieval,
        _run as run,
        _score as score,
        _site as site,
        _submit as submit,
        _train as train,
    )

    app.command("run")(run.run)
    app.command("leaderboard")(leaderboard.leaderboard)
    app.command("compare")(compare.compare)
    app.command("site")(site.site)
    app.command("train")(train.train)
    app.command("score")(score.score)
    app.command("rank")(rank.rank)
    app.command("prompts")(prompts.prompts)
    app.command("list")(listing.list_things)
    app.command("plugins")(plugins.plugins)
    app.command("doctor")(doctor.doctor)
    app.command("new-plugin")(new_plugin.new_plugin)
    app.add_typer(data.app, name="data")
    app.add_typer(cache.app, name="cache")
    app.add_typer(results.app, name="results")
    app.add_typer(submit.app, name="submit")
    app.add_typer(human.app, name="human")
    app.add_typer(retrieval.app, name="retrieval")


def _add_plugin_commands(arguments: list[str]) -> None:
    """Plugins are loaded for their commands only when the command is not one of ours."""
    words = [word for word in arguments if not word.startswith("-")]
    ours = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    if words and words[0] not in ours:
        for name, command in host_for([]).commands.items():
            app.add_typer(command, name=name)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for the user's mistake, 1 for ours, 130 when interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    try:
        _add_commands()
        _add_plugin_commands(words)
        status = app(args=words, standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except PrlmBenchError as error:
        return _say(str(error), 2)
    except TyperException as error:
        return _say(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, Abort):
        return _say("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as error:  # how the command line library ends when nobody reads on
        if isinstance(error.__context__, BrokenPipeError):
            return 0
        raise
    except OSError as error:
        return _say(f"{error.filename or 'system'}: {error.strerror or error}", 2)
    except Exception:
        traceback.print_exc()
        return _say("this is a defect of prlm-bench or of a plugin; please report it with the lines above", 1)


def _say(message: str, status: int) -> int:
    print(f"prlm-bench: {' '.join(message.split())}", file=sys.stderr)
    return status
