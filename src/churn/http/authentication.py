"""HTTP Basic authentication (RFC 7617), and who may do what."""

import binascii
from collections.abc import Iterable
from typing import Any

from litestar import Request
from litestar.exceptions import PermissionDeniedException
from litestar.types import Scope

from churn.domain.account import Account, Role
from churn.domain.errors import ChurnError, InvalidCredentials
from churn.http.metrics import Metrics
from churn.use_cases.authenticate import Authenticate


class BasicAuthentication:
    """Finds out whose a request is and puts their account into `scope["user"]`, or answers 401 or 403.

    A route with the option `exclude_from_auth` is open to all, one with the option `role` only to who has it.
    Litestar's hook before each request, because the two things made for this cost more than what it does: it
    wraps a middleware in an exception handler of its own, and copies the route handler for each guard.
    """

    def __init__(self, authenticate: Authenticate, metrics: Metrics) -> None:
        self._authenticate = authenticate
        self._failures = metrics.auth_failures

    async def __call__(self, request: Request[Any, Any, Any]) -> None:
        """Litestar's interface of `before_request`."""
        options = request.scope["route_handler"].opt
        if options.get("exclude_from_auth"):
            return
        account = await self._account(request.scope)
        if not account.has(options.get("role", Role.ANALYST)):
            raise PermissionDeniedException
        request.scope["user"] = account

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
