"""The leaderboard as a static site: self-contained pages that open from a folder, without a server."""

from ._build import write_site

__all__ = ["write_site"]
