"""Whatever comes in over every route: `python -m bench.hostile`. No 5xx, no hang, no value of a request in an answer.

The application runs in this process, over a real PostgreSQL and the ASGI interface. hypothesis draws requests in groups
that are sent at once: any method that a route has and some that it has not, path and query parameters from what exists,
what might and noise, and bodies that are valid, or were until a field, a byte or the end of them was changed. A canary
is in values of bodies and headers alone: an answer or a log line that has it quotes what it must not.
"""

import argparse
import asyncio
import base64
import collections
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from litestar.types import ASGIApp
from sqlalchemy import text

from churn.adapters.postgres.embedded import EmbeddedPostgres
from churn.adapters.postgres.engine import create_engine
from churn.adapters.postgres.migrations import Migrations
from churn.container import build_container
from churn.domain.account import Role
from churn.http.app import create_app
from churn.http.observability import configure_logging
from churn.http.predictions import EXAMPLE
from churn.settings import Settings

USERNAME, PASSWORD = "root", "correct horse battery staple"
#: In values, and never in names.
CANARY = "kanarienvogel-4711"
#: Seconds after which an answer counts as never coming.
HANG = 30
GROUP = 10

KNOWN = str(UUID(int=7))
BODIES: dict[str, list[Any]] = {
    "/predict": [EXAMPLE],
    "/predict/batch": [[EXAMPLE], [EXAMPLE, EXAMPLE | {"employee_ref": "E-1"}]],
    "/explain/what-if": [{"employee": EXAMPLE, "changes": {"heures_supp": "Non"}}],
    "/outcomes": [{"outcomes": [{"prediction_id": KNOWN, "left": True, "observed_on": "2026-01-31"}]}],
    "/predictions/{prediction_id}/outcome": [{"left": True, "observed_on": "2026-01-31"}],
    "/predictions/{prediction_id}/review": [{"decision": "accepted", "reason": "Entretien mené."}],
    "/users": [{"username": "victim", "password": "correct horse battery", "role": "analyst"}],
    "/users/{username}": [{"role": "analyst"}, {"disabled": True}, {"password": "another horse battery"}],
    "/models/{version}/activate": [{"reason": "essai"}],
}
#: What a parameter may be: what exists, what might, and what never can.
PARAMETERS = st.sampled_from(
    [KNOWN, "victim", "nobody", "E-1", "2026-01-01", "2026-01-01T00:00:00Z", "1", "0", "-1", "null", "", "99999999999"]
) | st.text(max_size=12)
QUERY_NAMES = st.sampled_from(
    ["since", "until", "limit", "cursor", "before", "prediction", "account", "employee_ref", "model_version", "a", "b",
     "version", "month", "lang", "months", "format"]
) | st.text(max_size=5)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 80)
    | st.floats()
    | st.sampled_from([CANARY, "Oui", "Non", "", "1e400", "2026-02-30", "\x00", "=1+1", 10**400, -0.0, 1e308])
    | st.text(max_size=12).map(lambda value: value + CANARY)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "age", ""]), inner, max_size=3),
    max_leaves=6,
)
NOISE = st.sampled_from(
    [b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"[]", b"{}", b'"', b"[" * 5000, b"1" * 5000,
     b"NaN", b"\xed\xa0\x80", b"age,revenu_mensuel\n1,2\n", b"{}\n{}\n", b"--x\r\n", b'"\\ud800"']
) | st.binary(max_size=60)  # fmt: skip
MEDIA_TYPES = st.sampled_from(
    ["application/json"] * 6
    + ["application/x-ndjson", "text/csv", "text/csv; charset=utf-16", "multipart/form-data; boundary=x", CANARY, ""]
    + ["application/x-www-form-urlencoded"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["accept", "accept-language", "if-match", "origin", "range", "x-forwarded-for",
                     "cookie", "idempotency-key", "content-length", "transfer-encoding", "host"]),
    st.sampled_from([CANARY, "en", "*/*", "text/csv", "bytes=0-", "-1", "chunked", "__Host-churn=x"])
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20),
    max_size=2,
)  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]


class Request(NamedTuple):
    method: str
    route: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@st.composite
def bodies(draw: st.DrawFn, route: str) -> bytes:
    valid = draw(st.sampled_from(BODIES.get(route, [EXAMPLE])))
    kind = draw(st.sampled_from(["valid", "field", "field", "field", "bytes", "bytes", "cut", "noise"]))
    if kind == "noise":
        return draw(NOISE)
    if kind == "field":
        valid = json.loads(json.dumps(valid))
        places = list(_objects(valid))
        place = draw(st.sampled_from(places))
        name = draw(st.sampled_from([*place, "unknown", "heures_suppl"]))
        if draw(st.booleans()) or name not in place:
            place[name] = draw(VALUES)
        else:
            del place[name]
    body = json.dumps(valid, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if kind == "cut":
        return body[: draw(st.integers(0, len(body)))]
    if kind == "bytes":
        at, until = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        return body[:at] + draw(NOISE) + body[draw(st.sampled_from([at, at + 1, until])) :]
    return body


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def requests(routes: dict[str, list[str]]) -> st.SearchStrategy[Request]:
    """Requests to `routes`, which are the methods of each by its path template."""

    @st.composite
    def request(draw: st.DrawFn) -> Request:
        route = draw(st.sampled_from(sorted(routes)))
        method = draw(st.sampled_from(routes[route] * 4 + METHODS))
        path = re.sub(r"\{[^}]*\}", lambda _: quote(draw(PARAMETERS), safe=""), route)
        query = draw(st.lists(st.tuples(QUERY_NAMES, PARAMETERS), max_size=2))
        headers = {"content-type": draw(MEDIA_TYPES)} | draw(HEADERS)
        body = draw(bodies(route)) if method not in ("GET", "HEAD") or draw(st.booleans()) else b""
        return Request(
            method, route, path, "&".join(f"{quote(name)}={quote(value)}" for name, value in query), headers, body
        )

    return request()


def routes_of(app: ASGIApp) -> dict[str, list[str]]:
    """The methods of each route, by its path template, and a path that is none."""
    found: dict[str, list[str]] = {"/nothing/{here}": ["GET"]}
    for route in app._app.routes:  # type: ignore[attr-defined]
        template = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path_format)
        if methods := sorted(getattr(route, "methods", ())):
            found.setdefault(template, []).extend(methods)
    return found


async def send(app: ASGIApp, request: Request) -> Answer:
    credential = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode())
    headers = [(b"host", b"churn.test"), (b"authorization", b"Basic " + credential)]
    headers += [(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()]
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "path": unquote_to_bytes(request.path).decode("utf-8", "replace"),
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    incoming = [{"type": "http.request", "body": request.body, "more_body": False}]
    over = asyncio.Event()
    answer: dict[str, Any] = {"status": 0, "headers": [], "body": bytearray()}

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def respond(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer["status"], answer["headers"] = message["status"], message["headers"]
        else:
            answer["body"] += message.get("body", b"")
            if not message.get("more_body"):
                over.set()

    async with asyncio.timeout(HANG):
        await app(scope, receive, respond)
    names = {name.decode().lower(): value.decode("latin-1") for name, value in answer["headers"]}
    return Answer(answer["status"], names, bytes(answer["body"]))


def check(request: Request, answer: Answer) -> None:
    """What must hold of every answer."""
    assert 200 <= answer.status < 500, f"{answer.status} to {request}"
    # hypothesis, which reads our source for what to say, may have named a field so.
    assert b"Traceback" not in answer.body or b"Traceback" in request.body, request
    if answer.status >= 400 and request.method != "HEAD" and not request.path.startswith("/console"):
        assert answer.headers["content-type"] == "application/problem+json", (request, answer)
        assert json.loads(answer.body)["status"] == answer.status
        # Named fields may be told, and the bytes of a body can make a name of anything.
        # The first line of a CSV is names.
        a_name = re.search(CANARY.encode() + rb'[^"]*"\s*:', request.body) or "csv" in request.headers["content-type"]
        assert a_name or CANARY.encode() not in answer.body, (request, answer)


@contextmanager
def watched_log() -> Iterator[Callable[[], str]]:
    """Standard error is kept; gives what was written since it was last asked."""
    usual, kept = sys.stderr, io.BytesIO()
    sys.stderr = io.TextIOWrapper(kept, encoding="utf-8", write_through=True)

    def written() -> str:
        lines = kept.getvalue().decode()
        kept.seek(0)
        kept.truncate()
        return lines

    try:
        yield written
    finally:
        sys.stderr = usual


def check_log(lines: str) -> None:
    assert CANARY not in lines, "a log line quotes a request"
    assert '"level":"error"' not in lines, next(line for line in lines.splitlines() if '"level":"error"' in line)


@asynccontextmanager
async def application(url: str):
    engine = create_engine(url, pool_size=2, statement_timeout=None)
    changed = Settings(database_url=url, failed_logins_per_account=10_000, failed_logins_per_address=100_000)
    await Migrations(engine, changed.migrations_dir).upgrade()
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await engine.dispose()
    container = build_container(changed)
    await container.create_account()(USERNAME, PASSWORD, Role.ADMIN, by="bench")
    await container.engine().dispose()
    app = create_app(changed)
    received: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan", "state": {}}, received.get, sent.put))  # type: ignore[arg-type, typeddict-item]
    await received.put({"type": "lifespan.startup"})
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    try:
        yield app
    finally:
        await received.put({"type": "lifespan.shutdown"})
        await sent.get()
        await running


type Run = Callable[[Coroutine[Any, Any, None]], object]


def campaign(
    run: Run, app: ASGIApp, cases: int, *, start: int = 0, after: Callable[[], Awaitable[None] | None] | None = None
) -> collections.Counter[str]:
    """Send `cases` requests in groups; what became of them, by status."""
    statuses: collections.Counter[str] = collections.Counter()
    group = st.lists(requests(routes_of(app)), min_size=GROUP, max_size=GROUP)

    async def send_all(wanted: list[Request]) -> None:
        answers = await asyncio.gather(*(send(app, request) for request in wanted))
        for request, answer in zip(wanted, answers, strict=True):
            statuses[str(answer.status)] += 1
            check(request, answer)
        if after is not None:
            after()

    @seed(start)
    @settings(
        max_examples=max(1, cases // GROUP),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(wanted=group)
    def send_group(wanted: list[Request]) -> None:
        run(send_all(wanted))

    send_group()
    return statuses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, watched_log() as written:
        Path(folder).chmod(0o755)  # as root, PostgreSQL runs as another user
        configure_logging("info")
        server = EmbeddedPostgres(Path(folder))
        with server.running(), asyncio.Runner() as runner:
            context = application(server.url)
            app = runner.run(context.__aenter__())
            started, total, part = time.monotonic(), collections.Counter[str](), 0
            while total.total() < arguments.cases:
                wanted = min(5000, arguments.cases - total.total())
                total += campaign(
                    runner.run, app, wanted, start=arguments.seed + part, after=lambda: check_log(written())
                )
                part += 1
                print(f"{total.total():7d} cases, {time.monotonic() - started:6.0f} s: {dict(total)}", flush=True)
            runner.run(context.__aexit__(None, None, None))
    print("no 5xx, no hang, no value told")


if __name__ == "__main__":
    main()
