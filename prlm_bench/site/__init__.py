"""The leaderboard as a static site: self-contained pages that open without a server."""

from ._build import write_site
from ._pictures import Picture, find_pictures

__all__ = ["Picture", "find_pictures", "write_site"]
