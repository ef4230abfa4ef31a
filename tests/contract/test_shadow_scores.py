"""What every `ShadowScores` must do."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import uuid_utils.compat
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import prediction

from churn.adapters.memory import MemoryHistoryRepository, MemoryShadowScores
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.models import PostgresShadowScores
from churn.adapters.postgres.tables import prediction as predictions
from churn.adapters.postgres.tables import shadow_score
from churn.domain.activation import Agreement, ShadowScore
from churn.domain.errors import StorageUnavailable
from churn.domain.prediction import Risk, Score
from churn.ports import HistoryRepository, ShadowScores

type Stores = tuple[HistoryRepository, ShadowScores]


@asynccontextmanager
async def memory(_: AsyncEngine) -> AsyncIterator[Stores]:
    history = MemoryHistoryRepository()
    yield history, MemoryShadowScores(history)


@asynccontextmanager
async def postgres(engine: AsyncEngine) -> AsyncIterator[Stores]:
    history = PostgresHistoryRepository(engine, queue_size=4096, flush_timeout=5.0, on_flush=lambda _: None)
    await history.start()
    yield history, PostgresShadowScores(engine)
    await history.stop()


@pytest.fixture(params=[memory, postgres])
async def stores(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncIterator[Stores]:
    async with request.param(engine) as stores:
        yield stores


def score(prediction_id: UUID, probability: float, **changes: object) -> ShadowScore:
    values = {"model_version": "b", "leaves": probability >= 0.5} | changes
    return ShadowScore(prediction_id=prediction_id, probability=probability, **values)


async def answer(history: HistoryRepository, probabilities: Sequence[float], version: str = "a") -> list[UUID]:
    """Answer one prediction for each of `probabilities`; their ids."""
    ids = []
    for probability in probabilities:
        risk = Risk.HIGH if probability >= 0.5 else Risk.LOW
        answered = prediction(model_version=version, risk=risk, score=Score(probability, None))
        await history.append(answered)
        ids.append(answered.id)
    return ids


def test_it_fills_the_port(stores: Stores) -> None:
    """It has the methods of the port."""
    assert isinstance(stores[1], ShadowScores)


async def test_nothing_in_common_is_no_agreement(stores: Stores) -> None:
    """Versions that never saw the same request have neither agreed nor disagreed."""
    nothing = Agreement(n=0, mean_absolute_difference=None, equal_classes=None, correlation=None)
    history, scores = stores
    (answered,) = await answer(history, [0.5])
    await scores.append([])
    await scores.append([score(answered, 0.5, model_version="other")])
    assert await scores.agreement("a", "b") == nothing


async def test_the_agreement_is_that_of_the_pairs(stores: Stores) -> None:
    """Mean absolute difference, share of equal classes and Pearson's correlation, over all common requests."""
    history, scores = stores
    ids = await answer(history, [0.1, 0.4, 0.6, 0.9])
    await scores.append([score(id_, p) for id_, p in zip(ids, [0.2, 0.6, 0.7, 0.8], strict=True)])
    agreement = await scores.agreement("a", "b")
    assert agreement.n == 4
    assert agreement.mean_absolute_difference == pytest.approx(0.125, abs=1e-12)
    assert agreement.equal_classes == pytest.approx(0.75)
    assert agreement.correlation == pytest.approx(0.25 / math.sqrt(0.34 * 0.2075), abs=1e-12)


async def test_it_does_not_matter_which_answered(stores: Stores) -> None:
    """Requests that b answered in front of a count as well, and the order of the question does not matter."""
    history, scores = stores
    (first,) = await answer(history, [0.25])
    (second,) = await answer(history, [0.75], version="b")
    await scores.append([score(first, 0.5), score(second, 0.75, model_version="a")])
    agreement = await scores.agreement("a", "b")
    assert agreement == await scores.agreement("b", "a")
    assert (agreement.n, agreement.mean_absolute_difference, agreement.equal_classes) == (2, 0.125, 0.5)


@pytest.mark.parametrize("probabilities", [[0.5], [0.5, 0.5]])
async def test_a_constant_has_no_correlation(stores: Stores, probabilities: list[float]) -> None:
    """One request, or a version that always says the same, gives None and not an error."""
    history, scores = stores
    ids = await answer(history, probabilities)
    await scores.append([score(id_, 0.5 + n / 10) for n, id_ in enumerate(ids)])
    assert (await scores.agreement("a", "b")).correlation is None


async def test_the_first_score_stays(stores: Stores) -> None:
    """A version scores a prediction once; what comes later, or twice at once, is no error."""
    history, scores = stores
    (id_,) = await answer(history, [0.5])
    await scores.append([score(id_, 0.5), score(id_, 0.5)])
    await scores.append([score(id_, 0.1)])
    agreement = await scores.agreement("a", "b")
    assert (agreement.n, agreement.mean_absolute_difference) == (1, 0.0)


async def test_a_score_without_its_prediction_is_left_out(stores: Stores) -> None:
    """A prediction that is not in the history keeps no score, and the others are stored all the same."""
    history, scores = stores
    (id_,) = await answer(history, [0.5])
    await scores.append([score(uuid_utils.compat.uuid7(), 0.1), score(id_, 0.5)])
    assert (await scores.agreement("a", "b")).n == 1


# What only a real server can show.


async def test_a_prediction_that_is_erased_takes_its_scores_along(engine: AsyncEngine) -> None:
    """Nothing is left of a prediction that was deleted."""
    async with postgres(engine) as (history, scores):
        (id_,) = await answer(history, [0.5])
        await scores.append([score(id_, 0.5)])
        async with engine.begin() as connection:
            await connection.execute(delete(predictions).where(predictions.c.id == id_))
            assert (await connection.execute(select(shadow_score))).all() == []


async def test_a_server_that_does_not_answer_makes_storage_unavailable(unused_tcp_port: int) -> None:
    """Every method says so in the words of the domain."""
    engine = create_engine(f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn", pool_size=2)
    scores = PostgresShadowScores(engine)
    for call in [scores.append([score(uuid_utils.compat.uuid7(), 0.5)]), scores.agreement("a", "b")]:
        with pytest.raises(StorageUnavailable):
            await call
    await engine.dispose()
