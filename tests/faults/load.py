"""Many clients at little cost: httpx would be busier than the service that it is to load."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.builders import LEAVER
from tests.e2e.service import PASSWORD, USERNAME, Service

#: Seconds before a client that was refused, or found nobody, asks again.
PAUSE = 0.05


def basic(username: str = USERNAME, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    """From before the request was sent until the whole answer was there."""

    @property
    def id(self) -> str:
        return json.loads(self.body)["id"]


class Connection:
    """One HTTP/1.1 connection, opened when there is none."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Raises OSError or EOFError if the service went away before it had answered."""
        started = time.perf_counter()
        lines = {"host": "127.0.0.1", "authorization": basic(), "content-type": "application/json"}
        lines |= dict(headers or {}) | {"content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self._streams
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            status_line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            answer = await reader.readexactly(int(found.get("content-length", 0)))
            if found.get("connection") == "close":
                self.close()
        except BaseException:
            self.close()
            raise
        return Answer(int(status_line.split()[1]), found, answer, time.perf_counter() - started)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Record:
    """What the clients of `predicting` were told."""

    confirmed: dict[str, str] = field(default_factory=dict)
    """The id that each request, named by its `employee_ref`, was answered with."""
    attempts: dict[str, int] = field(default_factory=dict)
    """How often each request was sent, by `employee_ref`."""
    answers: list[Answer] = field(default_factory=list)
    """Every answer, in the order in which they came."""

    @property
    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]


@asynccontextmanager
async def predicting(*services: Service, clients: int = 16) -> AsyncIterator[Record]:
    """Let `clients` ask for one prediction after another meanwhile, each until it is answered with 200.

    A client that is refused, or hears nothing, asks the next of `services` for the same, under the same key.
    """
    record = Record()
    enough = False

    async def ask(client: int) -> None:
        connections = [Connection(service.port) for service in services]
        turn = client
        for number in range(1_000_000):
            if enough:
                break
            reference = f"E-{client}-{number}"
            body = json.dumps(LEAVER | {"employee_ref": reference}).encode()
            key = {"idempotency-key": f'"{reference}-of-the-fault-tests"'}
            while True:
                record.attempts[reference] = record.attempts.get(reference, 0) + 1
                answer = None
                with suppress(OSError, EOFError):
                    answer = await connections[turn % len(services)].ask("POST", "/predict", body, key)
                    record.answers.append(answer)
                if answer is not None and answer.status == 200:
                    record.confirmed[reference] = answer.id
                    break
                if enough:
                    break
                turn += 1
                await asyncio.sleep(PAUSE)
        for connection in connections:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for client in range(clients):
            group.create_task(ask(client))
        try:
            yield record
        finally:
            enough = True


async def rows(service: Service) -> dict[str, list[str]]:
    """The ids in the history, by `employee_ref`."""
    found: dict[str, list[str]] = {}
    parameters: dict[str, Any] = {"limit": 1000}
    async with service.client() as client:
        while True:
            page = (await client.get("/predictions", params=parameters)).raise_for_status().json()
            for item in page["items"]:
                found.setdefault(item["employee"].get("employee_ref", ""), []).append(item["id"])
            if page["next_cursor"] is None:
                return found
            parameters["cursor"] = page["next_cursor"]


def percentile(answers: list[Answer], percent: float, *, of: Callable[[Answer], bool] = lambda _: True) -> float:
    """Seconds within which so many of the answers came."""
    seconds = sorted(answer.seconds for answer in answers if of(answer))
    return seconds[min(len(seconds) - 1, int(len(seconds) * percent / 100))]
