"""Two replicas against one, and ten times the history: `python -m bench.scaling`.

Where there are four cores each replica has one for itself, wrk and PostgreSQL have the others, and requests/s tell how
it scales. On fewer the replicas share the first, and the processor time per request tells whether a request costs more
for its being answered by one of two. PostgreSQL's time is stated apart.

The longer history is a second database of the same PostgreSQL, with a replica of its own. All rounds alternate.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psutil
import uvloop

from bench.console import PASSWORD, fill
from bench.peers.compare import Machine, Peer, closed, pin, processor_seconds, running, wrk_script
from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.http.predictions import EXAMPLE
from churn.settings import Settings


async def databases(postgres: EmbeddedPostgres, rows: list[int]) -> list[str]:
    """The URLs of a database each, with so many predictions."""
    folder = postgres.url.partition("host=")[2].replace("%2F", "/")
    connection = await asyncpg.connect(host=folder, user="postgres", database="postgres")
    urls = []
    for number in rows:
        await connection.execute(f"CREATE DATABASE rows_{number}")
        urls.append(postgres.url.replace("/postgres?", f"/rows_{number}?"))
        await fill(Settings(database_url=urls[-1], admin_password=PASSWORD), number)
    await connection.execute("CHECKPOINT")
    await connection.close()
    return urls


async def measure(
    arguments: argparse.Namespace, machine: Machine, cases: dict[str, list[tuple[Peer, psutil.Process]]],
    scripts: dict[str, Path], postmaster: psutil.Process,
) -> dict[str, list[dict[str, float]]]:  # fmt: skip
    """Rounds of each case: all of its replicas under load at one time."""
    results: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for number in range(1 + arguments.rounds):
        for case, replicas in cases.items():

            async def load(replicas: list[tuple[Peer, psutil.Process]] = replicas) -> dict[str, float]:
                before = [sum(processor_seconds(process) for _, process in replicas), processor_seconds(postmaster)]
                answers = await asyncio.gather(
                    *(closed(peer, scripts[peer.name], arguments.seconds) for peer, _ in replicas)
                )
                after = [sum(processor_seconds(process) for _, process in replicas), processor_seconds(postmaster)]
                rps = sum(answer["rps"] for answer in answers)
                service, database = (
                    (then - first) / (rps * arguments.seconds) * 1e6 for first, then in zip(before, after, strict=True)
                )
                return {
                    "rps": rps, "service_us": service, "database_us": database, "p99": max(a["p99"] for a in answers),
                    "errors": sum(answer["errors"] for answer in answers),
                }  # fmt: skip

            result, others = await machine.alone(load, arguments.attempts)
            if number:  # the first warms up
                results[case].append(result)
                rounded = {key: round(value, 1) for key, value in result.items()}
                print(f"{case:<12} {json.dumps(rounded)} others {others:.2f}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each round and case")
    parser.add_argument("--rows", type=int, default=100_000, help="of the history; and ten times as many")
    parser.add_argument("--attempts", type=int, default=4, help="at a round in which others leave the machine alone")
    parser.add_argument("--python", default=sys.executable, help="of an environment that has churn installed")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: install your distribution's package of that name")
    cores = list(range(os.cpu_count() or 1))
    apart = len(cores) >= 4
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # as root, PostgreSQL runs as another user
        postgres = EmbeddedPostgres(folder / "data")
        stack.enter_context(postgres.running())
        few, many = asyncio.run(databases(postgres, [arguments.rows, 10 * arguments.rows]))
        churn = str(Path(arguments.python).with_name("churn"))
        replicas: dict[str, tuple[Peer, psutil.Process]] = {}
        scripts = {}
        for number, (replica, url) in enumerate({"one": few, "two": few, "long": many}.items()):
            environ = {"CHURN_ADMIN_PASSWORD": PASSWORD, "CHURN_DATABASE_URL": url, "CHURN_PORT": str(8196 + number)}
            peer = Peer(replica, 8196 + number, [churn, "serve"], environ, "/readyz", "/predict", json.dumps(EXAMPLE))
            process = stack.enter_context(running(peer, folder / f"{replica}.log"))
            pin(process, [1] if apart and replica == "two" else [0])
            replicas[replica] = peer, process
            scripts[replica] = folder / f"{replica}.lua"
            scripts[replica].write_text(wrk_script(peer))
        postmaster = psutil.Process(postgres.pid)
        others = cores[2:] if apart else cores[1:] or cores
        pin(postmaster, others)
        os.sched_setaffinity(0, others)
        machine = Machine([*(process for _, process in replicas.values()), postmaster])
        cases = {
            "one": [replicas["one"]],
            "two": [replicas["one"], replicas["two"]],
            "ten times": [replicas["long"]],
        }
        results = asyncio.run(
            measure(arguments, machine, cases, scripts, postmaster), loop_factory=uvloop.new_event_loop
        )

    def ratio(case: str, key: str) -> float:
        pairs = zip(results[case], results["one"], strict=True)
        return statistics.median(theirs[key] / ours[key] for theirs, ours in pairs)

    print("\nto one replica with the shorter history; medians over the rounds")
    print("| | requests/s | processor time per request, service | PostgreSQL | p99 |")
    print("|---|---|---|---|---|")
    for case, label in (
        ("two", "two replicas"),
        ("ten times", f"{10 * arguments.rows:,} rows, not {arguments.rows:,}"),
    ):
        figures = [f"{ratio(case, key):.3f}" for key in ("rps", "service_us", "database_us", "p99")]
        print(f"| {label} | {' | '.join(figures)} |")
    print(f"two replicas, by processor time per request: {2 / ratio('two', 'service_us'):.2f} times one; target >= 1.8")


if __name__ == "__main__":
    main()
