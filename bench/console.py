"""How long the console's pages take with a long history: `python -m bench.console`.

The application answers in this process, over a PostgreSQL of its own whose history is as long as asked; what is
measured is from the request to the last byte of the page, one visitor at a time.
"""

import argparse
import asyncio
import random
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import numpy as np
import uuid_utils.compat
from litestar.types import ASGIApp
from sqlalchemy import text

from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.migrations import Migrations
from churn.container import build_container
from churn.domain.account import Role
from churn.domain.employee import Employee, Overtime
from churn.domain.prediction import id_at
from churn.domain.predictions import Employees, Predictions
from churn.http.app import create_app
from churn.settings import Settings

PASSWORD = "a password for the bench"
HEADERS = {"sec-fetch-site": "same-origin"}
#: Rows that are scored one by one; the others are copies of them at other moments.
SEED = 10_000
#: One row of the table at another moment of the last two years, under an id of that moment.
COPY = """
INSERT INTO prediction
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
        || '8' || substr(md5(random()::text), 1, 15))::uuid, at, {others}
FROM prediction, generate_series(1, {times}) AS n,
     LATERAL (SELECT created_at - created_at + now() - random() * n / n * interval '730 days' AS at) AS moment
"""

#: A version of which there is no manifest has no counts, but the days on which it was asked.
RETIRED = """
INSERT INTO traffic_count (model_version, day, writer, counts)
SELECT 'retired', day, gen_random_uuid(), '{}'
FROM (SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date AS day FROM prediction WHERE model_version = 'retired')
"""

#: Everybody was still there a year after the prediction, or had left as often as was said.
OUTCOMES = """
INSERT INTO outcome (prediction_id, number, "left", observed_on, recorded_at, account)
SELECT id, 1, leaves, (created_at + CASE WHEN leaves THEN random() ELSE 1 END * interval '1 year')::date, now(), 'admin'
FROM prediction, LATERAL (SELECT random() < probability AS leaves) AS happened
WHERE created_at < now() - interval '1 year'
"""


def employees(number: int) -> list[Employee]:
    made = []
    for n in range(number):
        age = random.randint(18, 60)
        experience = random.randint(0, age - 18)
        tenure = random.randint(0, experience)
        made.append(
            Employee(
                age=age,
                monthly_income=round(random.lognormvariate(8.6, 0.6)),
                commute_distance=random.randint(1, 29),
                environment_satisfaction=random.randint(1, 4),
                overtime=random.choice([Overtime.YES, Overtime.NO, Overtime.NO]),
                years_since_promotion=random.randint(0, tenure),
                work_life_balance=random.randint(1, 4),
                stock_option_level=random.randint(0, 3),
                years_in_role=random.randint(0, tenure),
                years_at_company=tenure,
                total_working_years=experience,
                employee_ref=f"E-{n}",
            )
        )
    return made


async def fill(settings: Settings, rows: int) -> None:
    """A history of `rows` predictions over two years, nearly all by one account, their counts and outcomes."""
    container = build_container(settings)
    # The service's own gives up after the seconds that a request may take.
    engine = create_engine(settings.database_url, pool_size=2, statement_timeout=None)
    await Migrations(engine, settings.migrations_dir).upgrade()
    for username in ("admin", "rare"):
        await container.create_account()(username, PASSWORD, Role.ADMIN, by="bench")
    model = await container.catalogue().load(await container.catalogue().default())
    now = datetime.now(UTC)

    async def blocks() -> AsyncIterator[Predictions]:
        for n, employee in enumerate(employees(SEED)):
            one = Employees.of([employee])
            moment = now - n * timedelta(days=730) / SEED
            identifier = UUID(int=id_at(moment).int | uuid_utils.compat.uuid7().int & (1 << 80) - 1)
            yield Predictions.made(
                model.info,
                one,
                model.predict_matrix(one.features),
                ids=np.frombuffer(identifier.bytes, np.uint8).reshape(1, 16),
                created_at=moment,
                account="rare" if n == 0 else "admin",
            )

    await container.history().append_many(blocks())
    async with engine.begin() as connection:
        columns = (
            await connection.scalars(
                text(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = 'prediction' "
                    "AND column_name NOT IN ('id', 'created_at') ORDER BY ordinal_position"
                )
            )
        ).all()
        # The account that is rare stays so, and what is older than 400 days is by a version that serves no more.
        changed = {
            "account": "'admin'",
            "model_version": "CASE WHEN at < now() - interval '400 days' THEN 'retired' ELSE model_version END",
        }
        others = ", ".join(changed.get(name, name) for name in columns)
        await connection.execute(text(COPY.format(others=others, times=max(rows // SEED - 1, 1))))
        await connection.execute(text(RETIRED))
        outcomes = (await connection.execute(text(OUTCOMES))).rowcount
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE"))
        print(f"{(await connection.execute(text('SELECT count(*) FROM prediction'))).scalar_one():,} predictions")
        print(f"{outcomes:,} of them with an outcome")
    await container.rebuild_counts()()
    await engine.dispose()
    await container.engine().dispose()


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "state": {}}, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    await sent.get()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://bench.test", timeout=120) as client:
        yield client
    await received.put({"type": "lifespan.shutdown"})
    await task


async def pages(client: httpx.AsyncClient) -> dict[str, str]:
    """Addresses of what is measured, by name."""
    form = {"username": "admin", "password": PASSWORD}
    assert (await client.post("/console/sign-in", data=form, headers=HEADERS)).status_code == 303
    history = (await client.get("/console/history")).text
    identifiers = re.findall(r"/console/predictions/([0-9a-f-]{36})", history)
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', history)[1]
    names = Employee.__struct_encode_fields__
    table = [",".join(names)]
    for employee in employees(1000):
        values = (getattr(employee, name) for name in Employee.__struct_fields__)
        table.append(",".join(str(value) for value in values))
    answer = await client.post(
        "/console/file",
        data={"form_token": token},
        files={"file": ("people.csv", "\n".join(table).encode(), "text/csv")},
        headers=HEADERS,
    )
    assert answer.status_code == 303, answer.text
    month = (datetime.now(UTC) - timedelta(days=200)).date()
    version = (Path(Settings().models_dir) / "ACTIVE").read_text().strip()
    return {
        "one person": "/console",
        "a prediction": f"/console/predictions/{identifiers[5]}",
        "history": "/console/history",
        "history, an older page": f"/console/history?before={id_at(datetime.now(UTC) - timedelta(days=180))}",
        "history, by reference": "/console/history?ref=E-4711",
        "history, by a reference there is not": "/console/history?ref=E-nobody",
        "history, high risk": "/console/history?leaves=1",
        "history, one month": f"/console/history?since={month}&until={month + timedelta(days=30)}",
        "history, one month, high risk": f"/console/history?since={month}&until={month + timedelta(days=30)}&leaves=1",
        "history, a rare account": "/console/history?account=rare",
        "history, a version that serves no more": "/console/history?model=retired",
        "history, that version, high risk": "/console/history?model=retired&leaves=1",
        "history, no such model": "/console/history?model=nothing",
        "ranked file of 1,000": answer.headers["location"],
        "drift": "/console/monitoring",
        "performance": "/console/monitoring/performance",
        "models": "/console/models",
        "a model": f"/console/models/{version}",
        "accounts": "/console/accounts",
        "audit trail": "/console/audit",
    }


async def measure(settings: Settings, rounds: int) -> None:
    async with running(create_app(settings)) as client:
        addresses = await pages(client)
        seconds: dict[str, list[float]] = {name: [] for name in addresses}
        sizes = {}
        employee = msgspec.to_builtins(employees(1)[0])
        for _ in range(rounds):
            # Others work meanwhile: what is known of today changes with each prediction.
            answer = await client.post("/predict", json=employee, auth=("admin", PASSWORD))
            assert answer.status_code == 200, answer.text
            for name, address in addresses.items():
                started = time.perf_counter()
                answer = await client.get(address)
                seconds[name].append(time.perf_counter() - started)
                assert answer.status_code == 200, (name, answer.status_code)
                sizes[name] = len(answer.content)
        print(f"{'page':<40} {'p50 ms':>8} {'p95 ms':>8} {'kB':>6}")
        for name, times in seconds.items():
            p95 = statistics.quantiles(times, n=20)[-1]
            print(f"{name:<40} {1e3 * statistics.median(times):8.1f} {1e3 * p95:8.1f} {sizes[name] / 1e3:6.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    random.seed(7)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        with server.running():
            settings = Settings(database_url=server.url)
            asyncio.run(fill(settings, arguments.rows))
            asyncio.run(measure(settings, arguments.rounds))


if __name__ == "__main__":
    main()
