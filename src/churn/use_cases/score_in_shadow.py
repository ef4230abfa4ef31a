"""What would another version have answered?"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np

from churn.domain.activation import ShadowScore
from churn.domain.prediction import Prediction
from churn.ports import Predictor, ShadowScores
from churn.use_cases.serving_model import ServingModel

#: Seconds to gather predictions before they are scored together: nobody waits for them.
GATHERING: Final = 0.1
#: Predictions scored at once.
LARGEST_BATCH: Final = 1024

#: What became of a prediction offered to the shadow: `agreed` and `disagreed` compare the classes; `dropped`, the
#: queue was full; `failed`, it could not be scored or stored.
Outcome = Literal["agreed", "disagreed", "dropped", "failed"]

_logger = logging.getLogger(__name__)


class ScoreInShadow:
    """Lets the shadow version score what was answered, in the background, after the answer."""

    def __init__(
        self,
        *,
        serving: ServingModel,
        scores: ShadowScores,
        queue_size: int,
        on_outcome: Callable[[Outcome, int], None],
    ) -> None:
        """Start nothing yet.

        Args:
            serving: has the shadow.
            scores: keeps what it says.
            queue_size: predictions that may wait; what comes beyond is dropped.
            on_outcome: told what became of how many predictions.
        """
        self._serving = serving
        self._scores = scores
        self._queue_size = queue_size
        self._on_outcome = on_outcome
        self._queue: list[Prediction] = []
        self._queued = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def offer(self, prediction: Prediction) -> None:
        """Score `prediction` later, if there is a shadow now. Takes next to no time, and never fails."""
        if self._serving.shadow is None:
            return
        if len(self._queue) >= self._queue_size:
            self._on_outcome("dropped", 1)
            return
        self._queue.append(prediction)
        self._queued.set()

    def offer_many(self, predictions: Sequence[Prediction]) -> None:
        """`offer` each of them."""
        if self._serving.shadow is None:
            return
        room = max(0, self._queue_size - len(self._queue))
        self._queue += predictions[:room]
        if dropped := len(predictions[room:]):
            self._on_outcome("dropped", dropped)
        self._queued.set()

    async def start(self) -> None:
        """Begin to score."""
        self._task = asyncio.create_task(self._work(), name="shadow-scorer")

    async def stop(self) -> None:
        """Score no more; what still waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._on_outcome("dropped", len(self._queue))
        self._queue.clear()

    async def _work(self) -> None:
        while True:
            await self._queued.wait()
            if len(self._queue) < LARGEST_BATCH:
                await asyncio.sleep(GATHERING)
            batch, self._queue = self._queue[:LARGEST_BATCH], self._queue[LARGEST_BATCH:]
            if not self._queue:
                self._queued.clear()
            shadow = self._serving.shadow
            # The shadow may have become the active version since.
            batch = [item for item in batch if shadow is not None and item.model_version != shadow.info.version]
            if shadow is not None and batch:
                await self._score(shadow, batch)

    async def _score(self, shadow: Predictor, batch: Sequence[Prediction]) -> None:
        info = shadow.info
        features = np.array([prediction.employee.features() for prediction in batch])
        try:
            # In a thread: a foreign estimator may take its time, and the loop has requests to answer.
            matrix = await asyncio.to_thread(shadow.predict_matrix, features)
            scores = [
                ShadowScore(
                    prediction_id=prediction.id,
                    model_version=info.version,
                    probability=probability,
                    leaves=probability >= info.threshold,
                )
                for prediction, probability in zip(batch, matrix.probability.tolist(), strict=True)
            ]
            await self._scores.append(scores)
        except Exception as error:  # noqa: BLE001 - a foreign estimator can raise anything, and must harm nothing
            _logger.warning("shadow %s: %d scores are lost: %s", info.version, len(batch), type(error).__name__)
            self._on_outcome("failed", len(batch))
            return
        outcomes: Counter[Outcome] = Counter(
            "agreed" if score.leaves == prediction.leaves else "disagreed"
            for score, prediction in zip(scores, batch, strict=True)
        )
        for outcome, count in outcomes.items():
            self._on_outcome(outcome, count)
