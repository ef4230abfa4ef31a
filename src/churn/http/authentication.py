"""HTTP Basic authentication (RFC 7617), and who may do what."""

import binascii
from collections.abc import Iterable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from churn.domain.account import Account, Role
from churn.domain.errors import ChurnError, InvalidCredentials
from churn.http.metrics import Metrics
from churn.use_cases.authenticate import Authenticate

type AccountConnection = ASGIConnection[Any, Account, Any, Any]


class BasicAuthentication:
    """Middleware: finds out whose a request is and puts their account into `scope["user"]`, or answers 401.

    Routes with the option `exclude_from_auth` are open to all. A bare ASGI callable and not one of
    Litestar's base classes, which cost more than what it does.
    """

    def __init__(self, authenticate: Authenticate, metrics: Metrics) -> None:
        self._authenticate = authenticate
        self._failures = metrics.auth_failures

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """`app`, for those who have signed in."""

        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope["route_handler"].opt.get("exclude_from_auth"):
                scope["user"] = await self._account(scope)
            await app(scope, receive, send)

        return middleware

    async def _account(self, scope: Scope) -> Account:
        # Outside: a request without a credential, as browsers send first, is no sign-in that was refused.
        username, password = credentials(scope["headers"])
        try:
            return await self._authenticate(username, password, address_of(scope))
        except ChurnError as error:
            self._failures.labels(type(error).__name__).inc()
            raise


def credentials(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
    """The username and the password that a request carries.

    Raises:
        InvalidCredentials: it carries none, or none that can be read, or more than one.
    """
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1 or values[0][:6].lower() != b"basic ":
        raise InvalidCredentials
    try:
        text = binascii.a2b_base64(values[0][6:].strip(b" "), strict_mode=True).decode()
    except ValueError:
        raise InvalidCredentials from None
    username, colon, password = text.partition(":")
    if not colon:
        raise InvalidCredentials
    return username, password


def address_of(scope: Scope) -> str:
    """The client's IP address, which uvicorn takes from the proxies it trusts; empty over a Unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


async def admin_only(connection: AccountConnection, _: BaseRouteHandler) -> None:
    """Guard: 403 to all but admins. What any account may do needs no guard.

    Raises:
        PermissionDeniedException: the account is no admin's.
    """
    if not connection.user.has(Role.ADMIN):
        raise PermissionDeniedException
