"""churn beside other ways to serve the same prediction: `python -m bench.peers.compare`.

Every server has the first core for itself, with all its processes and threads; the load and PostgreSQL have the others.
Rounds alternate, so that a slow minute slows all. The closed loop (wrk, 32 connections, each sends its next request
when it has its answer) measures capacity; its percentiles are those of a client that waits, which is coordinated
omission. The open loop sends at a stated rate, whatever comes back, and measures from the moment at which a request was
due; `sent` is how late it was sent itself, at most, in 99 of 100 cases. `others` is what processes that take no part
had of the machine meanwhile, in cores: a round in which that is much is measured again, a few times.
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
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import uvloop

from bench.serving import CONNECTIONS, PASSWORD
from churn.http.predictions import EXAMPLE

HERE = Path(__file__).parent
BASIC = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
FEATURES = [float(value) if value not in ("Oui", "Non") else float(value == "Oui") for value in EXAMPLE.values()][:11]


#: Cores that processes which take no part may have of the machine while something is measured.
MOST_FOR_OTHERS = 0.1

type Results = dict[str, list[dict[str, float]]]


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


def seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def processor_seconds(process: psutil.Process) -> float:
    return sum(map(seconds, tree(process)))


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
    """Keep `process` and its children, and all their threads, to `cores`."""
    for one in tree(process):
        for thread in one.threads():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, cores)


class Machine:
    """What the machine does beside the processes that take part: these servers, and this one with its children."""

    def __init__(self, servers: Collection[psutil.Process]) -> None:
        self._parts = [psutil.Process(), *servers]

    def _busy(self) -> float:
        times = psutil.cpu_times()
        ended = psutil.Process().cpu_times()  # the children that have ended are no longer in the tree
        parts = {process for part in self._parts for process in tree(part)}  # some are children of others
        ours = sum(seconds(process) for process in parts) + ended.children_user + ended.children_system
        return times.user + times.nice + times.system + times.irq + times.softirq - ours

    async def alone[T](self, measure: Callable[[], Awaitable[T]], attempts: int) -> tuple[T, float]:
        """What `measure` comes to, and the cores that others had meanwhile; again while that is too much."""
        for attempt in range(1, attempts + 1):
            before, started = self._busy(), time.monotonic()
            result = await measure()
            others = max(0.0, (self._busy() - before) / (time.monotonic() - started))
            if others <= MOST_FOR_OTHERS or attempt == attempts:
                break
        return result, others


async def closed(peer: Peer, script: Path, seconds: int) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", script),
        f"http://127.0.0.1:{peer.port}{peer.path}",
        stdout=asyncio.subprocess.PIPE,
    )
    output = (await process.communicate())[0].decode()
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
    # The one that has idled for longest first: servers close those that nobody has used for some seconds.
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    head = f"POST {peer.path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {BASIC}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(peer.body.encode())}\r\n\r\n{peer.body}".encode()
    taken: list[float] = []
    late: list[float] = []
    failed = 0

    async def ask(due: float) -> None:
        nonlocal failed
        late.append((time.perf_counter() - due) * 1e3)
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

    def percentile(values: list[float], share: float) -> float:
        return round(sorted(values)[int(len(values) * share)], 3)

    return {
        "p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99), "sent": percentile(late, 0.99), "errors": failed,
    }  # fmt: skip


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
    # As it ships, with a pool of one worker; and what suits one core better: no pool, and no access log either.
    inline = {"debug": False, "parallel_workers": 0}
    for number, (name, changes) in enumerate({"mlserver": {}, "mlserver-inline": inline}.items()):
        models = folder / name
        models.mkdir()
        ports = {"http_port": 8393 + number, "grpc_port": 8493 + number, "metrics_port": 8593 + number}
        (models / "settings.json").write_text(json.dumps(ports | {"host": "127.0.0.1"} | changes))
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
        *(
            Peer(
                name, 8393 + number, [str(build / "peers-mlserver/bin/mlserver"), "start", "."], {},
                "/v2/models/attrition/ready", "/v2/models/attrition/infer",
                json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}), folder / name,
            )
            for number, name in enumerate(("mlserver", "mlserver-inline"))
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


async def measure(
    arguments: argparse.Namespace, found: list[Peer], servers: dict[str, psutil.Process], machine: Machine, folder: Path
) -> tuple[Results, dict[int, Results]]:
    """The rounds of the closed loop by server, and those of the open one by rate and server."""
    scripts = {peer.name: folder / f"{peer.name}.lua" for peer in found}
    for peer in found:
        scripts[peer.name].write_text(wrk_script(peer))
        await closed(peer, scripts[peer.name], 1)  # warm up
    settle(servers.values())
    results: Results = {peer.name: [] for peer in found}
    for _ in range(arguments.rounds):
        for peer in found:
            # The original answers a few requests in a second: it needs more of them to be measured.
            seconds = arguments.seconds * (5 if peer.name == "original" else 1)

            async def load(peer: Peer = peer, seconds: int = seconds) -> dict[str, float]:
                await closed(peer, scripts[peer.name], 1)  # whoever has not asked for a minute signs in
                settle([servers[peer.name]])
                before = processor_seconds(servers[peer.name])
                result = await closed(peer, scripts[peer.name], seconds)
                used = processor_seconds(servers[peer.name]) - before
                return result | {"cpu_us": used / (result["rps"] * seconds) * 1e6 if result["rps"] else float("inf")}

            result, others = await machine.alone(load, arguments.attempts)
            results[peer.name].append(result)
            settle(servers.values())
            print(f"{peer.name:<15} closed {json.dumps(result)} others {others:.2f}", flush=True)
    # The original would not get far.
    rates: dict[int, Results] = {
        rate: {peer.name: [] for peer in found if peer.name != "original"} for rate in arguments.rates
    }
    for rate, open_loop in rates.items():
        for _ in range(arguments.rounds):
            for peer in found:
                if peer.name not in open_loop:
                    continue
                await opened(peer, rate, 1)  # whoever has not asked for a minute signs in
                result, others = await machine.alone(partial(opened, peer, rate, arguments.seconds), arguments.attempts)
                open_loop[peer.name].append(result)
                print(f"{peer.name:<15} {rate}/s {json.dumps(result)} others {others:.2f}", flush=True)
    return results, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each round and server")
    parser.add_argument("--rates", type=int, nargs="*", default=[200, 1000], help="requests/s of the open loops")
    parser.add_argument("--attempts", type=int, default=4, help="at a round in which others leave the machine alone")
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
        os.sched_setaffinity(0, others)
        machine = Machine([*servers.values(), postmaster])
        results, rates = asyncio.run(
            measure(arguments, found, servers, machine, folder), loop_factory=uvloop.new_event_loop
        )

    print("\nchurn, with accounts and durable history, to each; medians over the rounds")
    print("| to | requests/s | processor time per request | p99, closed loop |")
    print("|---|---|---|---|")
    for other, theirs in results.items():
        if other != "churn":
            ratios = [
                statistics.median(
                    a[key] / (b[key] or float("nan")) for a, b in zip(results["churn"], theirs, strict=True)
                )
                for key in ("rps", "cpu_us", "p99")
            ]
            print(f"| {other} | {ratios[0]:.2f} | {ratios[1]:.4f} | {ratios[2]:.3f} |")
    print("\nopen loop, milliseconds, medians over the rounds")
    print(f"| | {' | '.join(f'p50 at {rate}/s | p99 at {rate}/s' for rate in rates)} |")
    print("|---" * (1 + 2 * len(rates)) + "|")
    for name in next(iter(rates.values()), {}):
        figures = [
            f"{statistics.median(r[key] for r in rounds[name]):.1f}"
            for rounds in rates.values()
            for key in ("p50", "p99")
        ]
        print(f"| {name} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
