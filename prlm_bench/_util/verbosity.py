"""How much this process says besides its output: set by `--quiet`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Verbosity:
    """What a command line asks for."""

    #: No progress, and no notes.
    quiet: bool = False


verbosity = Verbosity()
