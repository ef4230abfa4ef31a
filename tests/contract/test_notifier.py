"""What every `Notifier` must do, and what only a webhook does."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from churn.adapters.memory import MemoryClock, MemoryNotifier
from churn.adapters.webhook_notifier import WebhookNotifier
from churn.domain.alert import Alert, State, Subject
from churn.domain.errors import NotDelivered
from churn.ports import Notifier

KEY = os.urandom(32)
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
ALERT = Alert(
    number=3,
    at=datetime(2026, 1, 1, 12, tzinfo=UTC),
    subject=Subject.DRIFT,
    state=State.ALARM,
    model_version="a",
    reasons=("age", "revenu_mensuel"),
)


@dataclass
class Receiver:
    """A server that keeps what it is sent, and answers with what it is told to: at last always 204."""

    url: str = ""
    answers: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.strip().split("\r\n")
        headers = dict(header.lower().split(": ", 1) for header in lines)
        # The signature tells upper and lower case apart.
        headers["webhook-signature"] = next(
            (value.split(": ", 1)[1] for value in lines if value.lower().startswith("webhook-signature")), ""
        )
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append((line, headers, body))
        answer = self.answers.pop(0) if self.answers else b"204 No Content"
        if answer:
            writer.write(b"HTTP/1.1 " + answer + b"\r\nconnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=1"
    async with server:
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def waits() -> list[float]:
    """How long was waited between attempts: nobody really waits."""
    return []


@pytest.fixture
def webhook(receiver: Receiver, waits: list[float]) -> WebhookNotifier:
    return notifier(receiver.url, waits=waits)


def notifier(url: str, *, secret: str = SECRET, waits: list[float] | None = None) -> WebhookNotifier:
    async def sleep(seconds: float) -> None:
        (waits if waits is not None else []).append(seconds)

    return WebhookNotifier(url, secret, clock=MemoryClock(), sleep=sleep)


@asynccontextmanager
async def memory() -> AsyncIterator[Notifier]:
    yield MemoryNotifier()


@asynccontextmanager
async def over_http() -> AsyncIterator[Notifier]:
    async with receiving() as receiver:
        yield notifier(receiver.url)


@pytest.mark.parametrize("make", [memory, over_http])
async def test_an_alert_is_sent(make: object) -> None:
    """As often as it is asked for."""
    async with make() as notifier:  # type: ignore[operator]
        assert isinstance(notifier, Notifier)
        await notifier.send(ALERT)
        await notifier.send(ALERT)


async def test_it_says_what_has_changed_and_nothing_of_anybody(webhook: WebhookNotifier, receiver: Receiver) -> None:
    """In JSON, as Standard Webhooks has it."""
    await webhook.send(ALERT)
    ((line, headers, body),) = receiver.requests
    assert line == "POST /hook?token=1 HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "churn.drift.alarm",
        "timestamp": "2026-01-01T12:00:00Z",
        "data": {"model_version": "a", "reasons": ["age", "revenu_mensuel"]},
    }


async def test_the_signature_covers_id_time_and_body(webhook: WebhookNotifier, receiver: Receiver) -> None:
    """Whoever has the key can check that nobody else sent it, that it is new, and whether it came before."""
    await webhook.send(ALERT)
    await webhook.send(ALERT)
    (_, first, body), (_, second, _) = receiver.requests
    assert first["webhook-id"] == second["webhook-id"]
    signed = f"{first['webhook-id']}.{first['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    assert first["webhook-signature"] == f"v1,{expected}"
    assert int(first["webhook-timestamp"]) == MemoryClock().now().timestamp()


async def test_what_may_pass_is_tried_again(webhook: WebhookNotifier, receiver: Receiver, waits: list[float]) -> None:
    """After a failure of the server's or of the way to it, twice, and later each time."""
    receiver.answers = [b"503 Service Unavailable", b""]
    await webhook.send(ALERT)
    assert len(receiver.requests) == 3
    assert waits == sorted(waits)
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("answers", "requests", "message"),
    [
        ([b"500 Oops"] * 3, 3, "answered 500"),
        ([b"429 Too Many Requests"] * 3, 3, "answered 429"),
        ([b""] * 3, 3, "RemoteProtocolError"),
        ([b"400 Bad Request"], 1, "answered 400"),
        ([b"410 Gone"], 1, "answered 410"),
    ],
)
async def test_what_is_not_confirmed_is_not_delivered(
    webhook: WebhookNotifier, receiver: Receiver, answers: list[bytes], requests: int, message: str
) -> None:
    """It says why, and does not ask in vain for what will not change."""
    receiver.answers = answers
    with pytest.raises(NotDelivered, match=message):
        await webhook.send(ALERT)
    assert len(receiver.requests) == requests


async def test_a_redirect_is_not_followed(webhook: WebhookNotifier, receiver: Receiver) -> None:
    """Whoever answers does not decide who else is told."""
    async with receiving() as elsewhere:
        receiver.answers = [b"307 Temporary Redirect\r\nlocation: " + elsewhere.url.encode()]
        with pytest.raises(NotDelivered, match="307"):
            await webhook.send(ALERT)
        assert elsewhere.requests == []


@pytest.mark.parametrize("environment", ["HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_of_the_environment_is_not_used(
    webhook: WebhookNotifier, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    """Only the address that the operator named is asked."""
    monkeypatch.setenv(environment, "http://127.0.0.1:9")
    await webhook.send(ALERT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.com/hook",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "http://10.0.0.1/",
        "http:///hook",
        "https://",
        "ftp://localhost/",
        "file:///etc/passwd",
        "http://[::1",
        "//localhost/",
    ],
)
async def test_an_address_that_others_can_listen_to_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(NotDelivered, match="CHURN_ALERT_WEBHOOK_URL"):
        await notifier(url).send(ALERT)


async def test_an_address_is_not_repeated(unused_tcp_port: int) -> None:
    """It may hold a token, and errors go to the log."""
    for url in (f"http://127.0.0.1:{unused_tcp_port}/?token=hunter2", "http://example.com/?token=hunter2"):
        with pytest.raises(NotDelivered) as failure:
            await notifier(url).send(ALERT)
        assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "not Base64 at all!", "é", "A" * 400])
async def test_a_key_that_is_none_is_refused(receiver: Receiver, secret: str) -> None:
    """An unsigned alert, or one that anybody could sign, is never sent."""
    with pytest.raises(NotDelivered, match="CHURN_ALERT_WEBHOOK_SECRET"):
        await notifier(receiver.url, secret=secret).send(ALERT)
    assert receiver.requests == []


async def test_nobody_who_listens_is_not_delivered(unused_tcp_port: int) -> None:
    """A port on which nobody listens is tried and told."""
    with pytest.raises(NotDelivered, match="ConnectError"):
        await notifier(f"http://127.0.0.1:{unused_tcp_port}/").send(ALERT)
