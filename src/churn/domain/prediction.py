"""A score, what it means, and the record that is kept of it."""

from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from churn.domain.employee import Employee
from churn.domain.language import Language


class Risk(StrEnum):
    """How a probability reads: above the decision threshold, above the base rate, or neither."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"


#: Risks in the order that an array tells them by.
RISKS: Final = tuple(Risk)

#: How a risk is told to people.
RISK_MESSAGES: Final[Mapping[Language, Mapping[Risk, str]]] = {
    Language.FR: {
        Risk.LOW: "Risque de départ faible",
        Risk.MODERATE: "Risque de départ modéré",
        Risk.HIGH: "Risque de départ élevé",
    },
    Language.EN: {
        Risk.LOW: "Low risk of leaving",
        Risk.MODERATE: "Moderate risk of leaving",
        Risk.HIGH: "High risk of leaving",
    },
}


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What the rest of the service needs to know of a loaded model."""

    version: str
    """Name of the bundle's folder, unique among bundles."""
    threshold: float
    """Probability from which an employee is classed as leaving, in (0, 1)."""
    base_rate: float
    """Share of leavers in the training data, in (0, 1)."""
    ranges: tuple[tuple[float, float], ...]
    """Smallest and largest training value of each feature, in the order of `FEATURES`."""
    intercept: float | None
    """Log-odds that the contributions are added to; None if the model does not explain itself."""

    def risk(self, probability: float) -> Risk:
        """The risk that `probability`, in [0, 1], stands for under this model."""
        if probability >= self.threshold:
            return Risk.HIGH
        return Risk.MODERATE if probability > self.base_rate else Risk.LOW

    def risks(self, probability: NDArray[np.float64]) -> NDArray[np.int8]:
        """The same of each of `probability`, shape (n,), as its position in `RISKS`."""
        leaves = probability >= self.threshold
        risks = leaves.astype(np.int8)
        risks += leaves | (probability > self.base_rate)
        return risks


class Score(Struct, frozen=True, gc=False):
    """What a model says of one employee."""

    probability: float
    """Probability of leaving, in [0, 1]."""
    contributions: tuple[float, ...] | None
    """Log-odds of each feature, in the order of `FEATURES`; with the model's intercept they sum to
    the logit of `probability`. None if the model does not explain itself."""
    out_of_range: tuple[int, ...] = ()
    """Indices in `FEATURES` of the values that lie outside the training range: they were scored at its edge."""


class Prediction(Struct, frozen=True, kw_only=True, gc=False):
    """One prediction, as it was answered and as it is remembered."""

    id: UUID
    """UUIDv7 (RFC 9562, section 5.7): sorts by the time of creation, which it begins with; see `ID_SLACK`."""
    created_at: datetime
    account: str
    """Username of the account that asked."""
    model_version: str
    threshold: float
    intercept: float | None
    risk: Risk
    employee: Employee
    score: Score
    run_id: UUID | None = None
    """The run of `churn score --save` that stored it; None if it is of no run."""

    @property
    def leaves(self) -> bool:
        """Whether the employee is classed as leaving."""
        return self.risk is Risk.HIGH


#: How far the moment in an id may be from `created_at`, at most: the two are of two clocks, one of which may be set.
ID_SLACK: Final = timedelta(hours=1)


def id_at(moment: datetime) -> UUID:
    """The smallest id of `moment`, or of the nearest moment that an id can have."""
    if moment.year in {MINYEAR, MAXYEAR}:  # in UTC they may lie beyond the calendar
        return UUID(int=0 if moment.year == MINYEAR else 2**128 - 1)
    milliseconds = (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=max(milliseconds, 0) << 80)


class HistoryFilter(Struct, frozen=True, kw_only=True):
    """Which predictions to look for; every criterion given must hold."""

    since: datetime | UnsetType = UNSET
    """Created at this moment or later."""
    until: datetime | UnsetType = UNSET
    """Created before this moment."""
    model_version: str | UnsetType = UNSET
    leaves: bool | UnsetType = UNSET
    employee_ref: str | UnsetType = UNSET
    account: str | UnsetType = UNSET
    run_id: UUID | UnsetType = UNSET

    def id_bounds(self) -> tuple[UUID | None, UUID | None]:
        """Every prediction of the period has an id from the first to before the second; None for no bound.

        Whoever reads in the order of ids need not pass by what came before or after the period.
        """
        return (
            None if self.since is UNSET else id_at(_moved(self.since, -ID_SLACK)),
            None if self.until is UNSET else id_at(_moved(self.until, ID_SLACK)),
        )


def _moved(moment: datetime, by: timedelta) -> datetime:
    """`moment`, moved unless it would leave the calendar."""
    return moment if moment.year in {MINYEAR, MAXYEAR} else moment + by
