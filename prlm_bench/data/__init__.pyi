from ._dataset import Dataset as Dataset, open_dataset as open_dataset
from ._download import DEFAULT_URL as DEFAULT_URL, Fetched as Fetched, download as download
from ._open import open_split as open_split, synthetic_folder as synthetic_folder
from .lamp._layout import (
    SplitFiles as SplitFiles,
    data_root as data_root,
    split_files as split_files,
    splits_in as splits_in,
)
from .lamp._predictions import ScoreReader as ScoreReader, ToScore as ToScore
from .lamp._problems import Problem as Problem
from .lamp._split import Half as Half, split_by_user as split_by_user
from .lamp._validate import Report as Report, validate as validate
from .store._hashes import has_hash as has_hash, hash_file as hash_file
from .store._json import ListReader as ListReader
