"""`churn monitor`, over a real PostgreSQL and the shipped model."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import employee, prediction, stored_together

from churn.adapters.joblib_model.bundle import active_version
from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.postgres.follow_up import PostgresOutcomeLog
from churn.adapters.postgres.history import PostgresHistoryRepository
from churn.adapters.postgres.traffic import TrafficCounter
from churn.cli import main
from churn.domain.audit import AuditEvent
from churn.domain.employee import Employee, Overtime
from churn.domain.outcome import Outcome
from churn.domain.prediction import Risk, Score
from churn.settings import Settings
from churn.training.data import public_data

MODELS = Settings().models_dir
VERSION = active_version(Path(MODELS))
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)

type Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(database_url: str, engine: AsyncEngine) -> Run:
    """Runs `churn monitor` with the arguments given."""

    async def run(*arguments: str) -> Result:
        # In a thread, because the command has an event loop of its own.
        runner = CliRunner(env={"CHURN_DATABASE_URL": database_url})
        return await asyncio.to_thread(runner.invoke, main, ["monitor", *arguments])

    return run


async def answer(engine: AsyncEngine, n: int, **changes: object) -> None:
    """Store `n` predictions of the shipped model."""
    counter = TrafficCounter(JoblibModelCatalogue(MODELS, default="", trusted=""))
    history = PostgresHistoryRepository(
        engine, queue_size=1, flush_timeout=5.0, on_flush=lambda _: None, counter=counter
    )

    items = [prediction(**{"created_at": DAY, "model_version": VERSION} | changes) for _ in range(n)]
    await stored_together(history, *items)


async def test_drift_is_told_in_a_table(run: Run, engine: AsyncEngine) -> None:
    """With the verdict, a line for each feature and the score, and what the figures mean."""
    await answer(engine, 150, employee=employee(age=70))
    result = await run("drift", "--since", "2026-03-01", "--until", "2026-03-02")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "period     2026-03-01 to before 2026-03-02, with predictions on 1 days" in lines
    assert "volume     150 predictions" in lines
    assert "verdict    drift" in lines
    (age,) = (line for line in lines if line.startswith("age "))
    assert age.endswith("100.0%  drift")
    assert any(line.startswith("probability ") for line in lines)
    assert "at least 0.08" in lines[-1]


async def test_drift_is_told_as_json(run: Run, engine: AsyncEngine) -> None:
    """For whoever reads it with a program."""
    await answer(engine, 150)
    report = json.loads((await run("drift", "--since", "2026-03-01", "--until", "2026-04-01", "--json")).output)
    assert report["predictions"] == 150
    assert len(report["features"]) == 11


async def test_too_little_is_said_to_be_too_little(run: Run, engine: AsyncEngine) -> None:
    """Under a hundred predictions there is a table without figures, and a sentence."""
    await answer(engine, 99)
    output = (await run("drift", "--since", "2026-03-01", "--until", "2026-04-01")).output
    assert "verdict    insufficient data" in output
    assert "Under 100 predictions nothing can be told." in output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["drift", "--model-version", "nothing"], 1, "there is no model 'nothing'"),
        (["drift", "--since", "2026-03-02", "--until", "2026-03-01"], 1, "the period ends before it begins"),
        (["drift", "--since", "yesterday"], 2, "does not match the format"),
    ],
)
async def test_what_cannot_be_told_is_said(run: Run, arguments: list[str], status: int, message: str) -> None:
    """In a sentence, with a failing exit status."""
    result = await run(*arguments)
    assert result.exit_code == status
    assert message in result.output


async def test_performance_is_told_in_a_table(run: Run, engine: AsyncEngine) -> None:
    """What is realised by month and risk, and an estimate, marked as such, for what is not."""
    long_ago, today = datetime(2024, 3, 1, tzinfo=UTC), datetime.now(UTC)
    history = PostgresHistoryRepository(engine, queue_size=9, flush_timeout=5.0, on_flush=lambda _: None)
    stored = [
        prediction(created_at=long_ago, score=Score(0.1 * n, None), risk=Risk.HIGH if n > 5 else Risk.LOW)
        for n in range(1, 10)
    ]

    await stored_together(history, *stored)
    outcomes = [
        Outcome(
            prediction_id=item.id,
            left=item.score.probability > 0.55,
            observed_on=date(2025, 3, 1),
            recorded_at=today,
            account="anne",
        )
        for item in stored
    ]
    await PostgresOutcomeLog(engine).append(
        outcomes,
        audit=lambda added: AuditEvent(
            at=today, account="anne", action="outcomes-recorded", details={"recorded": added}
        ),
    )
    await answer(engine, 3, created_at=today)
    result = await run("performance", "--since", "2024-03-01")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "a person who leaves within 12 months has left" in lines
    assert "somebody was observed to be still there until 2025-03-01" in lines
    (realised,) = (line for line in lines if line.startswith("2024-03"))
    assert realised.split()[:6] == ["2024-03", "9", "0", "0", "4", "4.5"]
    assert "1.000 (1.000-1.000)" in realised
    (estimated,) = (line for line in lines if line.startswith(f"{today:%Y-%m}"))
    assert estimated.split()[:6] == [f"{today:%Y-%m}", "3", "3", "0", "-", "-"]
    assert "~0.812" in estimated
    assert any(line.split()[:4] == ["high", "4", "3.0", "4"] for line in lines)
    report = json.loads((await run("performance", "--since", "2024-03-01", "--json")).output)
    assert [total["predictions"] for total in report["versions"]] == [9, 3]


async def test_the_exit_status_of_a_check_says_how_the_model_stands(run: Run, engine: AsyncEngine) -> None:
    """2 as long as it cannot be told, 1 when it drifts; the line of each subject says the same."""
    result = await run("check")
    assert result.exit_code == 2
    assert [line.split() for line in result.output.splitlines()] == [["drift", "unknown"], ["performance", "unknown"]]
    await answer(engine, 150, created_at=datetime.now(UTC))
    result = await run("check")
    assert result.exit_code == 1
    assert result.output.startswith("drift        alarm  (age, ")
    check = json.loads((await run("check", "--json")).output)
    assert [finding["state"] for finding in check["findings"]] == ["alarm", "unknown"]
    assert check["drift"]["predictions"] == 150


async def test_traffic_like_the_reference_is_well(run: Run, engine: AsyncEngine) -> None:
    """0 when nothing drifts, though no outcome is known yet."""
    people = public_data().features
    fields = [name for name in Employee.__struct_fields__ if name != "employee_ref"]
    catalogue = JoblibModelCatalogue(MODELS, default="", trusted="")
    predictor = await catalogue.load(VERSION)
    history = PostgresHistoryRepository(
        engine, queue_size=1, flush_timeout=5.0, on_flush=lambda _: None, counter=TrafficCounter(catalogue)
    )

    stored = []
    for row in people.tolist():
        values: dict[str, Any] = dict(zip(fields, row, strict=True))
        values["overtime"] = Overtime.YES if values["overtime"] else Overtime.NO
        one = Employee(**{name: int(v) if isinstance(v, float) else v for name, v in values.items()})
        score = predictor.predict(one)
        stored.append(prediction(employee=one, score=score, model_version=VERSION, created_at=datetime.now(UTC)))
    await stored_together(history, *stored)
    result = await run("check")
    assert (result.exit_code, result.output.split()) == (0, ["drift", "ok", "performance", "unknown"])


async def test_a_check_that_tells_nobody_is_not_well(
    run: Run, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --notify and no webhook the change is told to nobody, and the command says so."""
    await answer(engine, 150, created_at=datetime.now(UTC))
    result = await run("check", "--notify")
    assert result.exit_code == 1
    assert "no webhook is set" in result.output
    monkeypatch.setenv("CHURN_ALERT_WEBHOOK_URL", "http://example.com/?token=hunter2")
    result = await run("check", "--notify")
    assert "hunter2" not in result.output


async def test_a_check_without_a_database_cannot_be_told(unused_tcp_port: int) -> None:
    """It is 2, as for whatever keeps it from telling, and not 1, which is an alarm."""
    runner = CliRunner(env={"CHURN_DATABASE_URL": f"postgresql+asyncpg://churn@127.0.0.1:{unused_tcp_port}/churn"})
    result = await asyncio.to_thread(runner.invoke, main, ["monitor", "check"])
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")


async def test_counts_are_rebuilt(run: Run, engine: AsyncEngine) -> None:
    """What was not counted is from then on; versions without a manifest are named."""
    await answer(engine, 150)
    await answer(engine, 1, model_version="gone")
    assert (await run("rebuild")).output.splitlines()[0] == f"{VERSION}  every day was right"
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE traffic_count"))
    lines = (await run("rebuild")).output.splitlines()
    assert f"{VERSION}  1 days corrected, from 2026-03-01 to 2026-03-01" in lines
    assert "gone  cannot be counted: its manifest is not there" in lines
    report = json.loads((await run("drift", "--since", "2026-03-01", "--until", "2026-04-01", "--json")).output)
    assert report["predictions"] == 150
