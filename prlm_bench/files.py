"""Files that are whole or not there, the cache folder, and text that can be stored: for plugins that write files."""

from ._util.cache_folder import cache_root
from ._util.files import pretty, replacing, write_whole
from ._util.text import well_formed

__all__ = ["cache_root", "pretty", "replacing", "well_formed", "write_whole"]
