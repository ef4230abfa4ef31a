"""Who works in the console: a form to sign in, a cookie that recognizes the browser, and no way in from other sites."""

import re
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.response import Redirect
from msgspec import Struct

from churn.domain.account import Role
from churn.domain.errors import InvalidCredentials, TooManyAttempts, Unavailable
from churn.domain.language import Language
from churn.domain.session import form_token_of
from churn.http.authentication import address_of
from churn.http.console.page import ConsoleRequest, page
from churn.http.headers import header
from churn.http.language import LANGUAGE_COOKIE, chosen_language
from churn.http.metrics import Metrics
from churn.http.problems import problem_of
from churn.use_cases.sessions import ResumeSession, SignIn, SignOut

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SIGN_IN: Final = "/console/sign-in"
#: What the form says of a refusal, by status.
_SAID: Final = {403: "refused", 429: "too_many", 503: "unavailable"}
_YEAR: Final = 365 * 24 * 3600
#: Where a sign-in may lead to: pages of the console, and nothing that a browser takes for another host.
_DESTINATION: Final = re.compile(r"/console(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*(\?[^\s\\#]{0,2000})?")


class SessionCookie(Struct, frozen=True):
    """The cookie that carries a session's token."""

    secure: bool
    """Whether browsers may send it over HTTPS alone; then its prefix also binds it to this very host."""

    @property
    def name(self) -> str:
        """A prefix that a browser refuses without `Secure`, with a domain, or with another path."""
        return "__Host-churn" if self.secure else "churn"

    def read(self, request: Request[Any, Any, Any]) -> str:
        """The token that `request` came with; empty without one."""
        return request.cookies.get(self.name, "")

    def holding(self, token: str) -> Cookie:
        """The cookie for a browser that signs in: it is kept until the browser is closed."""
        return Cookie(key=self.name, value=token, path="/", secure=self.secure, httponly=True, samesite="lax")

    def cleared(self) -> Cookie:
        """The cookie for a browser that signs out."""
        return Cookie(key=self.name, value="", max_age=0, path="/", secure=self.secure, httponly=True, samesite="lax")


class SessionAuthentication:
    """Finds out whose a request is, as `BasicAuthentication` does for the API, or leads to the sign-in.

    Takes the same options of a route. A request that changes something must come from a page of this very
    service, and with the secret that only a page of its session has.
    """

    def __init__(self, resume_session: ResumeSession, cookie: SessionCookie) -> None:
        self._resume = resume_session
        self._cookie = cookie

    async def __call__(self, request: Request[Any, Any, Any]) -> Response[Any] | None:
        """Litestar's interface of `before_request`."""
        safe = request.method in _SAFE
        if not (safe or comes_from_here(request)):
            raise PermissionDeniedException
        if safe and (switched := _switch_language(request, self._cookie)) is not None:
            return switched
        options = request.scope["route_handler"].opt
        if options.get("exclude_from_auth"):
            return None
        token = self._cookie.read(request)
        try:
            account = await self._resume(token)
        except InvalidCredentials:
            return Redirect(_sign_in_for(request), status_code=303)
        request.scope["user"], request.scope["auth"] = account, token
        if not account.has(options.get("role", Role.ANALYST)):
            raise PermissionDeniedException
        if not safe:
            form_token = (await request.form()).get("form_token", "")
            if not isinstance(form_token, str) or not compare_digest(
                form_token.encode("utf-8", "replace"), form_token_of(token).encode()
            ):
                raise PermissionDeniedException
        return None


def comes_from_here(request: Request[Any, Any, Any]) -> bool:
    """Whether a page of this service made the browser send `request`.

    Browsers say so in `Sec-Fetch-Site`, over HTTPS and on the machine itself; else, with every form, in `Origin`.
    """
    site = header(request.scope, b"sec-fetch-site")
    if site:
        return site == "same-origin"
    try:
        return urlsplit(header(request.scope, b"origin")).netloc == header(request.scope, b"host") != ""
    except ValueError:
        return False


def _switch_language(request: Request[Any, Any, Any], cookie: SessionCookie) -> Response[Any] | None:
    """To the same page, in the language that `lang` asks for from now on; None if it asks for none."""
    wanted = request.query_params.get("lang", "")
    if wanted not in Language:
        return None
    query = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "lang"])
    response: Response[Any] = Redirect(request.url.path + (f"?{query}" if query else ""), status_code=303)
    response.set_cookie(
        Cookie(LANGUAGE_COOKIE, value=wanted, max_age=_YEAR, secure=cookie.secure, httponly=True, samesite="lax")
    )
    return response


def _sign_in_for(request: Request[Any, Any, Any]) -> str:
    """The address of a sign-in that leads back to the page that was asked for."""
    path, query = request.url.path, request.url.query
    if request.method != "GET" or path == "/console":
        return _SIGN_IN
    return f"{_SIGN_IN}?{urlencode({'next': path + (f'?{query}' if query else '')})}"


def _destination(wanted: object) -> str:
    return wanted if isinstance(wanted, str) and _DESTINATION.fullmatch(wanted) else "/console"


class SessionController(Controller):
    """Sign in and out."""

    opt = {"exclude_from_auth": True}

    @get("/sign-in", sync_to_thread=False)
    def form(self, request: ConsoleRequest) -> Response[str]:
        """The form."""
        said = "signed_out" if "signed-out" in request.query_params else ""
        return _sign_in_page(request, destination=request.query_params.get("next", ""), said=said)

    @post("/sign-in", status_code=303)
    async def sign_in(
        self,
        request: ConsoleRequest,
        sign_in: NamedDependency[SignIn],
        session_cookie: NamedDependency[SessionCookie],
        metrics: NamedDependency[Metrics],
    ) -> Response[Any]:
        """To where the visitor wanted to go, with a new session; or the form again."""
        form = await request.form()
        username, password, destination = (form.get(name, "") for name in ("username", "password", "next"))
        if not (isinstance(username, str) and isinstance(password, str)):
            username = password = ""
        try:
            signed_in = await sign_in(
                # Phones like to begin a word with a capital and to end it with a space; no username has either.
                username.strip().lower(),
                password,
                address=address_of(request.scope),
                replaces=session_cookie.read(request),
            )
        except (InvalidCredentials, TooManyAttempts, Unavailable) as error:
            metrics.auth_failures.labels(type(error).__name__).inc()
            problem, headers = problem_of(request, error, chosen_language(request))
            # Not 401, which must come with a challenge: the browser would open a window of its own.
            status = 403 if isinstance(error, InvalidCredentials) else problem.status
            return _sign_in_page(
                request,
                destination=destination,
                said=_SAID[status],
                status_code=status,
                headers={name: value for name, value in headers.items() if name == "retry-after"},
                username=username,
            )
        response: Response[Any] = Redirect(_destination(destination), status_code=303)
        response.set_cookie(session_cookie.holding(signed_in.token))
        return response

    # Not excluded from authentication: the form must carry the session's secret.
    @post("/sign-out", status_code=303, opt={"exclude_from_auth": False})
    async def sign_out(
        self,
        request: ConsoleRequest,
        sign_out: NamedDependency[SignOut],
        session_cookie: NamedDependency[SessionCookie],
    ) -> Redirect:
        """To the sign-in, without the session."""
        await sign_out(request.auth)
        response = Redirect(f"{_SIGN_IN}?signed-out", status_code=303)
        response.set_cookie(session_cookie.cleared())
        return response


def _sign_in_page(
    request: ConsoleRequest,
    *,
    destination: object,
    said: str,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    username: str = "",
) -> Response[str]:
    return page(
        request,
        "sign_in.html",
        "sign_in",
        status_code=status_code,
        headers=headers,
        destination=_destination(destination),
        said=said,
        username=username[:64],
    )
