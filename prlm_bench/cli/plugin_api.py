"""Helpers for commands of plugins, so that they look and behave like the built-in ones."""

from .._util.cache_folder import cache_root
from .._util.files import pretty, replacing, write_whole
from .._util.progress_bars import make_progress
from ._output import note, print_json, print_or_write, print_table, say
from .options import (
    DEFAULT_RESULTS,
    AnyTaskOption,
    DataOption,
    DatesOption,
    JsonOption,
    LimitOption,
    OutputOption,
    PluginOption,
    ResultsOption,
    RetrieverOption,
    SeedOption,
    SkipOption,
    SplitOption,
    SplitOptions,
    TaskOption,
    ViewOption,
    host_for,
    takes,
)

__all__ = [
    "DEFAULT_RESULTS",
    "AnyTaskOption",
    "DataOption",
    "DatesOption",
    "JsonOption",
    "LimitOption",
    "OutputOption",
    "PluginOption",
    "ResultsOption",
    "RetrieverOption",
    "SeedOption",
    "SkipOption",
    "SplitOption",
    "SplitOptions",
    "TaskOption",
    "ViewOption",
    "cache_root",
    "host_for",
    "make_progress",
    "note",
    "pretty",
    "print_json",
    "print_or_write",
    "print_table",
    "replacing",
    "say",
    "takes",
    "write_whole",
]
