"""Files that are whole or not there, and the cache folder: what plugins that keep something on disk need."""

from ._util.cache_folder import cache_root
from ._util.files import pretty, replacing, write_whole

__all__ = ["cache_root", "pretty", "replacing", "write_whole"]
