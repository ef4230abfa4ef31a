"""Many employees and the predictions of them, in columns: what is done to thousands is done to a column at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self, overload
from uuid import UUID

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from churn.domain.employee import FEATURES, Employee, Overtime, from_features
from churn.domain.prediction import RISKS, ModelInfo, Prediction, Score

_OVERTIME: Final = FEATURES.index("heures_supp")
#: A set of features is a number, one bit for each: of all the sets there could be, few occur.
_MEMBER: Final = 1 << np.arange(len(FEATURES))


def members(outside: int) -> tuple[int, ...]:
    """Positions in `FEATURES` of those in a set, ascending."""
    return tuple(position for position in range(len(FEATURES)) if outside >> position & 1)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMatrix:
    """What a model says of n employees at once."""

    probability: NDArray[np.float64]
    """Shape (n,), in [0, 1]."""
    contributions: NDArray[np.float64] | None
    """Shape (n, 11), log-odds in the order of `FEATURES`; None if the model does not explain itself."""
    out_of_range: NDArray[np.bool_]
    """Shape (n, 11): whether the value lies outside the training range."""

    def outside(self) -> NDArray[np.int64]:
        """Shape (n,): which values lie outside the training range, as a set that `members` tells apart."""
        return self.out_of_range @ _MEMBER

    def part(self, rows: slice) -> Self:
        """What is said of those employees."""
        contributions = None if self.contributions is None else self.contributions[rows]
        return replace(
            self,
            probability=self.probability[rows],
            contributions=contributions,
            out_of_range=self.out_of_range[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Employees:
    """n employees."""

    features: NDArray[np.float64]
    """Shape (n, 11), in the order of `FEATURES`; each column in one piece of memory is fastest."""
    refs: Sequence[str | None] | None
    """Their pseudonyms; None if nobody has one."""

    @classmethod
    def of(cls, employees: Sequence[Employee]) -> Self:
        """Those `employees`."""
        columns = list(zip(*map(msgspec.structs.astuple, employees), strict=True)) or [()] * (len(FEATURES) + 1)
        features = np.empty((len(FEATURES), len(employees)))
        for position, values in enumerate(columns[:-1]):
            features[position] = [value is Overtime.YES for value in values] if position == _OVERTIME else values
        refs = columns[-1]
        if refs.count(UNSET) == len(employees):
            return cls(features.T, None)
        return cls(features.T, [None if ref is UNSET else ref for ref in refs])

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Employee]:
        for values, ref in zip(self.features.tolist(), self.refs or [None] * len(self), strict=True):
            yield from_features(values, employee_ref=UNSET if ref is None else ref)

    def part(self, rows: slice) -> Self:
        """Some of them."""
        return replace(self, features=self.features[rows], refs=None if self.refs is None else self.refs[rows])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Predictions(Sequence[Prediction]):
    """n predictions that one model made for one account at one moment, as they were answered and are remembered."""

    ids: NDArray[np.uint8]
    """Shape (n, 16): UUIDv7s, ascending."""
    created_at: datetime
    account: str
    model_version: str
    threshold: float
    intercept: float | None
    risk: NDArray[np.int8]
    """Shape (n,): positions in `RISKS`."""
    employees: Employees
    scores: ScoreMatrix

    @classmethod
    def made(
        cls,
        model: ModelInfo,
        employees: Employees,
        scores: ScoreMatrix,
        *,
        ids: NDArray[np.uint8],
        created_at: datetime,
        account: str,
    ) -> Self:
        """What `scores` of `employees` by `model` amount to."""
        return cls(
            ids=ids,
            created_at=created_at,
            account=account,
            model_version=model.version,
            threshold=model.threshold,
            intercept=model.intercept,
            risk=model.risks(scores.probability),
            employees=employees,
            scores=scores,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, rows: int) -> Prediction: ...
    @overload
    def __getitem__(self, rows: slice) -> Self: ...
    def __getitem__(self, rows: int | slice) -> Prediction | Self:
        if isinstance(rows, slice):
            return replace(
                self,
                ids=self.ids[rows],
                risk=self.risk[rows],
                employees=self.employees.part(rows),
                scores=self.scores.part(rows),
            )
        position = range(len(self))[rows]
        return next(iter(self[position : position + 1]))

    def __iter__(self) -> Iterator[Prediction]:
        contributions = self.scores.contributions
        columns = zip(
            self.ids,
            self.risk.tolist(),
            self.employees,
            self.scores.probability.tolist(),
            [None] * len(self) if contributions is None else map(tuple, contributions.tolist()),
            map(members, self.scores.outside().tolist()),
            strict=True,
        )
        for identifier, risk, employee, probability, shares, positions in columns:
            yield Prediction(
                id=UUID(bytes=identifier.tobytes()),
                created_at=self.created_at,
                account=self.account,
                model_version=self.model_version,
                threshold=self.threshold,
                intercept=self.intercept,
                risk=RISKS[risk],
                employee=employee,
                score=Score(probability, shares, positions),
            )


def joined(blocks: Sequence[Predictions]) -> Predictions:
    """All of `blocks`, in order, at least one, which one model has made for one account; of the last one's moment."""
    employees = [block.employees for block in blocks]
    scores = [block.scores for block in blocks]
    shares = [matrix.contributions for matrix in scores if matrix.contributions is not None]
    refs: list[str | None] | None = None
    if any(some.refs is not None for some in employees):
        refs = [ref for some in employees for ref in some.refs or [None] * len(some)]
    return replace(
        blocks[-1],
        ids=np.concatenate([block.ids for block in blocks]),
        risk=np.concatenate([block.risk for block in blocks]),
        employees=Employees(_stacked([some.features for some in employees]), refs),
        scores=ScoreMatrix(
            np.concatenate([matrix.probability for matrix in scores]),
            _stacked(shares) if shares else None,
            _stacked([matrix.out_of_range for matrix in scores]),
        ),
    )


def _stacked[Item: np.generic](blocks: Sequence[NDArray[Item]]) -> NDArray[Item]:
    """Blocks of 11 columns one below the other, each column in one piece of memory."""
    return np.concatenate([block.T for block in blocks], axis=1).T
