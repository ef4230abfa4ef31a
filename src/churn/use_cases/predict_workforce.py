"""Which of all these employees will leave?"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from itertools import batched
from typing import Final
from uuid import UUID

import numpy as np

from churn.domain.employee import Employee
from churn.domain.errors import TooManyWorkforces, UnknownModel
from churn.domain.prediction import ModelInfo, Prediction, Score
from churn.ports import Clock, HistoryRepository, Predictor, ScoreMatrix
from churn.use_cases.score_in_shadow import ScoreInShadow
from churn.use_cases.serving_model import ServingModel
from churn.use_cases.turns import Turns

#: Predictions handled in one turn of the event loop, so that it takes a millisecond or two.
SLICE: Final = 256
#: Predictions handed to the history at once: less is done to each than to score one, and each block is a round trip.
HISTORY_BLOCK: Final = 1024


class PredictWorkforce:
    """Scores many employees with one version of the model and answers once all predictions are remembered."""

    def __init__(
        self,
        *,
        serving: ServingModel,
        shadow: ScoreInShadow,
        history: HistoryRepository,
        clock: Clock,
        turns: Turns,
        new_id: Callable[[], UUID],
        most_at_once: int,
        on_prediction: Callable[[Prediction], None],
    ) -> None:
        """As for `PredictAttrition`; more than `most_at_once` workforces are refused, since each takes memory."""
        self._serving = serving
        self._shadow = shadow
        self._history = history
        self._clock = clock
        self._turns = turns
        self._new_id = new_id
        self._free = most_at_once
        self._on_prediction = on_prediction

    async def __call__(
        self, blocks: AsyncIterable[Sequence[Employee]], *, account: str, version: str | None = None
    ) -> Sequence[Prediction]:
        """The predictions, in the order of the employees, stored durably in one transaction.

        Each block is scored as it comes. An error that `blocks` raises passes through, and nothing is stored.

        Raises:
            UnknownModel: `version` is given and is not the one that answers.
            Unavailable: there is no model, there are too many workforces at once, or it was not confirmed that all
                were stored; asking again is safe, but may store them a second time.
        """
        if not self._free:
            raise TooManyWorkforces("too many workforces are being scored")
        self._free -= 1
        try:
            # Read once, so that one version answers for them all.
            predictor = self._serving.current
            model = predictor.info  # without a model there is nothing to read the blocks for
            if version is not None and version != model.version:
                raise UnknownModel(version)
            predictions: list[Prediction] = []
            async for block in blocks:
                for some in batched(block, SLICE, strict=False):
                    async with self._turns:
                        predictions += self._score(predictor, some, account)
            if predictions:
                await self._history.append_many(_blocks(predictions))
            for made in batched(predictions, SLICE, strict=False):
                async with self._turns:
                    for prediction in made:
                        self._on_prediction(prediction)
                        self._shadow.offer(prediction)
        finally:
            self._free += 1
        return predictions

    def _score(self, predictor: Predictor, employees: Sequence[Employee], account: str) -> list[Prediction]:
        scores = predictor.predict_matrix(np.array([employee.features() for employee in employees]))
        return assemble(
            predictor.info, employees, scores, created_at=self._clock.now(), account=account, new_id=self._new_id
        )


def assemble(
    model: ModelInfo,
    employees: Sequence[Employee],
    scores: ScoreMatrix,
    *,
    created_at: datetime,
    account: str,
    new_id: Callable[[], UUID],
) -> list[Prediction]:
    """The predictions that `scores` of `employees` by `model` amount to."""
    contributions: Iterable[tuple[float, ...] | None] = (
        [None] * len(employees) if scores.contributions is None else map(tuple, scores.contributions.tolist())
    )
    out_of_range: list[tuple[int, ...]] = [()] * len(employees)
    for row, feature in np.argwhere(scores.out_of_range).tolist():
        out_of_range[row] += (feature,)
    return [
        Prediction(
            id=new_id(),
            created_at=created_at,
            account=account,
            model_version=model.version,
            threshold=model.threshold,
            intercept=model.intercept,
            risk=model.risk(probability),
            employee=employee,
            score=Score(probability, shares, outside),
        )
        for employee, probability, shares, outside in zip(
            employees, scores.probability.tolist(), contributions, out_of_range, strict=True
        )
    ]


async def _blocks(predictions: Sequence[Prediction]) -> AsyncIterator[Sequence[Prediction]]:
    for block in batched(predictions, HISTORY_BLOCK, strict=False):
        yield block
