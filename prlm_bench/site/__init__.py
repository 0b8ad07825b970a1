"""The leaderboard as a static site, whose pages open without a server, and as one Markdown page."""

from ._build import write_site
from ._markdown import write_markdown
from ._pictures import Picture, find_pictures

__all__ = ["Picture", "find_pictures", "write_markdown", "write_site"]
