"""What does a person make of this prediction?"""

from uuid import UUID

from churn.domain.audit import Action, AuditEvent
from churn.domain.errors import UnknownPrediction
from churn.domain.review import Decision, Review
from churn.ports import Clock, ReviewLog


class ReviewPrediction:
    """Remembers a named person's conclusion about a prediction."""

    def __init__(self, *, reviews: ReviewLog, clock: Clock) -> None:
        self._reviews = reviews
        self._clock = clock

    async def __call__(self, prediction_id: UUID, *, decision: Decision, reason: str, account: str) -> Review:
        """The review that counts now: the one given, or the equal one that was there already.

        Raises:
            UnknownPrediction: there is none of that id.
            Unavailable: it may or may not have been recorded; saying it again is safe.
        """
        now = self._clock.now()
        review = Review(prediction_id=prediction_id, decision=decision, reason=reason, reviewed_at=now, account=account)
        event = AuditEvent(
            at=now,
            account=account,
            action=Action.PREDICTION_REVIEWED,
            subject=str(prediction_id),
            details={"decision": decision.value},
        )
        await self._reviews.append(review, audit=event)
        for newest in await self._reviews.of(prediction_id):
            return newest
        raise UnknownPrediction(prediction_id)  # erased meanwhile
