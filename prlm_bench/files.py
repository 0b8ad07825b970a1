"""Files that are whole or not there, the cache folder, and text that can be stored: for plugins that write files."""

from ._util.cache_folder import cache_root
from ._util.cells import csv_text
from ._util.files import expanded, pretty, replacing, scratch_path, write_whole
from ._util.text import masked, printable, well_formed

__all__ = [
    "cache_root",
    "csv_text",
    "expanded",
    "masked",
    "pretty",
    "printable",
    "replacing",
    "scratch_path",
    "well_formed",
    "write_whole",
]
