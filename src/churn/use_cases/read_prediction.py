"""What was predicted, what came of it, and what did people make of it?"""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from churn.domain.errors import UnknownPrediction
from churn.domain.outcome import Outcome
from churn.domain.prediction import Prediction
from churn.domain.review import Review
from churn.ports import HistoryRepository, OutcomeLog, ReviewLog


class Followed(Struct, frozen=True):
    """A prediction and what followed; the first outcome and the first review count."""

    prediction: Prediction
    outcomes: Sequence[Outcome]
    """Newest first."""
    reviews: Sequence[Review]
    """Newest first."""


class ReadPrediction:
    """Reads one prediction again, with all that was added to it."""

    def __init__(self, *, history: HistoryRepository, outcomes: OutcomeLog, reviews: ReviewLog) -> None:
        self._history = history
        self._outcomes = outcomes
        self._reviews = reviews

    async def __call__(self, prediction_id: UUID) -> Followed:
        """The prediction of that id, as it was answered, and what followed.

        Raises:
            UnknownPrediction: there is none of that id.
        """
        prediction = await self._history.get(prediction_id)
        if prediction is None:
            raise UnknownPrediction(prediction_id)
        return Followed(prediction, await self._outcomes.of(prediction_id), await self._reviews.of(prediction_id))
