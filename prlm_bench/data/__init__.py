"""Data: LaMP's files read into a deduplicated store, checked, downloaded.

Names are imported when they are first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._dataset import Dataset, open_dataset
    from ._download import DEFAULT_URL, Fetched, download
    from ._files import SplitFiles, data_root, split_files, splits_in
    from ._hashes import hash_file
    from ._json import StructureError
    from ._open import open_split, synthetic_folder
    from ._problems import Problem
    from ._validate import Report, validate

__all__ = [
    "DEFAULT_URL",
    "Dataset",
    "Fetched",
    "Problem",
    "Report",
    "SplitFiles",
    "StructureError",
    "data_root",
    "download",
    "hash_file",
    "open_dataset",
    "open_split",
    "split_files",
    "splits_in",
    "synthetic_folder",
    "validate",
]

_MODULES = {
    "DEFAULT_URL": "_download",
    "Dataset": "_dataset",
    "Fetched": "_download",
    "Problem": "_problems",
    "Report": "_validate",
    "SplitFiles": "_files",
    "StructureError": "_json",
    "data_root": "_files",
    "download": "_download",
    "hash_file": "_hashes",
    "open_dataset": "_dataset",
    "open_split": "_open",
    "synthetic_folder": "_open",
    "split_files": "_files",
    "splits_in": "_files",
    "validate": "_validate",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
