"""Data: LaMP's files read into a deduplicated store, checked, downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ._dataset import Dataset as Dataset
    from ._dataset import open_dataset as open_dataset
    from ._download import DEFAULT_URL as DEFAULT_URL
    from ._download import Fetched as Fetched
    from ._download import download as download
    from .lamp._layout import SplitFiles as SplitFiles
    from .lamp._layout import data_root as data_root
    from .lamp._layout import split_files as split_files
    from .lamp._layout import splits_in as splits_in
    from .lamp._problems import Problem as Problem
    from .lamp._validate import Report as Report
    from .lamp._validate import validate as validate
    from .store._hashes import hash_file as hash_file
    from .store._json import ListReader as ListReader
    from .store._json import StructureError as StructureError

__getattr__, __dir__, __all__ = lazy_names(__name__)
