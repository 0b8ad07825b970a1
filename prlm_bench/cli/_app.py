"""Collects the commands, and turns errors into one line and an exit status."""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from .. import __version__
from .._util.interrupts import interrupts
from ..errors import PrlmBenchError
from ..host import PluginFault, WrongResultError, fault_of
from ..threads import set_thread_defaults
from . import COMMANDS
from ._habits import with_habit
from ._help import CONTEXT, asked_words, with_help
from ._logging import PrintableFormatter, logged, take_log_options
from ._output import say
from ._run import with_profile_value
from .options import forget_hosts, host_for

_log = logging.getLogger(__name__)

app = typer.Typer(
    name="prlm-bench",
    help="A benchmark for personalized language models: any retriever, reasoner, generator and reward on LaMP.",
    epilog="Plugins may add commands: `prlm-bench list commands`.",
    no_args_is_help=True,
    context_settings=CONTEXT,
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No progress and no notes, only output and errors. Also after the command."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", help="Also say what is done meanwhile. Also after the command.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Also after the command.")
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", help="Append warnings and tracebacks to this file. Also after the command."),
    ] = None,
) -> None:
    """A benchmark for personalized language models: any retriever, reasoner, generator and reward on LaMP."""


def _add_commands() -> None:
    if app.registered_commands:  # not the first command line in this process
        return
    for name, place in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(import_module(f".{module}", __package__), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)


def application() -> typer.Typer:
    """The command line with all commands of its own; `main` adds those of plugins."""
    _add_commands()
    return app


def _add_plugin_commands(words: list[str]) -> None:
    """Add the commands of plugins, `--plugin` files included, unless the command is built in."""
    asked = asked_words()
    first = next((word for word in _without_plugin_values(asked or words) if not word.startswith("-")), None)
    if first in COMMANDS or (first is None and asked is None):
        return
    host = host_for(_plugin_values(words))
    for name in [first] if first in host.commands else host.commands:
        if name not in {group.name for group in app.registered_groups}:
            app.add_typer(host.command(name), name=name)


def _plugin_values(words: list[str]) -> list[str]:
    """The values of `--plugin`, anywhere in the command line."""
    values = [after for word, after in pairwise(words) if word == "--plugin"]
    return values + [word.partition("=")[2] for word in words if word.startswith("--plugin=")]


def _without_plugin_values(words: list[str]) -> list[str]:
    return [word for before, word in zip(["", *words], words, strict=False) if "--plugin" not in (before, word)]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for an input error, 1 for a bug or a failure, 130 when interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    try:
        rest, options = take_log_options(words)
        with logged(options, words):
            return _run_command(rest)
    except PrlmBenchError as error:
        return _print_error(str(error), 2)
    except KeyboardInterrupt:
        return interrupts.say()
    except OSError as error:
        return _print_error(_system_error(error), 2)


def _run_command(words: list[str]) -> int:
    forget_hosts()  # plugins may have changed since an earlier command line in this process
    interrupts.said = False
    if logging.lastResort is not None:  # it writes what no handler takes to standard error
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        set_thread_defaults()
        _add_commands()
        _add_plugin_commands(words)
        command = with_help(typer.main.get_command(app))
        status = command(args=with_profile_value(_leading_plugins_removed(words)), standalone_mode=False)
        sys.stdout.flush()
        # typer makes this status of Ctrl-C, without a word.
        return interrupts.say() if status == interrupts.STATUS else int(status or 0)
    except (PluginFault, WrongResultError) as error:
        return _print_fault(error)
    except PrlmBenchError as error:
        return _print_error(str(error), 2)
    except TyperException as error:
        if (shown_help := _bare(error)) is not None:
            typer.echo(shown_help)
            return 0
        return _print_error(with_habit(error.format_message(), words), error.exit_code)
    except (KeyboardInterrupt, Abort):
        return interrupts.say()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as error:  # typer raises it when standard output is closed early
        if isinstance(error.__context__, BrokenPipeError):
            return 0
        raise
    except OSError as error:
        origin = fault_of(error).origin
        if origin is not None and origin.dist != "prlm-bench":
            return _print_fault(error)
        return _print_error(_system_error(error), 2)
    except Exception as error:
        if fault_of(error).origin is not None:
            return _print_fault(error)
        if not interrupts.pressed:
            traceback.print_exc()
        return _print_error("this is a bug in prlm-bench or in a plugin; please report it with the traceback above", 1)


def _bare(error: TyperException) -> str | None:
    """The help of a group of commands that was called without one; None for another error."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return error.format_message()
    context = getattr(error, "ctx", None)
    return context.get_help() if error.message == "Missing command." and context is not None else None


def _print_fault(error: Exception) -> int:
    """Print an error inside a plugin as one line that names plugin, file and line."""
    fault = fault_of(error)
    message = error.message if isinstance(error, PluginFault) else f"plugin {fault.origin or 'unknown'}: {fault}"
    return _print_error(f"{message} (--debug shows the traceback)", 1)


def _system_error(error: OSError) -> str:
    """An error of the system with what it is about; files of our own are named by it."""
    what = error.filename
    if not what and error.errno == errno.ENOSPC and hasattr(os, "fstatvfs"):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(1).st_mode) or os.fstatvfs(1).f_bavail == 0:
                what = "standard output"
    return f"{what or 'system'}: {error.strerror or error}"


def _leading_plugins_removed(words: list[str]) -> list[str]:
    """Drop `--plugin FILE` before the command, which was read already; after a command it is that command's option."""
    rest = list(words)
    while rest[:1] and (rest[0] == "--plugin" or rest[0].startswith("--plugin=")):
        rest = rest[2 if rest[0] == "--plugin" else 1 :]
    return rest


def _print_error(message: str, status: int) -> int:
    if interrupts.pressed:  # some libraries turn the interrupt into an error of their own
        return interrupts.say()
    if sys.exc_info()[0] is not None:
        _log.debug(message, exc_info=True)
    say(f"prlm-bench: {' '.join(message.split())}", err=True)
    return status
