"""What a person made of a prediction."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct


class Decision(StrEnum):
    """What a reviewer concludes."""

    ACCEPTED = "accepted"
    """The prediction agrees with what the reviewer knows."""
    OVERRIDDEN = "overridden"
    """The reviewer knows better, and the prediction is not to be used."""
    DISMISSED = "dismissed"
    """No use was made of the prediction, right or wrong."""


class Review(Struct, frozen=True, kw_only=True):
    """A named person's conclusion: an entry of a log that only grows. The newest one of a prediction counts."""

    prediction_id: UUID
    decision: Decision
    reason: str
    """Matches `churn.domain.activation.REASON_PATTERN`."""
    reviewed_at: datetime
    account: str
    """Username of the reviewer."""


class ReviewRates(Struct, frozen=True, kw_only=True):
    """What became, by the reviews that count, of the predictions that one version made in one month."""

    month: date
    """Its first day, in UTC."""
    model_version: str
    accepted: int
    overridden: int
    dismissed: int

    @property
    def reviewed(self) -> int:
        """How many of the predictions were reviewed."""
        return self.accepted + self.overridden + self.dismissed
