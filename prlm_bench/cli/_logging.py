"""`--quiet`, `-v`, `--debug` and `--log-file`, which stand before or after any command: what is said, and where."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from .._util.text import shown
from .._util.verbosity import verbosity
from ..errors import PrlmBenchError

#: Loggers whose messages of all levels are kept; others are asked for warnings alone.
_OWN = ("prlm_bench", "prlm_bench_plugins")
_FLAGS = {"--debug": "debug", "--quiet": "quiet", "-q": "quiet", "-v": "verbose"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogOptions:
    """What these options say."""

    #: Whether tracebacks are shown on standard error.
    debug: bool = False
    #: Whether progress and notes are left out.
    quiet: bool = False
    #: Whether more is said on standard error.
    verbose: bool = False
    #: The file that tracebacks and warnings are appended to.
    file: Path | None = None


class PrintableFormatter(logging.Formatter):
    """Messages without orders to the terminal, and without logins."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a message."""
        return shown(super().format(record))


def take_log_options(words: list[str]) -> tuple[list[str], LogOptions]:
    """The words of a command line without these options, and what they say.

    Raises:
        PrlmBenchError: `--log-file` has no value.
    """
    rest: list[str] = []
    given: set[str] = set()
    file, left = None, iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in _FLAGS:
            given.add(_FLAGS[word])
        elif word == "--log-file" or word.startswith("--log-file="):
            file = word.partition("=")[2] or next(left, "")
            if not file or file.startswith("-"):
                raise PrlmBenchError("--log-file needs a file", "write --log-file FILE")
        else:
            rest.append(word)
    return rest, LogOptions(**dict.fromkeys(given, True), file=None if file is None else Path(file))


@contextmanager
def logged(options: LogOptions, words: list[str]) -> Iterator[None]:
    """Log as the options say while the command line runs.

    Args:
        options: of the command line.
        words: the command line, for the first line of the file.

    Raises:
        OSError: the file cannot be written.
    """
    handlers = list(_handlers(options))
    loggers = [logging.getLogger(name) for name in _OWN]
    levels = [logger.level for logger in loggers]
    try:
        verbosity.quiet = options.quiet
        for handler in handlers:
            logging.root.addHandler(handler)
        for logger in loggers if handlers else ():
            logger.setLevel(logging.DEBUG)
        if options.file is not None:
            _log.debug("prlm-bench %s: %s", __version__, shlex.join(["prlm-bench", *words]))
        yield
    finally:
        verbosity.quiet = False
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for handler in handlers:
            logging.root.removeHandler(handler)
            handler.close()


def _handlers(options: LogOptions) -> Iterator[logging.Handler]:
    if not (options.debug or options.file or options.verbose):
        return
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(PrintableFormatter())
    screen.setLevel(logging.DEBUG if options.debug else logging.INFO if options.verbose else logging.WARNING)
    yield screen
    if options.file is not None:
        kept = logging.FileHandler(options.file, encoding="utf-8", errors="backslashreplace")
        kept.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        yield kept
