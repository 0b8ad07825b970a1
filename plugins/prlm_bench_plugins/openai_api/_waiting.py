"""How long to wait before another attempt."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

#: Seconds before the second attempt, and at most before any; each wait is twice the one before.
FIRST, MOST = 0.5, 30.0
#: Seconds that a server may ask for; one that asks for more is not waited for.
LONGEST = 600.0


def backoff(attempt: int) -> float:
    """Seconds after the attempt of this number, counted from 0: exponential, between half and all of it."""
    return float(min(MOST, FIRST * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply asks for, as `Retry-After` says (seconds, or an HTTP date); None where it does not."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None
