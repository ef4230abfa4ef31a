"""What the counts cost, and what they save: `python -m bench.counts`.

A year of counts of ten million predictions is written as so many replicas, each restarted each day, would leave it;
then the drift report is asked for.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np

from churn.adapters.joblib_model.catalogue import JoblibModelCatalogue
from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.adapters.postgres.traffic import TrafficCounter, add_statement
from churn.cli.migrate import migrate_database
from churn.container import build_container
from churn.domain.employee import DEMONSTRATION
from churn.domain.prediction import Prediction, Risk, Score
from churn.domain.traffic import Binning
from churn.settings import Settings
from churn.training.data import public_data

FIRST = date(2025, 1, 1)
DAYS = 365


async def timed(call: Callable[[], Awaitable[object]], runs: int) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


async def measure(settings: Settings, *, replicas: int) -> None:
    await migrate_database(settings)
    container = build_container(settings)
    catalogue: JoblibModelCatalogue = container.catalogue()
    version = await catalogue.default()
    binning = Binning(await catalogue.manifest(version))
    predictor = await catalogue.load(version)
    population = public_data().features
    scored = np.column_stack([population, predictor.predict_matrix(population).probability])
    counts = binning.count(scored, without_reference=0) * (10_000_000 // len(population) // DAYS // replicas + 1)
    engine = container.engine()

    # What a flush of so many predictions adds: in this process, then in the database.
    counter = TrafficCounter(catalogue)
    for n in (1, 17, 256):
        flush = [
            Prediction(
                id=uuid4(),
                created_at=datetime(2026, 1, 1, tzinfo=UTC),
                account="bench",
                model_version=version,
                threshold=0.3,
                intercept=0.0,
                risk=Risk.LOW,
                employee=DEMONSTRATION,
                score=Score(0.2, None),
            )
        ] * n

        async def count(flush: list[Prediction] = flush) -> None:
            (await counter.count(flush)).parameters(uuid4())

        seconds = await timed(count, 2000)
        print(f"counting {n:>3} predictions       {seconds * 1e6:8.1f} µs, {seconds * 1e6 / n:5.2f} µs each")
    writer = uuid4()
    additions = (await counter.count(flush)).parameters(writer)
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        add = await driver.prepare(add_statement())
        nothing = await driver.prepare("SELECT $1::uuid, $2::text[], $3::date[], $4::text[]")
        async with driver.transaction():
            base = await timed(lambda: nothing.fetch(*additions), 2000)
            added = await timed(lambda: add.fetch(*additions), 2000)
        print(f"adding them to the counts     {added * 1e6:8.1f} µs, a statement that does nothing {base * 1e6:.1f} µs")

    async with engine.begin() as connection:
        for day in range(DAYS):
            for _ in range(replicas):
                await connection.exec_driver_sql(
                    "INSERT INTO traffic_count VALUES ($1, $2, $3, $4)",
                    (version, FIRST + timedelta(days=day), uuid4(), counts.tolist()),
                )
    report = container.report_drift()
    until = FIRST + timedelta(days=DAYS)
    told = await report(since=FIRST, until=until)
    seconds = await timed(lambda: report(since=FIRST, until=until), 20)
    print(f"report on {told.predictions} predictions, {DAYS} days, {replicas} replicas: {seconds * 1e3:.1f} ms")
    await engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicas", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        with server.running():
            settings = Settings(database_url=server.url)
            asyncio.run(measure(settings, replicas=arguments.replicas))


if __name__ == "__main__":
    main()
