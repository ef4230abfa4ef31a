"""The log of activations, and how one process follows it with its model and its shadow."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uuid_utils.compat
from tests.builders import employee, prediction

from churn.adapters.joblib_model.bundle import active_version, read_manifest
from churn.adapters.memory import (
    MemoryClock,
    MemoryHistoryRepository,
    MemoryModelCatalogue,
    MemoryModelRegistry,
    MemoryPredictor,
    MemoryShadowScores,
)
from churn.domain.activation import Activation, rollback_target
from churn.domain.errors import ModelUnavailable, StorageUnavailable
from churn.domain.prediction import Prediction
from churn.settings import Settings
from churn.use_cases.activate_model import ActivateModel, ShadowModel
from churn.use_cases.predict_attrition import PredictAttrition
from churn.use_cases.score_in_shadow import ScoreInShadow
from churn.use_cases.serving_model import Serving, ServingModel

MANIFEST = read_manifest(Path(Settings().models_dir), active_version(Path(Settings().models_dir)))[0]


def log(*steps: str) -> list[Activation]:
    """The log of `activate b`, `roll_back a` and `shadow c`, one after the other, with `a` as the default."""
    entries: list[Activation] = []
    version: str | None = None
    for number, step in enumerate(steps, start=1):
        action, target = step.split()
        now = version if action == "shadow" else target
        entries.append(
            Activation(
                number=number, at=datetime(2026, 1, 1, tzinfo=UTC), account="root", action=action,
                previous=version or "a", version=now, shadow=target if action == "shadow" else None, reason="",
            )
        )  # fmt: skip
        version = now
    return entries


@pytest.mark.parametrize(
    ("steps", "target"),
    [
        ([], None),
        (["activate b"], "a"),
        (["activate a"], None),
        (["shadow c"], None),
        (["activate b", "activate c"], "b"),
        (["activate b", "shadow c"], "a"),
        (["activate b", "activate c", "roll_back b"], "a"),
        (["activate b", "activate c", "roll_back b", "roll_back a"], None),
        (["activate b", "roll_back a", "activate c"], "a"),
        (["activate b", "activate a"], "b"),
        (["activate b", "activate c", "roll_back b", "activate d"], "b"),
    ],
)
def test_a_rollback_undoes_the_last_activation_that_stands(steps: list[str], target: str | None) -> None:
    """Activations are undone one by one, latest first; shadows do not count."""
    assert rollback_target(log(*steps)) == target


class Follower:
    """A process with its model and its shadow, on memory."""

    def __init__(self, *, queue_size: int = 4096, **predictors: Any) -> None:
        self.registry = MemoryModelRegistry()
        predictors = {"a": MemoryPredictor("a"), "b": MemoryPredictor("b", threshold=0.999999)} | predictors
        self.catalogue = MemoryModelCatalogue(
            {version: (MANIFEST, predictor) for version, predictor in predictors.items()}, default="a"
        )
        self.told: list[Serving] = []
        self.outcomes: Counter[str] = Counter()
        self.history = MemoryHistoryRepository()
        self.scores = MemoryShadowScores(self.history)
        self.serving = ServingModel(
            registry=self.registry, catalogue=self.catalogue, poll_interval=0.01, on_change=self.told.append
        )
        self.shadow = ScoreInShadow(
            serving=self.serving,
            scores=self.scores,
            queue_size=queue_size,
            on_outcome=lambda outcome, count: self.outcomes.update({outcome: count}),
        )
        parts = {"registry": self.registry, "catalogue": self.catalogue, "clock": MemoryClock()}
        self.activate, self.set_shadow = ActivateModel(**parts), ShadowModel(**parts)
        self.predict = PredictAttrition(
            serving=self.serving,
            shadow=self.shadow,
            history=self.history,
            clock=MemoryClock(),
            new_id=uuid_utils.compat.uuid7,
            on_prediction=lambda _: None,
        )


@pytest.fixture
async def follow() -> AsyncIterator[Callable[..., Any]]:
    """Starts a follower, and stops it at the end."""
    followers: list[Follower] = []

    async def start(**changes: Any) -> Follower:
        follower = Follower(**changes)
        followers.append(follower)
        await follower.serving.start()
        await follower.shadow.start()
        return follower

    yield start
    for follower in followers:
        await follower.shadow.stop()
        await follower.serving.stop()


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_every_change_is_told_once(follow: Callable[..., Any]) -> None:
    """What is served, and whether it lags, is told as it changes and not at every look."""
    follower = await follow(broken=None)
    await follower.set_shadow("b", account="root", reason="")
    await until(lambda: follower.serving.shadow)
    await follower.activate("b", account="root", reason="")
    await until(lambda: follower.serving.current.info.version == "b")
    await follower.registry.append(log("activate b", "activate c", "activate broken")[2])
    await until(lambda: follower.serving.state.lagging)
    assert follower.serving.current.info.version == "b"
    assert [(told.version, told.shadow, told.lagging) for told in follower.told] == [
        ("a", None, False),
        ("a", "b", False),
        ("b", None, False),
        ("b", None, True),
    ]


async def test_a_request_under_way_keeps_its_model(follow: Callable[..., Any]) -> None:
    """A prediction is scored and labelled by one model, though another takes over while it is being stored."""
    follower = await follow()
    stored = follower.history.append

    async def slowly(answer: Prediction) -> None:
        await follower.activate("b", account="root", reason="")
        await until(lambda: follower.serving.current.info.version == "b")
        await stored(answer)

    follower.history.append = slowly
    answer = await follower.predict(employee(), account="anne")
    assert (answer.model_version, answer.threshold) == ("a", 0.5)


async def test_without_a_registry_what_is_loaded_goes_on(follow: Callable[..., Any]) -> None:
    """An unreachable or a failing registry changes nothing; when it is back it is followed again."""
    follower = await follow()
    current, looks = follower.registry.current, []

    async def away() -> None:
        looks.append(None)
        raise StorageUnavailable("away") if len(looks) % 2 else RuntimeError("worse")

    follower.registry.current = away
    await until(lambda: len(looks) > 3)
    assert follower.serving.state == Serving(version="a", shadow=None, lagging=False)
    follower.registry.current = current
    await follower.activate("b", account="root", reason="")
    await until(lambda: follower.serving.current.info.version == "b")


async def test_without_a_model_every_use_is_unavailable(follow: Callable[..., Any]) -> None:
    """Neither a prediction nor a batch is answered by no model."""
    follower = await follow(a=None)
    nothing = follower.serving.current
    for use in (lambda: nothing.info, lambda: nothing.predict(employee()), lambda: nothing.predict_matrix(np.ones(1))):
        with pytest.raises(ModelUnavailable):
            use()
    with pytest.raises(ModelUnavailable):
        await follower.predict(employee(), account="anne")


async def test_the_shadow_tells_how_it_agreed(follow: Callable[..., Any]) -> None:
    """Each answer is scored once, and its classes compared; without a shadow nothing is."""
    follower = await follow()
    await follower.predict(employee(), account="anne")
    await follower.set_shadow("b", account="root", reason="")
    await until(lambda: follower.serving.shadow)
    answers = [await follower.predict(employee(age=age), account="anne") for age in (20, 30, 60)]
    await until(lambda: follower.outcomes.total() == 3)
    disagreed = sum(answer.leaves for answer in answers)
    assert follower.outcomes == +Counter(agreed=3 - disagreed, disagreed=disagreed)
    agreement = await follower.scores.agreement("a", "b")
    assert agreement.n == 3
    assert agreement.mean_absolute_difference == pytest.approx(0, abs=1e-12)


async def test_what_the_shadow_cannot_take_is_dropped_and_counted(follow: Callable[..., Any]) -> None:
    """A full queue costs the answer nothing."""
    follower = await follow(queue_size=2)
    await follower.set_shadow("b", account="root", reason="")
    await until(lambda: follower.serving.shadow)
    for _ in range(5):
        follower.shadow.offer(prediction(model_version="a"))
    assert follower.outcomes == {"dropped": 3}
    await follower.shadow.stop()
    assert follower.outcomes["dropped"] == 5


class Faulty(MemoryPredictor):
    """Raises what a foreign estimator might."""

    def predict_matrix(self, features: Any) -> Any:
        raise ZeroDivisionError


async def test_a_shadow_that_fails_harms_nothing(follow: Callable[..., Any]) -> None:
    """The answers go on, and what was lost is counted."""
    follower = await follow(faulty=Faulty("faulty"))
    await follower.set_shadow("faulty", account="root", reason="")
    await until(lambda: follower.serving.shadow)
    assert (await follower.predict(employee(), account="anne")).model_version == "a"
    await until(lambda: follower.outcomes["failed"] == 1)
    assert (await follower.predict(employee(), account="anne")).model_version == "a"


async def test_what_the_shadow_has_answered_itself_is_not_scored(follow: Callable[..., Any]) -> None:
    """After a promotion the queue may still hold answers of the other: they are passed over."""
    follower = await follow()
    await follower.set_shadow("b", account="root", reason="")
    await until(lambda: follower.serving.shadow)
    follower.shadow.offer(prediction(model_version="b"))
    follower.shadow.offer(prediction(model_version="a"))
    await until(follower.outcomes.total)
    assert follower.outcomes.total() == 1
