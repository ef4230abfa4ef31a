"""Will this employee leave?"""

from collections.abc import Callable
from uuid import UUID

from churn.domain.employee import Employee
from churn.domain.prediction import Prediction
from churn.ports import Clock, HistoryRepository
from churn.use_cases.score_in_shadow import ScoreInShadow
from churn.use_cases.serving_model import ServingModel


class PredictAttrition:
    """Scores one employee and answers once the prediction is remembered."""

    def __init__(
        self,
        *,
        serving: ServingModel,
        shadow: ScoreInShadow,
        history: HistoryRepository,
        clock: Clock,
        new_id: Callable[[], UUID],
        on_prediction: Callable[[Prediction], None],
    ) -> None:
        """`new_id` makes UUIDv7s; `on_prediction` is told of each prediction once it is stored."""
        self._serving = serving
        self._shadow = shadow
        self._history = history
        self._clock = clock
        self._new_id = new_id
        self._on_prediction = on_prediction

    async def __call__(self, employee: Employee, *, account: str) -> Prediction:
        """The prediction, stored durably.

        Raises:
            Unavailable: there is no model, or it was not confirmed as stored; asking again is safe.
        """
        # Read once: the next line may find another one.
        predictor = self._serving.current
        model = predictor.info
        score = predictor.predict(employee)
        prediction = Prediction(
            id=self._new_id(),
            created_at=self._clock.now(),
            account=account,
            model_version=model.version,
            threshold=model.threshold,
            intercept=model.intercept,
            risk=model.risk(score.probability),
            employee=employee,
            score=score,
        )
        await self._history.append(prediction)
        self._on_prediction(prediction)
        self._shadow.offer(prediction)
        return prediction
