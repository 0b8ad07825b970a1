"""The leaderboard as a static site: self-contained pages that open without a server."""

from ._build import write_site

__all__ = ["write_site"]
