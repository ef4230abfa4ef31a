"""The memory of an export of the history: `make bench-export`.

A service over a history of a million predictions, and one client that reads all of it. What the service's memory grows
by should not depend on how many there are, so a tenth is exported first.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from sqlalchemy import text

from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.tables import prediction
from churn.http.predictions import EXAMPLE

PASSWORD = "a password for the bench"
PORT = 8194


async def multiply(url: str, rows: int) -> None:
    """Make `rows` predictions of the one that there is."""
    columns = ", ".join(column.name for column in prediction.columns if column.name != "id")
    engine = create_engine(url, pool_size=2, statement_timeout=None)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                f"INSERT INTO prediction (id, {columns}) SELECT uuidv7(), {columns}"
                " FROM (SELECT * FROM prediction LIMIT 1), generate_series(2, :rows)"
            ),
            {"rows": rows},
        )
    await engine.dispose()


def export(client: httpx.Client, process: psutil.Process, wanted: str) -> tuple[int, float, float]:
    """Lines, seconds, and the highest resident memory meanwhile in MiB."""
    lines, peak, started = 0, 0, time.perf_counter()
    with client.stream("GET", "/predictions", params={"format": wanted}) as response:
        for number, chunk in enumerate(response.iter_raw()):
            lines += chunk.count(b"\n")
            if number % 50 == 0:
                peak = max(peak, process.memory_info().rss)
    return lines, time.perf_counter() - started, peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        database = EmbeddedPostgres(Path(folder))
        with database.running():
            settings = {"ADMIN_PASSWORD": PASSWORD, "DATABASE_URL": database.url, "PORT": str(PORT)}
            service = subprocess.Popen(
                [str(Path(sys.executable).with_name("churn")), "serve"],
                env=os.environ | {f"CHURN_{name}": value for name, value in settings.items()},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            process = psutil.Process(service.pid)
            try:
                with httpx.Client(
                    base_url=f"http://127.0.0.1:{PORT}", auth=("admin", PASSWORD), timeout=60, trust_env=False
                ) as client:
                    for _ in range(600):
                        try:
                            if client.get("/readyz").status_code == 200:
                                break
                        except httpx.TransportError:
                            time.sleep(0.1)
                    client.post("/predict", json=EXAMPLE).raise_for_status()
                    stored = 1
                    for size in (rows // 10, rows):
                        asyncio.run(multiply(database.url, size - stored + 1))
                        stored = size
                        for wanted in ("ndjson", "csv"):
                            before = process.memory_info().rss / 2**20
                            lines, seconds, peak = export(client, process, wanted)
                            print(
                                f"{wanted:<7} {lines:9,} lines, {lines / seconds:8,.0f} lines/s;"
                                f" resident memory {before:.0f} MiB before, {peak:.0f} MiB at most",
                                flush=True,
                            )
            finally:
                service.terminate()
                service.wait(20)


if __name__ == "__main__":
    main()
