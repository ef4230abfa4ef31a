"""Who takes what out of the history?"""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import msgspec

from churn.domain.audit import Action, AuditEvent
from churn.domain.prediction import HistoryFilter, Prediction
from churn.ports import AuditTrail, Clock, HistoryRepository


class ExportHistory:
    """Hands out any number of predictions."""

    def __init__(self, *, history: HistoryRepository, trail: AuditTrail, clock: Clock) -> None:
        self._history = history
        self._trail = trail
        self._clock = clock

    async def __call__(
        self, criteria: HistoryFilter, *, before: UUID | None, account: str
    ) -> AsyncIterator[Sequence[Prediction]]:
        """What `HistoryRepository.stream` gives to `account`; the audit trail is told before it begins.

        It is told by which criteria, but not of whom, should they name an employee.

        Raises:
            Unavailable: it cannot be audited now.
        """
        details: dict[str, str | int | bool] = msgspec.to_builtins(criteria)
        if details.pop("employee_ref", None) is not None:
            details["one_employee"] = True
        event = AuditEvent(at=self._clock.now(), account=account, action=Action.HISTORY_EXPORTED, details=details)
        await self._trail.append([event])
        return self._history.stream(criteria, before=before)
