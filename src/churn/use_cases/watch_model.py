"""Looks after the model without being asked."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from churn.domain.errors import ChurnError
from churn.ports import Clock
from churn.use_cases.check_model import Check, CheckModel, RaiseAlerts

#: Seconds after the start before the first check: a process that starts has better to do.
_FIRST: Final = 60.0

_logger = logging.getLogger(__name__)


class WatchModel:
    """Checks the model now and then, and tells of what has changed."""

    def __init__(
        self,
        *,
        check_model: CheckModel,
        raise_alerts: RaiseAlerts,
        clock: Clock,
        interval: float,
        notify: bool,
        on_check: Callable[[Check, datetime], None],
    ) -> None:
        """`interval` is in seconds, and 0 for never; `notify`, whether somebody is to be told; `on_check` always is."""
        self._check_model = check_model
        self._raise_alerts = raise_alerts
        self._clock = clock
        self._interval = interval
        self._notify = notify
        self._on_check = on_check
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        if self._interval:
            self._task = asyncio.create_task(self._watch(), name="model-watcher")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self) -> None:
        await asyncio.sleep(min(_FIRST, self._interval))
        while True:
            try:
                check = await self._check_model()
                self._on_check(check, self._clock.now())
                if self._notify:
                    for alert in await self._raise_alerts(check.findings):
                        _logger.warning("told of %s %s: %s", alert.subject, alert.state, ", ".join(alert.reasons))
            except ChurnError as error:
                # Whatever it is, the next look may succeed.
                _logger.warning("the model was not checked, or nobody could be told: %s", error)
            except Exception:
                _logger.exception("the model cannot be checked")
            await asyncio.sleep(self._interval)
