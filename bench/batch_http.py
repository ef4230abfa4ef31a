"""`POST /predict/batch` over HTTP, with the history on PostgreSQL: `make bench-batch-http`.

Clients send the same 10,000 employees as NDJSON again and again, and read the answers as fast as they come; meanwhile
others send `POST /predict` at a steady pace, whose latency is measured from the moment at which each was due.
Service, PostgreSQL and clients share the machine's cores; the processor time per row of each is shown, because it
tells what the rate would be on a machine that does nothing else.
"""

import argparse
import asyncio
import base64
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import msgspec
import numpy as np
import psutil

from bench.model import employees
from churn.adapters.joblib_model.predictor import load_predictor
from churn.http.predictions import EXAMPLE
from churn.settings import read_settings

PASSWORD = "a password for the bench"
PORT = 8197
ROWS = 10_000
#: Seconds between two single predictions, and how many clients send them: one alone would wait for its last answer, and
#: be late with all that follow.
PACE = 0.01
SINGLE_CLIENTS = 8
#: Seconds in which the disk can write what the round before has left.
DISK_PAUSE = 5.0
AUTHORIZATION = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()


@contextmanager
def service(python: str, workers: int) -> Iterator[tuple[psutil.Process, psutil.Process]]:
    """`churn serve` and its PostgreSQL."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "ADMIN_PASSWORD": PASSWORD,
            "DATA_DIR": f"{folder}/data",
            # A check of the model would fall into one of the rounds, and read the millions of this one day.
            "MONITOR_INTERVAL": "0",
            "PORT": str(PORT),
            "WORKERS": str(workers),
        }
        process = subprocess.Popen(
            [str(Path(python).with_name("churn")), "serve"],
            env=os.environ | {f"CHURN_{name}": value for name, value in settings.items()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            for _ in range(600):
                try:
                    if httpx.get(f"http://127.0.0.1:{PORT}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    if process.poll() is not None:
                        sys.exit(f"the service ended with {process.returncode}")
                    time.sleep(0.1)
            pid = next(Path(folder, "data").glob("*/postmaster.pid")).read_text().split()[0]
            yield psutil.Process(process.pid), psutil.Process(int(pid))
        finally:
            process.terminate()
            process.wait(20)


def send_batches(body: bytes, until: float, done: multiprocessing.Queue) -> None:
    """Send `body` until that moment; how many rows were answered, and the processor time that took."""
    request = (
        f"POST /predict/batch HTTP/1.1\r\nhost: bench\r\nauthorization: {AUTHORIZATION}\r\n"
        f"content-type: application/x-ndjson\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    answered, imported = 0, time.process_time()
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        buffer = bytearray(1 << 20)
        while time.monotonic() < until:
            connection.sendall(request)
            start, tail, rows = b"", b"", 0
            while not tail.endswith(b"\r\n0\r\n\r\n"):
                size = connection.recv_into(buffer)
                if not size:
                    raise ConnectionError("the service has closed the connection")
                piece = bytes(memoryview(buffer)[:size])
                start = start or piece
                # Every row ends with this, and nothing else in the answer does.
                rows += (tail[-2:] + piece).count(b"]}\n")
                tail = (tail + piece)[-16:]
            if not start.startswith(b"HTTP/1.1 200") or rows != ROWS:
                raise ConnectionError(f"{start[:40]!r}, {rows} rows")
            answered += rows
    done.put((answered, time.process_time() - imported))


def send_singles(seconds: float) -> list[float]:
    """Latencies of single predictions in milliseconds, sent at a steady pace by several clients in turn."""
    started = time.monotonic()
    with ThreadPoolExecutor(SINGLE_CLIENTS) as pool:
        sent = pool.map(
            lambda first: send_some(started, range(first, int(seconds / PACE), SINGLE_CLIENTS)), range(SINGLE_CLIENTS)
        )
        return [latency for latencies in sent for latency in latencies]


def send_some(started: float, numbers: range) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    headers = {"authorization": AUTHORIZATION, "content-type": "application/json"}
    body = json.dumps(EXAMPLE)
    latencies = []
    for number in numbers:
        due = started + number * PACE
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise ConnectionError(f"status {response.status}")
        latencies.append((time.monotonic() - due) * 1000)
    return latencies


async def checkpoint(postgres: psutil.Process) -> None:
    """Have a log to write into again, as a database has that has been in use, and nothing left to write.

    A new one has to make new files, of 16 MB each and three in a second at this rate, while all commits wait.
    """
    socket_folder = (Path(postgres.cwd()) / "postmaster.pid").read_text().splitlines()[4]
    connection = await asyncpg.connect(host=socket_folder, user="postgres", database="postgres")
    await connection.execute("CHECKPOINT")
    await connection.close()
    await asyncio.sleep(DISK_PAUSE)


def processor_seconds(process: psutil.Process) -> float:
    """Of it and of its children, also those that have ended."""
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    return sum(item.user + item.system for item in times) + times[0].children_user + times[0].children_system


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--clients", type=int, default=3, help="that send batches at once")
    parser.add_argument("--workers", type=int, default=2, help="of the service")
    parser.add_argument("--python", default=sys.executable, help="of an environment that has churn installed")
    arguments = parser.parse_args()

    predictor = load_predictor(read_settings({}).models_dir)
    rows = employees(predictor.info.ranges, ROWS, np.random.default_rng(0))
    body = msgspec.json.Encoder().encode_lines(list(rows))
    context = multiprocessing.get_context("spawn")

    rates, alone, meanwhile = [], [], []
    with service(arguments.python, arguments.workers) as (churn, postgres):
        send_singles(1.0)
        for round_number in range(arguments.rounds + 1):
            asyncio.run(checkpoint(postgres))
            quiet = send_singles(arguments.seconds / 2)
            done = context.Queue()
            # The first second is for the clients to start.
            until = time.monotonic() + 1.0 + arguments.seconds
            clients = [context.Process(target=send_batches, args=(body, until, done)) for _ in range(arguments.clients)]
            before = [processor_seconds(process) for process in (churn, postgres)]
            for client in clients:
                client.start()
            time.sleep(1.0)
            started = time.monotonic()
            busy: list[float] = []
            singles = threading.Thread(target=lambda into: into.extend(send_singles(arguments.seconds)), args=(busy,))
            singles.start()
            results = [done.get() for _ in clients]
            seconds = time.monotonic() - started + 1.0
            for client in clients:
                client.join()
            singles.join()
            spent = [processor_seconds(p) - b for p, b in zip((churn, postgres), before, strict=True)]
            answered = sum(rows for rows, _ in results)
            spent.append(sum(cpu for _, cpu in results))
            if round_number == 0:
                continue  # warm-up
            per_row = [value / answered * 1e6 for value in spent]
            rates.append(answered / seconds)
            alone.append(percentile(quiet, 99))
            meanwhile.append(percentile(busy, 99))
            print(
                f"{rates[-1]:9,.0f} rows/s, processor time per row: service {per_row[0]:.1f} µs,"
                f" PostgreSQL {per_row[1]:.1f} µs, clients {per_row[2]:.1f} µs;"
                f" single predictions p50/p99 {percentile(busy, 50):.1f}/{meanwhile[-1]:.1f} ms, alone"
                f" {percentile(quiet, 50):.1f}/{alone[-1]:.1f} ms",
                flush=True,
            )
    single_rate = 1000 / statistics.median(percentile([value], 50) for value in quiet)
    for label, value, target in (
        ("rows/s in batches", statistics.median(rates), ">= 100,000"),
        ("batches / singles one by one", statistics.median(rates) / single_rate, ""),
        ("p99 of singles meanwhile (ms)", statistics.median(meanwhile), "<= 50"),
        ("the same / p99 alone", statistics.median(meanwhile) / statistics.median(alone), ""),
    ):
        print(f"{label:<32} {value:12,.1f}   {target and 'target ' + target}")


if __name__ == "__main__":
    main()
