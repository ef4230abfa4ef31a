"""Which of all these employees will leave?"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from itertools import batched
from typing import Final

import numpy as np
from numpy.typing import NDArray

from churn.domain.employee import Employee
from churn.domain.errors import TooManyWorkforces, UnknownModel
from churn.domain.predictions import Employees, Predictions, joined
from churn.ports import Clock, HistoryRepository, Predictor
from churn.use_cases.score_in_shadow import ScoreInShadow
from churn.use_cases.serving_model import ServingModel
from churn.use_cases.turns import Turns

#: Predictions handled in one turn of the event loop, so that it takes a millisecond or two.
SLICE: Final = 256


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
        new_ids: Callable[[int], NDArray[np.uint8]],
        most_at_once: int,
        on_predictions: Callable[[Predictions], None],
    ) -> None:
        """Keep the parts.

        Args:
            serving: has the model.
            shadow: is offered what was answered.
            history: remembers it.
            clock: says when.
            turns: what the work is done in.
            new_ids: makes so many UUIDv7s, shape (n, 16), ascending from call to call.
            most_at_once: workforces under way, beyond which one more is refused: each takes memory.
            on_predictions: told of the predictions once they are stored, a slice at a time.
        """
        self._serving = serving
        self._shadow = shadow
        self._history = history
        self._clock = clock
        self._turns = turns
        self._new_ids = new_ids
        self._free = most_at_once
        self._on_predictions = on_predictions

    async def __call__(
        self, blocks: AsyncIterable[Sequence[Employee]], *, account: str, version: str | None = None
    ) -> Predictions:
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
            scored: list[Predictions] = []
            async for block in blocks:
                for some in batched(block, SLICE, strict=False):
                    async with self._turns:
                        scored.append(self._predict(predictor, some, account))
            predictions = joined(scored or [self._predict(predictor, (), account)])
            if predictions:
                await self._history.append_many(self._slices(predictions))
            async for made in self._slices(predictions):
                self._on_predictions(made)
                self._shadow.offer_many(made)
        finally:
            self._free += 1
        return predictions

    def _predict(self, predictor: Predictor, employees: Sequence[Employee], account: str) -> Predictions:
        columns = Employees.of(employees)
        return Predictions.made(
            predictor.info,
            columns,
            predictor.predict_matrix(columns.features),
            ids=self._new_ids(len(columns)),
            created_at=self._clock.now(),
            account=account,
        )

    async def _slices(self, predictions: Predictions) -> AsyncIterator[Predictions]:
        for start in range(0, len(predictions), SLICE):
            async with self._turns:
                some = predictions[start : start + SLICE]
            # Outside of the turn, because whoever takes it may have to wait for others.
            yield some
