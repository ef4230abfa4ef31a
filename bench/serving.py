"""The prediction path against a bare endpoint: `python -m bench.serving`.

Both run one uvicorn worker with the same loop and parser, pinned to one core; wrk and PostgreSQL have the
rest. Rounds alternate, so that a slow minute of the machine slows both. The load is closed-loop: each of the
32 connections sends its next request when it has its answer, so the percentiles say nothing of an overload.
"""

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import numpy as np
import psutil

from bench.model import employees
from churn.adapters.joblib_model.predictor import load_predictor
from churn.settings import read_settings

PASSWORD = "a password for the bench"
CONNECTIONS = 32
PORTS = {"bare": 8191, "churn": 8192}


def script(bodies: Sequence[str]) -> str:
    """For wrk: the bodies in turn, all different, because what is remembered of one says little of the next."""
    return f"""
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Basic {base64.b64encode(f"admin:{PASSWORD}".encode()).decode()}"
local bodies = {{ {", ".join(f"'{body}'" for body in bodies)} }}
local requests, turn = {{}}, 0
init = function()
  for number, body in ipairs(bodies) do
    requests[number] = wrk.format(nil, nil, nil, body)
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format('{{"rps":%.1f,"p50":%.3f,"p99":%.3f,"errors":%d}}',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors))
end
"""


def share_cores(server: psutil.Process, postmaster: psutil.Process | None = None) -> None:
    """The server gets the first core for itself; this process, so that wrk does too, and PostgreSQL the others."""
    cores = list(range(os.cpu_count() or 1))
    if len(cores) > 1 and hasattr(server, "cpu_affinity"):
        server.cpu_affinity(cores[:1])
        others = [psutil.Process()] + ([postmaster, *postmaster.children()] if postmaster else [])
        for process in others:
            process.cpu_affinity(cores[1:])


def processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def server(name: str, command: list[str], env: dict[str, str], probe: str) -> Iterator[tuple[psutil.Process, float]]:
    """A server process and the seconds from its start to its first 200."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{PORTS[name]}{probe}", timeout=1).status_code < 500:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None:
                sys.exit(f"{name} ended with {process.returncode}")
            time.sleep(0.01)
        yield psutil.Process(process.pid), time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(15)


def load(name: str, script: str, seconds: int) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{PORTS[name]}/predict"], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output[output.rindex("{") :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each round and server")
    parser.add_argument("--python", default=sys.executable, help="of an environment that has churn installed")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: install your distribution's package of that name")

    ranges = load_predictor(read_settings({}).models_dir).info.ranges
    bodies = [msgspec.json.encode(employee).decode() for employee in employees(ranges, 2000, np.random.default_rng(0))]
    uvicorn = ["uvicorn", "--loop=uvloop", "--http=httptools", "--ws=none", "--no-access-log", "--log-level=error"]
    bare = [arguments.python, "-m", *uvicorn, "--no-server-header", f"--port={PORTS['bare']}", "bench.bare:app"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "load.lua").write_text(script(bodies))
        churn_env = {
            "CHURN_ADMIN_PASSWORD": PASSWORD,
            "CHURN_DATA_DIR": f"{folder}/data",
            "CHURN_PORT": str(PORTS["churn"]),
        }
        churn = [str(Path(arguments.python).with_name("churn")), "serve"]
        with server("churn", churn, churn_env, "/readyz") as (_, first_start):
            pass
        with (
            server("bare", bare, {}, "/predict") as (bare_process, _),
            server("churn", churn, churn_env, "/readyz") as (churn_process, next_start),
        ):
            pid = next(Path(folder, "data").glob("*/postmaster.pid")).read_text().split()[0]
            share_cores(bare_process)
            share_cores(churn_process, psutil.Process(int(pid)))
            results: dict[str, list[dict[str, float]]] = {"bare": [], "churn": []}
            load_script = str(Path(folder, "load.lua"))
            for name in results:
                load(name, load_script, 2)  # warm up
            processes = {"bare": bare_process, "churn": churn_process}
            resident = []
            for _ in range(arguments.rounds):
                for name, rounds in results.items():
                    before = processor_seconds(processes[name])
                    rounds.append(load(name, load_script, arguments.seconds))
                    used = processor_seconds(processes[name]) - before
                    rounds[-1]["cpu_us"] = round(used / (rounds[-1]["rps"] * arguments.seconds) * 1e6, 1)
                    print(name, rounds[-1], flush=True)
                resident.append(churn_process.memory_info().rss / 2**20)
            # A password hash takes 64 MiB more for as long as it lasts, and one may be under way at any moment.
            memory, most_memory = statistics.median(resident), max(resident)

    def ratio(key: str) -> float:
        return statistics.median(
            ours[key] / theirs[key] for ours, theirs in zip(results["churn"], results["bare"], strict=True)
        )

    errors = sum(item["errors"] for rounds in results.values() for item in rounds)
    for label, value, target in (
        ("requests/s, churn / bare", ratio("rps"), ">= 0.75"),
        ("processor time, bare / churn", 1 / ratio("cpu_us"), "the same, less disturbed by a busy machine"),
        ("p99, churn / bare", ratio("p99"), "<= 2.5"),
        ("start to ready, first (s)", first_start, "<= 3"),
        ("start to ready, later (s)", next_start, "<= 3"),
        ("resident memory (MiB)", memory, "<= 200"),
        ("at most, perhaps hashing", most_memory, "none: printed"),
        ("failed requests", errors, "0"),
    ):
        print(f"{label:<28} {value:8.2f}   target {target}")


if __name__ == "__main__":
    main()
