"""What a plugin's own commands may use, so that they look and behave like the others."""

from .._util.cache_folder import cache_root
from .._util.files import pretty, replacing, write_whole
from ._data_options import (
    DataOption,
    DatesOption,
    LimitOption,
    OutputOption,
    RetrieverOption,
    SeedOption,
    SkipOption,
    SplitOption,
    TaskOption,
    ViewOption,
)
from ._host import JsonOption, PluginOption, host_for
from ._output import print_json, print_or_write, print_table
from ._progress import make_progress
from ._run import DEFAULT_RESULTS, ResultsOption

__all__ = [
    "DEFAULT_RESULTS",
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
    "TaskOption",
    "ViewOption",
    "cache_root",
    "host_for",
    "make_progress",
    "pretty",
    "print_json",
    "print_or_write",
    "print_table",
    "replacing",
    "write_whole",
]
