"""Alerts as webhooks, signed as https://www.standardwebhooks.com asks."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from churn.domain.alert import Alert
from churn.domain.errors import NotDelivered
from churn.ports import Clock

#: Seconds that one attempt may take, and to wait before the second and the third. What is not delivered then is tried
#: again by the next check.
_TIMEOUT: Final = 10.0
_BACKOFF: Final = (1.0, 5.0)
#: Bytes of a key: fewer could be guessed, and more are not used by SHA-256.
_KEY_SIZES: Final = range(24, 65)
#: Statuses that may pass: too early, too many requests, and every error of the server's own.
_PASSING: Final = {408, 425, 429, *range(500, 600)}


# It writes the address of every request, which may hold a token.
logging.getLogger("httpx").setLevel(logging.WARNING)


class WebhookNotifier:
    """Fills the port `Notifier`.

    Only the operator's own address is ever asked: redirects are not followed, and proxies of the environment not used.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is checked before something is sent.

        Args:
            url: `https://…`, or `http://` on this very machine; empty when nobody is to be told.
            secret: the key, 24 to 64 bytes in Base64, `whsec_` before it or not.
            clock: stamps each attempt.
            sleep: waits for so many seconds between two.
        """
        self._url = url
        self._secret = secret
        self._clock = clock
        self._sleep = sleep

    async def send(self, alert: Alert) -> None:
        """See the port."""
        # Imported here: an alert is rare, and this takes longer than all else that a start imports.
        import httpx  # noqa: PLC0415

        key = self._check()
        body = _body(alert)
        async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as client:
            for wait in (*_BACKOFF, None):
                try:
                    async with asyncio.timeout(_TIMEOUT):
                        # Only the status matters, so that an answer without end is not read.
                        headers = self._headers(alert, body, key)
                        async with client.stream("POST", self._url, content=body, headers=headers) as response:
                            status = response.status_code
                except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                    failure = f"the webhook does not answer: {type(error).__name__}"
                else:
                    if status // 100 == 2:  # noqa: PLR2004 - any success
                        return
                    failure = f"the webhook answered {status}"
                    if status not in _PASSING:
                        break
                if wait is not None:
                    await self._sleep(wait)
        raise NotDelivered(failure)

    def _check(self) -> bytes:
        """The key, if it and the address may be used."""
        if not self._url:
            raise NotDelivered("no webhook is set: CHURN_ALERT_WEBHOOK_URL")
        if not _may_be_asked(self._url):
            raise NotDelivered("CHURN_ALERT_WEBHOOK_URL must be https://, or http:// on this machine")
        try:
            key = base64.b64decode(self._secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) not in _KEY_SIZES:
            raise NotDelivered("CHURN_ALERT_WEBHOOK_SECRET must be 24 to 64 bytes in Base64")
        return key

    def _headers(self, alert: Alert, body: bytes, key: bytes) -> dict[str, str]:
        identity = f"{alert.subject.value}-{alert.number}-{int(alert.at.timestamp())}"
        stamp = str(int(self._clock.now().timestamp()))
        digest = hmac.digest(key, b".".join([identity.encode(), stamp.encode(), body]), hashlib.sha256)
        return {
            "content-type": "application/json",
            "user-agent": "churn",
            "webhook-id": identity,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def _may_be_asked(url: str) -> bool:
    """Whether nobody on the way can read what is sent there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme != "http":
        return parts.scheme == "https" and bool(parts.hostname)
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # another name
        return False


def _body(alert: Alert) -> bytes:
    return msgspec.json.encode(
        {
            "type": f"churn.{alert.subject.value}.{alert.state.value}",
            "timestamp": alert.at,
            "data": {"model_version": alert.model_version, "reasons": alert.reasons},
        }
    )
