"""`prlm-bench`, and `python -m prlm_bench`."""

import sys

from ._util.interrupts import interrupts


def main() -> None:
    """Run the command line as the whole of this process; a Ctrl-C at any moment ends it with status 130 and a line."""
    interrupts.install()
    try:
        _end(_status())
    except KeyboardInterrupt:
        _end(interrupts.say())


def _status() -> int:
    from .cli import main as command_line

    try:
        command_line()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    return 0


def _end(status: int) -> None:
    """Do what Python does at its end, but for its last steps: these give up Ctrl-C, which then kills the process."""
    if sys.getprofile() or sys.gettrace():  # a profiler or a debugger goes on
        sys.exit(status)

    import atexit
    import os
    import threading
    from contextlib import suppress

    interrupts.ending()
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    with suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
