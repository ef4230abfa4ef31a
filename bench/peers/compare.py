"""churn beside other ways to serve the same prediction: `python -m bench.peers.compare`.

Every server has the first core for itself, with all its processes; wrk and PostgreSQL have the others. Rounds
alternate, so that a slow minute slows all. The closed loop (wrk, 32 connections, each sends its next request when it
has its answer) measures capacity; its percentiles are those of a client that waits, which is coordinated omission. The
open loop sends at a stated rate, whatever comes back, and measures from the moment at which a request was due.
"""

import argparse
import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from bench.serving import CONNECTIONS, PASSWORD
from churn.http.predictions import EXAMPLE

HERE = Path(__file__).parent
BASIC = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
FEATURES = [float(value) if value not in ("Oui", "Non") else float(value == "Oui") for value in EXAMPLE.values()][:11]


class Peer(NamedTuple):
    name: str
    port: int
    command: list[str]
    environ: dict[str, str]
    probe: str
    path: str
    body: str
    folder: Path | None = None


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def processor_seconds(process: psutil.Process) -> float:
    return sum(times.user + times.system for times in (one.cpu_times() for one in tree(process)))


@contextmanager
def running(peer: Peer, log: Path) -> Iterator[psutil.Process]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            peer.command, env=os.environ | peer.environ, cwd=peer.folder, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{peer.port}{peer.probe}", timeout=1).status_code in (
                    200,
                    401,
                    404,
                    405,
                ):
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{peer.name} does not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pin(process: psutil.Process, cores: list[int]) -> None:
    for one in tree(process):
        one.cpu_affinity(cores)


def closed(peer: Peer, script: Path, seconds: int) -> dict[str, float]:
    url = f"http://127.0.0.1:{peer.port}{peer.path}"
    output = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", script, url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(output[output.rindex("{") :])


def settle(processes: Collection[psutil.Process]) -> None:
    """Wait until no server works on: the original has half a minute of hashing left when its clients have gone."""
    deadline = time.monotonic() + 60
    before = -1.0
    while (now := sum(map(processor_seconds, processes))) - before > 0.05 and time.monotonic() < deadline:
        before = now
        time.sleep(0.5)


def wrk_script(peer: Peer) -> str:
    return f"""
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Basic {BASIC}"
wrk.body = '{peer.body}'
done = function(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format('{{"rps":%.2f,"p50":%.3f,"p99":%.3f,"errors":%d}}',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors))
end
"""


async def opened(peer: Peer, rate: int, seconds: int) -> dict[str, float]:
    """Requests that are due at `rate` per second; milliseconds from when each was due to when it was answered."""
    free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
    head = f"POST {peer.path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {BASIC}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(peer.body.encode())}\r\n\r\n{peer.body}".encode()
    taken: list[float] = []
    failed = 0

    async def ask(due: float) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port) if free.empty() else free.get_nowait()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(size.partition(b":")[2]))
        taken.append((time.perf_counter() - due) * 1e3)
        failed += not answer.startswith(b"HTTP/1.1 200")
        free.put_nowait((reader, writer))

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(rate * seconds):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(ask(due))
    while not free.empty():
        free.get_nowait()[1].close()
    taken.sort()
    return {"p50": taken[len(taken) // 2], "p99": taken[int(len(taken) * 0.99)], "errors": failed}


def peers(python: str, folder: Path) -> list[Peer]:
    uvicorn = [
        "-m",
        "uvicorn",
        "--loop=uvloop",
        "--http=httptools",
        "--ws=none",
        "--no-access-log",
        "--log-level=error",
    ]
    example = json.dumps(EXAMPLE)
    build = Path("build").absolute()
    tensor = {"name": "features", "shape": [1, len(FEATURES)], "datatype": "FP64", "data": FEATURES}
    for name in ("mlserver", "bentoml", "original"):
        arguments = ["--frame"] if name == "original" else []
        fit = [build / f"peers-{name}/bin/python", HERE / "fit.py", folder / f"{name}.joblib", *arguments]
        subprocess.run(fit, check=True)
    models = folder / "mlserver"
    models.mkdir()
    (models / "settings.json").write_text(
        json.dumps({"http_port": 8193, "grpc_port": 8293, "metrics_port": 8393, "host": "127.0.0.1"})
    )
    settings = {"implementation": "mlserver_sklearn.SKLearnModel", "name": "attrition"}
    parameters = {"uri": str(folder / "mlserver.joblib"), "version": "1"}
    (models / "model-settings.json").write_text(json.dumps(settings | {"parameters": parameters}))
    churn_environ = {"CHURN_ADMIN_PASSWORD": PASSWORD, "CHURN_DATA_DIR": f"{folder}/data", "CHURN_PORT": "8192"}
    return [
        Peer(
            "churn", 8192, [str(Path(python).with_name("churn")), "serve"], churn_environ,
            "/readyz", "/predict", example,
        ),
        Peer("bare", 8191, [python, *uvicorn, "--port=8191", "bench.bare:app"], {}, "/", "/predict", example),
        Peer(
            "mlserver", 8193, [str(build / "peers-mlserver/bin/mlserver"), "start", "."], {},
            "/v2/models/attrition/ready", "/v2/models/attrition/infer",
            json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}), models,
        ),
        Peer(
            "bentoml", 8194,
            [str(build / "peers-bentoml/bin/bentoml"), "serve", "bentoml_service:Attrition", "--port", "8194"],
            {"PEER_MODEL": str(folder / "bentoml.joblib"), "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder)},
            "/readyz", "/predict", json.dumps({"features": [FEATURES]}), HERE,
        ),
        Peer(
            "original", 8195,
            [str(build / "peers-original/bin/python"), "-m", "uvicorn", "--port=8195", "--no-access-log",
             "original:app"],
            {"ORIGINAL_MODEL": str(folder / "original.joblib"), "ORIGINAL_PASSWORD": PASSWORD}, "/ready",
            "/predict", example, HERE,
        ),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each round and server")
    parser.add_argument("--rate", type=int, default=200, help="requests per second of the open loop")
    parser.add_argument("--python", default=sys.executable, help="of an environment that has churn installed")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: install your distribution's package of that name")
    cores = list(range(os.cpu_count() or 1))
    others = cores[1:] or cores
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # as root, PostgreSQL runs as another user
        servers: dict[str, psutil.Process] = {}
        found = peers(arguments.python, folder)
        for peer in found:
            environ = peer.environ
            if peer.name == "original":
                socket = next(folder.glob("data/*/postmaster.pid")).read_text().splitlines()[4]
                environ = environ | {"ORIGINAL_DATABASE_URL": f"postgresql+psycopg://postgres@/postgres?host={socket}"}
            log = folder / f"{peer.name}.log"
            servers[peer.name] = stack.enter_context(running(peer._replace(environ=environ), log))
            pin(servers[peer.name], cores[:1])
        postmaster = psutil.Process(int(next(folder.glob("data/*/postmaster.pid")).read_text().split()[0]))
        pin(postmaster, others)
        psutil.Process().cpu_affinity(others)
        results: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in found}
        scripts = {peer.name: folder / f"{peer.name}.lua" for peer in found}
        for peer in found:
            scripts[peer.name].write_text(wrk_script(peer))
            closed(peer, scripts[peer.name], 1)  # warm up
        settle(servers.values())
        for _ in range(arguments.rounds):
            for peer in found:
                before = processor_seconds(servers[peer.name])
                # The original answers a few requests in a second: it needs more of them to be measured.
                seconds = arguments.seconds * (5 if peer.name == "original" else 1)
                result = closed(peer, scripts[peer.name], seconds)
                used = processor_seconds(servers[peer.name]) - before
                result["cpu_us"] = used / (result["rps"] * seconds) * 1e6 if result["rps"] else float("inf")
                results[peer.name].append(result)
                settle(servers.values())
                print(f"{peer.name:<9} closed {json.dumps(result)}", flush=True)
        open_loop = {}
        for peer in found:
            if peer.name != "original":  # which would not get far
                open_loop[peer.name] = asyncio.run(opened(peer, arguments.rate, arguments.seconds))
                print(f"{peer.name:<9} open   {json.dumps(open_loop[peer.name])}", flush=True)

    print("\nchurn, with accounts and durable history, to each; medians over the rounds")
    print(f"| to | requests/s | processor time per request | p99, closed loop | p99, open loop at {arguments.rate}/s |")
    print("|---|---|---|---|---|")
    for other, theirs in results.items():
        if other != "churn":
            ratios = [
                statistics.median(
                    a[key] / (b[key] or float("nan")) for a, b in zip(results["churn"], theirs, strict=True)
                )
                for key in ("rps", "cpu_us", "p99")
            ]
            late = open_loop["churn"]["p99"] / open_loop[other]["p99"] if other in open_loop else float("nan")
            print(f"| {other} | {ratios[0]:.2f} | {ratios[1]:.3f} | {ratios[2]:.3f} | {late:.3f} |")


if __name__ == "__main__":
    main()
