"""Where things are: the checkout, and real data beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: Folders of LaMP's data in its layout; most checkouts have none, and the tests that need it are skipped.
REAL_DATA = REPOSITORY.parent / "shared" / "data"
