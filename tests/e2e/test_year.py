"""A scripted year of a company through the real service, whose reports must tell what happened in it."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from sqlalchemy import make_url, text
from tests.e2e.year import DRIFT_MONTH, Story, live

from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.migrations import Migrations
from churn.domain.drift import Verdict
from churn.settings import Settings


@pytest.fixture(scope="module")
async def story(postgres_url: str, migrations_dir: str) -> AsyncIterator[Story]:
    admin = create_engine(postgres_url, pool_size=2)
    async with admin.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("CREATE DATABASE year"))
    await admin.dispose()
    url = make_url(postgres_url).set(database="year").render_as_string(hide_password=False)
    engine = create_engine(url, pool_size=2, statement_timeout=None)
    await Migrations(engine, migrations_dir).upgrade()
    await engine.dispose()
    return await live(replace(Settings(), database_url=url))


def test_drift_is_told_from_its_month_on(story: Story) -> None:
    """Not before; and of the features, those that have changed and no other."""
    assert [report.verdict for report in story.drift] == [Verdict.STABLE] * 7 + [Verdict.DRIFT] * 5
    for report in story.drift[DRIFT_MONTH - 1 :]:
        assert set(report.drifting) - {"probability"} == {"age", "heures_supp"}


def test_alerts_are_two_and_in_time(story: Story) -> None:
    """The drift within its month; that more people leave than was said, once outcomes show it; and nothing twice."""
    (drifted, drift), (failed, failure) = story.alerts
    assert (drift["type"], drifted.month) == ("churn.drift.alarm", DRIFT_MONTH)
    assert (failure["type"], failure["data"]["reasons"]) == ("churn.performance.alarm", ["calibration"])
    # The horizon of August's predictions ends from November on, and HR is heard on the 15th.
    assert failed.month in {11, 12}


def test_performance_is_what_the_simulation_made_it(story: Story) -> None:
    """By month: as promised until July, more leavers from August on, and of the last months an estimate alone."""
    assert story.performance is not None
    months = story.performance.months
    for month in months[:7]:
        assert month.realised is not None
        assert month.realised.left / month.realised.expected == pytest.approx(1, abs=0.25)
    august = months[DRIFT_MONTH - 1].realised
    assert august is not None
    assert august.left == story.left[DRIFT_MONTH]
    assert august.left / august.expected > 1.25
    assert [month.realised for month in months[9:]] == [None] * 3
    assert all(month.pending == month.predictions for month in months[9:])
    assert sum(month.accepted + month.overridden for month in months) > 100


def test_the_estimate_sees_the_drift_and_not_what_it_assumes_away(story: Story) -> None:
    """In August it expects more leavers than in July, because of who they are; not that all of them leave more."""
    assert story.performance is not None
    assert story.august is not None
    july = story.performance.months[DRIFT_MONTH - 2]
    estimated = story.august.estimated.left
    assert estimated.estimate / story.august.predictions > 1.1 * july.estimated.left.estimate / july.predictions
    assert estimated.high < story.left[DRIFT_MONTH]


def test_counts_are_right_in_the_end(story: Story) -> None:
    """After a year of predictions and an erasure a rebuild has nothing to correct."""
    assert story.rebuilt is not None
    assert story.performance is not None
    counted = sum(report.predictions for report in story.drift)
    # January was reported on before the erasure.
    assert counted - 1 == sum(month.predictions for month in story.performance.months)
    assert [day for days in story.rebuilt.corrected.values() for day in days] == []
