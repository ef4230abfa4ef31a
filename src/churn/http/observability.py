"""A request id, a log line, a measurement and headers for every request, matched by a route or not."""

import asyncio
import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult

import msgspec
import structlog
import uuid_utils
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from churn.http.headers import header, ignore_header
from churn.http.metrics import Metrics

#: What we repeat of a client's `X-Request-ID`: enough for any tracing system, nothing that could break a log.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Innermost frames of a traceback that a log line keeps.
_FRAMES: Final = 8
_ACCESS: Final = "churn.access"
#: Of every answer: a browser must not find out for itself what it is.
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
#: Of what somebody is told who has signed in, unless it says otherwise: it may be about a person.
_NO_STORE: Final = (b"cache-control", b"no-store")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _AccessLine(msgspec.Struct):
    """What `configure_logging` makes of an event, written here in a quarter of structlog's time."""

    timestamp: datetime
    request_id: str
    method: str
    route: str
    status: int
    ms: float
    event: str = "request"
    level: str = "info"


class Observed:
    """Wraps the whole application, so that what Litestar answers without a route is seen too, and has these headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._lines: list[bytes] = []
        self._logs_requests = logging.getLogger(_ACCESS).isEnabledFor(logging.INFO)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
        else:
            await self._observe(scope, receive, send)

    async def _observe(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = _request_id(scope)
        if not _is_host(header(scope, b"host")):
            # Litestar makes an address of it, and fails on one that is none: then it is as good as absent. It then
            # does the same with the server's name and port, of which a Unix socket has no port.
            ignore_header(scope, b"host")
            if scope["server"] is not None and scope["server"][1] is None:
                scope["server"] = None
        named = (b"x-request-id", request_id.encode())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 500

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], named, _NO_SNIFFING]
                if scope.get("user") is not None and b"cache-control" not in dict(headers):
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        finally:
            seconds = time.perf_counter() - started
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # The template, never the path: a path may name an employee.
            route = scope.get("path_template") or "unmatched"
            self._metrics.answered(method, route, status, seconds)
            if self._logs_requests:
                line = _AccessLine(datetime.now(UTC), request_id, method, route, status, round(seconds * 1000, 3))
                self._log(line)

    def _log(self, line: _AccessLine) -> None:
        # One write for all the requests that one turn of the loop has answered: a system call costs more
        # than everything else about a log line.
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines += (msgspec.json.encode(line), b"\n")

    def _flush(self) -> None:
        # Taken first: a line that cannot be written must not stop those after it.
        lines, self._lines = self._lines, []
        sys.stderr.buffer.write(b"".join(lines))
        sys.stderr.buffer.flush()


def _request_id(scope: HTTPScope) -> str:
    given = header(scope, b"x-request-id")
    return given if _REQUEST_ID.fullmatch(given) else uuid_utils.uuid7().hex


@lru_cache(maxsize=64)
def _is_host(value: str) -> bool:
    if not value:
        return False
    try:
        _ = SplitResult("", value, "", "", "").port
    except ValueError:
        return False
    return True


def configure_logging(level: str) -> None:
    """JSON lines on standard error, from structlog and from the standard library's loggers alike."""
    minimum = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_encode)],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: _encode(event).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(minimum, logging.WARNING))
    # Our own lines are few; those of libraries below a warning are not ours to read.
    logging.getLogger("churn").setLevel(minimum)
    # Access lines are ours; uvicorn's would name paths and be written twice.
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def describe_failure(error: BaseException) -> list[dict[str, object]]:
    """What failed and where, cause by cause, without the messages: they may quote a request or a row."""
    failures: list[dict[str, object]] = []
    cause: BaseException | None = error
    while cause is not None:
        # Not `extract_tb`, which reads the source of every frame from the disk.
        frames = list(traceback.walk_tb(cause.__traceback__))[-_FRAMES:]
        failures.append(
            {
                "type": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "at": [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in frames],
            }
        )
        cause = cause.__cause__
    return failures


def _describe_exception(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    exc_info = event.pop("exc_info", None)
    if isinstance(exc_info, tuple) and exc_info[1] is not None:
        event["causes"] = describe_failure(exc_info[1])
    return event


def _encode(event: Mapping[str, object], **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)
