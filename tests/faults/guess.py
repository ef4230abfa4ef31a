"""A crowd that guesses passwords, all at once: `python -m tests.faults.guess PORT FIRST`."""

import asyncio
import json
import sys

from tests.faults.load import Connection, basic

CROWD = 500


async def guess(port: int, number: int) -> int:
    connection = Connection(port)
    try:
        headers = {"authorization": basic(f"user-{number}", "wrong"), "x-forwarded-for": f"198.18.{number % 250}.7"}
        return (await connection.ask("GET", "/predictions", headers=headers)).status
    finally:
        connection.close()


async def guess_all(port: int, first: int) -> list[int]:
    return await asyncio.gather(*(guess(port, number) for number in range(first, first + CROWD)))


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(json.dumps(asyncio.run(guess_all(int(sys.argv[1]), int(sys.argv[2])))))  # noqa: T201
