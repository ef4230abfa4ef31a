"""Scoring a workforce, over parts kept in memory."""

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import employee

from churn.adapters.memory import MemoryClock, MemoryHistoryRepository, MemoryPredictor
from churn.adapters.uuids import new_ids
from churn.domain.employee import Employee
from churn.domain.errors import ModelUnavailable, StorageUnavailable, TooManyWorkforces
from churn.domain.prediction import HistoryFilter, Prediction
from churn.domain.predictions import Predictions, ScoreMatrix
from churn.use_cases.predict_workforce import SLICE, PredictWorkforce
from churn.use_cases.serving_model import NoModel
from churn.use_cases.turns import Turns


class Serving:
    """Stands for `ServingModel`: all that is asked of it is `current`."""

    def __init__(self, current: Any) -> None:
        self.current = current


class Shadow:
    """Stands for `ScoreInShadow`, and keeps what it is offered."""

    def __init__(self) -> None:
        self.offered: list[Prediction] = []

    def offer_many(self, predictions: Sequence[Prediction]) -> None:
        self.offered.extend(predictions)


class Mute(MemoryPredictor):
    """A model that does not explain itself."""

    def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
        matrix = super().predict_matrix(features)
        return ScoreMatrix(matrix.probability, None, matrix.out_of_range)


class Workforce:
    """The use case and the parts behind it."""

    def __init__(self, predictor: Any = None, *, history: Any = None, most_at_once: int = 8) -> None:
        self.serving, self.shadow = Serving(predictor or MemoryPredictor()), Shadow()
        self.history = MemoryHistoryRepository() if history is None else history
        self.told: list[Prediction] = []
        self.predict = PredictWorkforce(
            serving=self.serving,  # type: ignore[arg-type]
            shadow=self.shadow,  # type: ignore[arg-type]
            history=self.history,
            clock=MemoryClock(),
            turns=Turns(),
            new_ids=new_ids,
            most_at_once=most_at_once,
            on_predictions=self.told.extend,
        )

    async def remembered(self) -> Sequence[Prediction]:
        return await self.history.find(HistoryFilter(), before=None, limit=10_000)


async def blocks(*items: Sequence[Employee]) -> AsyncIterator[Sequence[Employee]]:
    for block in items:
        yield block


async def test_scores_each_as_the_model_does() -> None:
    """The predictions are in the order of the employees, say what the model says of each alone, and are remembered."""
    employees = [employee(age=18 + n % 50, monthly_income=500.0 * n) for n in range(SLICE + 40)]
    workforce, model = Workforce(), MemoryPredictor()
    predictions = await workforce.predict(blocks(employees[:10], [], employees[10:]), account="anne")
    assert [prediction.employee for prediction in predictions] == employees
    for prediction in predictions:
        score = model.predict(prediction.employee)
        assert prediction.score.probability == pytest.approx(score.probability, abs=1e-12)
        assert prediction.score.contributions == pytest.approx(score.contributions, abs=1e-12)
        assert prediction.score.out_of_range == score.out_of_range
        assert prediction.risk is model.info.risk(prediction.score.probability)
    assert sorted(await workforce.remembered(), key=lambda item: item.id) == list(predictions)
    assert workforce.told == workforce.shadow.offered == list(predictions)


async def test_a_model_may_not_explain_itself() -> None:
    """Predictions of a model without contributions have none."""
    (prediction,) = await Workforce(Mute()).predict(blocks([employee()]), account="anne")
    assert prediction.score.contributions is None


async def test_one_version_answers_for_all() -> None:
    """A switch of the model in the middle changes nothing for those who are being scored."""
    workforce = Workforce(MemoryPredictor("old"))

    async def switching() -> AsyncIterator[Sequence[Employee]]:
        yield [employee()]
        workforce.serving.current = MemoryPredictor("new")
        yield [employee()]

    predictions = await workforce.predict(switching(), account="anne")
    assert [prediction.model_version for prediction in predictions] == ["old", "old"]


async def test_nobody_is_scored_without_a_model() -> None:
    """Without a model it fails before it has read anything."""

    async def unread() -> AsyncIterator[Sequence[Employee]]:
        raise AssertionError
        yield

    with pytest.raises(ModelUnavailable):
        await Workforce(NoModel()).predict(unread(), account="anne")


async def test_what_cannot_be_read_is_not_stored() -> None:
    """An error of the blocks passes through; nothing is stored or told."""
    workforce = Workforce()

    async def broken() -> AsyncIterator[Sequence[Employee]]:
        yield [employee()]
        raise ValueError("here it ends")

    with pytest.raises(ValueError, match="here it ends"):
        await workforce.predict(broken(), account="anne")
    assert await workforce.remembered() == workforce.told == workforce.shadow.offered == []


async def test_what_is_not_stored_is_not_told() -> None:
    """When the history fails, nobody hears of the predictions."""

    class Broken(MemoryHistoryRepository):
        async def append_many(self, blocks: AsyncIterable[Predictions], *, run_id: UUID | None = None) -> bool:
            raise StorageUnavailable("down")

    workforce = Workforce(history=Broken())
    with pytest.raises(StorageUnavailable):
        await workforce.predict(blocks([employee()]), account="anne")
    assert workforce.told == workforce.shadow.offered == []


async def test_so_many_at_once() -> None:
    """One more workforce than allowed is refused at once; when one has ended, well or not, there is room again."""
    workforce = Workforce(most_at_once=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[Sequence[Employee]]:
        begun.set()
        await go_on.wait()
        yield [employee()]

    first = asyncio.create_task(workforce.predict(slow(), account="anne"))
    await begun.wait()
    with pytest.raises(TooManyWorkforces):
        await workforce.predict(blocks(), account="anne")
    go_on.set()
    assert len(await first) == 1
    assert list(await workforce.predict(blocks(), account="anne")) == []


async def test_the_loop_turns_meanwhile() -> None:
    """While workforces are scored, others on the loop get several turns between any two slices."""
    slices: list[int] = []
    turn = 0

    class Counting(MemoryPredictor):
        def predict_matrix(self, features: NDArray[np.float64]) -> ScoreMatrix:
            slices.append(turn)
            return super().predict_matrix(features)

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    workforce = Workforce(Counting())
    bystander = asyncio.create_task(others())
    many = [employee()] * (4 * SLICE)
    await asyncio.gather(*(workforce.predict(blocks(many), account="anne") for _ in range(3)))
    bystander.cancel()
    assert len(slices) == 12
    assert min(later - sooner for sooner, later in itertools.pairwise(slices)) >= 4
