"""The machine's own clock."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Fills the port `Clock`."""

    def now(self) -> datetime:
        """See the port."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See the port."""
        return time.monotonic()
