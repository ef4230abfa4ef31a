"""Twenty minutes of everything at once: `python -m bench.soak`. Memory and file descriptors must stay flat.

Clients predict, read the history back, send batches, guess passwords, send nonsense, and hang up halfway, over one
service with an embedded PostgreSQL. The first third warms up: pools, caches and the allocator's arenas fill. After it,
the median of each half is taken; the second may exceed the first by no more than the tolerance.
"""

import argparse
import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from bench.serving import PASSWORD
from churn.http.predictions import EXAMPLE

PORT = 8196
URL = f"http://127.0.0.1:{PORT}"
#: How much more the second half may take: an allocator's noise, and a leak of 2 MiB in ten minutes is one.
MEMORY, DESCRIPTORS = 2 << 20, 3


def client(password: str = PASSWORD, username: str = "admin", **options: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=URL, auth=(username, password), timeout=30, **options)


async def predict(counts: dict[str, int], pause: float) -> None:
    async with client() as session:
        while True:
            response = await session.post("/predict", json=EXAMPLE)
            count(counts, "predict", response)
            if counts["predict 200"] % 50 == 1:
                count(counts, "history", await session.get("/predictions", params={"limit": 20}))
            await asyncio.sleep(pause)


async def batch(counts: dict[str, int]) -> None:
    async with client() as session:
        while True:
            count(counts, "batch", await session.post("/predict/batch", json=[EXAMPLE] * 200))
            await asyncio.sleep(2)


async def guess(counts: dict[str, int]) -> None:
    number = 0
    while True:
        number += 1
        headers = {"x-forwarded-for": f"198.18.{number // 250 % 250}.{number % 250}"}
        async with client("a wrong password", f"user-{number}", headers=headers) as session:
            count(counts, "guess", await session.get("/predictions"))
        await asyncio.sleep(0.5)


async def babble(counts: dict[str, int]) -> None:
    async with client() as session:
        while True:
            nonsense = os.urandom(200)
            headers = {"content-type": "application/json"}
            count(counts, "nonsense", await session.post("/predict", content=nonsense, headers=headers))
            await asyncio.sleep(0.2)


async def hang_up(counts: dict[str, int]) -> None:
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\nauthorization: Basic {token}\r\ncontent-length: 500\r\n\r\n{{"
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        counts["hung up"] = counts.get("hung up", 0) + 1
        await asyncio.sleep(0.2)


def count(counts: dict[str, int], what: str, response: httpx.Response) -> None:
    key = f"{what} {response.status_code}"
    counts[key] = counts.get(key, 0) + 1


async def soak(process: psutil.Process, minutes: float) -> bool:
    counts: dict[str, int] = {"predict 200": 0}
    tasks = [asyncio.create_task(predict(counts, 0.01)) for _ in range(4)]
    tasks += [asyncio.create_task(kind(counts)) for kind in (batch, guess, babble, hang_up)]
    samples: list[tuple[int, int]] = []
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline:
        await asyncio.sleep(1)
        for task in tasks:
            if task.done():
                task.result()
        # What it alone has, without the pages that it shares with PostgreSQL or the file cache.
        samples.append((process.memory_full_info().uss, process.num_fds()))
        if len(samples) % 30 == 1:
            print(
                f"{len(samples):5d} s  {samples[-1][0] / 2**20:7.1f} MiB  {samples[-1][1]:4d} descriptors", flush=True
            )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    warm = samples[len(samples) // 3 :]
    halves = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    memory, descriptors = ([statistics.median(sample[kind] for sample in half) for half in halves] for kind in range(2))
    print(json.dumps(dict(sorted(counts.items())), indent=1))
    print(f"memory       {memory[0] / 2**20:.1f} then {memory[1] / 2**20:.1f} MiB")
    print(f"descriptors  {descriptors[0]:.0f} then {descriptors[1]:.0f}")
    failed = sum(number for key, number in counts.items() if key.endswith((" 500", " 502", " 504")))
    return (
        failed == 0
        and memory[1] - memory[0] <= MEMORY
        and descriptors[1] - descriptors[0] <= DESCRIPTORS
        and counts["predict 200"] > 0
    )


async def wait_and_soak(process: psutil.Process, minutes: float) -> bool:
    async with client() as session, asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await session.get("/readyz")).status_code == 200:
                    break
            await asyncio.sleep(0.1)
    return await soak(process, minutes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL runs as another user
        environ = os.environ | {
            "CHURN_DATA_DIR": f"{folder}/data",
            "CHURN_PORT": str(PORT),
            "CHURN_ADMIN_PASSWORD": PASSWORD,
            "CHURN_LOG_LEVEL": "warning",
        }
        churn = Path(sys.executable).with_name("churn")
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([churn, "serve"], env=environ, stdout=log, stderr=log)
        try:
            flat = asyncio.run(wait_and_soak(psutil.Process(process.pid), arguments.minutes))
        finally:
            process.terminate()
            process.wait(20)
    sys.exit(0 if flat else "not flat")


if __name__ == "__main__":
    main()
