"""The command line: one short file a command, no logic."""

from ._app import main

__all__ = ["main"]
