"""Clients that take their time, or go away before they have said what they want."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import structlog.testing
import uvicorn
from litestar.types import ASGIApp, Receive, Scope, Send

from churn.http.protocol import LARGEST_HEAD, OnePiece, PunctualProtocol

#: Seconds: far less than any test waits, far more than a request on the same machine takes to arrive.
PATIENCE = 0.5
#: Seconds that a busy machine may add.
BUSY = 20.0
REQUEST = b"POST / HTTP/1.1\r\nhost: churn.test\r\n"


class Recorder:
    """An application that reads the whole body and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.begun = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.answer = b""

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        self.begun.set()
        await self.may_read.wait()
        body = b""
        while True:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        length = (b"content-length", b"%d" % len(self.answer))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        if not self.may_finish.is_set():
            await self.may_finish.wait()
        await send({"type": "http.response.body", "body": self.answer, "more_body": False})


type Connect = Callable[[], Any]


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def connect(recorder: Recorder) -> AsyncIterator[Connect]:
    """Opens a connection to a server that has `PATIENCE`."""
    config = uvicorn.Config(
        recorder,
        port=0,
        lifespan="off",
        log_config=None,
        http=partial(PunctualProtocol, arrival_timeout=PATIENCE),  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]

    @asynccontextmanager
    async def connect() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()

    yield connect
    await server.shutdown()


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST / HT", REQUEST, REQUEST + b"content-length: 9\r\n\r\n", REQUEST + b"content-length: 9\r\n\r\n{"],
    ids=["nothing", "half a line", "half a head", "no body", "half a body"],
)
async def test_who_does_not_go_on_is_hung_up_on(connect: Connect, recorder: Recorder, sent: bytes) -> None:
    """A request that does not arrive ends with its connection, wherever it stopped, and was never answered."""
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        writer.write(sent)
        assert await reader.read() == b""
    assert recorder.bodies == []


@pytest.mark.parametrize(
    "framing",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}}",
        b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"content-length: +2\r\n\r\n{}",
    ],
    ids=["length and chunked", "chunked and length", "two lengths", "not chunked at last", "a signed length"],
)
async def test_what_two_servers_could_read_differently_is_refused(
    connect: Connect, recorder: Recorder, framing: bytes
) -> None:
    """A message whose end is in doubt is answered with 400 and the end of the connection: nothing is smuggled in."""
    smuggled = REQUEST + b"content-length: 0\r\n\r\n"
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        writer.write(REQUEST + framing + smuggled)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert recorder.bodies == []


async def test_dribbling_does_not_help(connect: Connect) -> None:
    """A client that sends a byte now and then, as slowloris does, is hung up on as well."""
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        writer.write(REQUEST)

        async def dribble() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(PATIENCE / 10)

        dribbling = asyncio.create_task(dribble())
        assert await reader.read() == b""
        dribbling.cancel()


async def test_a_later_request_has_its_own_time(connect: Connect, recorder: Recorder) -> None:
    """On a connection that has been of use the time begins with the request, and ends with its arrival."""
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        for _ in range(2):
            for part in (REQUEST, b"content-length: 2\r\n\r\n", b"ab"):
                writer.write(part)
                await asyncio.sleep(PATIENCE / 10)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(REQUEST)
        assert await reader.read() == b""
    assert recorder.bodies == [b"ab", b"ab"]


async def test_the_service_may_take_its_own_time(connect: Connect, recorder: Recorder) -> None:
    """A body that waits because the service does not read on is not late."""
    size = 1 << 20
    recorder.may_read.clear()
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        writer.write(REQUEST + b"content-length: %d\r\n\r\n" % size + bytes(size))
        await recorder.begun.wait()
        await asyncio.sleep(3 * PATIENCE)
        recorder.may_read.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert [len(body) for body in recorder.bodies] == [size]


async def test_a_head_has_a_largest_size(connect: Connect, recorder: Recorder) -> None:
    """A head without end is refused before it fills the memory."""
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        writer.write(REQUEST + b"x: " + bytes(b"y" * 2 * LARGEST_HEAD))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert recorder.bodies == []


class RecordingTransport(asyncio.Transport):
    """Remembers what was written, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False


async def test_an_answer_leaves_in_one_piece() -> None:
    """Head and body of an answer are written at once; what follows is written as it comes."""
    transport = RecordingTransport()
    one_piece = OnePiece(transport, asyncio.get_running_loop())
    for part in (b"HTTP/1.1 200 OK\r\n\r\n", b"body", b"more"):
        one_piece.write(part)
    await asyncio.sleep(0)
    assert transport.written == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]


async def test_a_head_does_not_wait_for_its_body(connect: Connect, recorder: Recorder) -> None:
    """The head of an answer whose body takes its time is there at once, and the body when it comes."""
    recorder.answer = b"kept"
    recorder.may_finish.clear()
    async with connect() as (reader, writer), asyncio.timeout(BUSY):
        writer.write(REQUEST + b"content-length: 0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        recorder.may_finish.set()
        assert await reader.readexactly(4) == b"kept"


async def test_an_answer_may_end_its_connection(connect: Connect, recorder: Recorder) -> None:
    """Who asks for one answer and the end of the connection gets both, also when there is no body."""
    for answer in (b"", b"kept"):
        recorder.answer = answer
        async with connect() as (reader, writer), asyncio.timeout(BUSY):
            writer.write(REQUEST + b"connection: close\r\ncontent-length: 0\r\n\r\n")
            whole = await reader.read()
            assert whole.startswith(b"HTTP/1.1 200")
            assert whole.endswith(b"\r\n\r\n" + answer)


def leaving(*messages: bytes) -> Receive:
    """What a server hears from a client that sends the beginning of a body, and goes away."""
    heard: list[Any] = [{"type": "http.request", "body": body, "more_body": True} for body in messages]
    heard.append({"type": "http.disconnect"})

    async def receive() -> Any:
        return heard.pop(0)

    return receive


@pytest.mark.parametrize("body", [(), (b"",), (b'{"age": 4', b"1,")], ids=["nothing", "an empty part", "a half"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/outcomes", "/users", "/console/sign-in"])
async def test_a_client_that_leaves_is_no_failure(
    app: ASGIApp, client: httpx.AsyncClient, admin: httpx.AsyncClient, path: str, body: tuple[bytes, ...]
) -> None:
    """A client that goes away before its body is there leaves neither a line that says error nor a 5xx."""
    request = httpx.Request("POST", f"http://churn.test{path}", headers={"content-type": "application/json"})
    auth = (admin if path == "/users" else client).auth
    assert auth is not None
    request = next(auth.sync_auth_flow(request))
    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    with structlog.testing.capture_logs() as logs:
        await app(scope, leaving(*body), send)
    assert [line for line in logs if line["log_level"] == "error"] == []
    assert sent[0]["status"] < 500
