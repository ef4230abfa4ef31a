"""Everything under `/console`."""

from typing import Any

from litestar import Request, Response, Router, get
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from churn.http.console.accounts import AccountsController, OwnAccountController
from churn.http.console.audit import AuditController
from churn.http.console.file import FileController
from churn.http.console.history import HistoryController
from churn.http.console.models import ModelsController
from churn.http.console.monitoring import MonitoringController
from churn.http.console.page import problem_page
from churn.http.console.person import PersonController
from churn.http.console.prediction import PredictionController
from churn.http.console.session import SessionAuthentication, SessionController, SessionCookie
from churn.settings import Settings
from churn.use_cases.sessions import ResumeSession


@get("/{_rest:path}", sync_to_thread=False)
def nowhere(_rest: FromPath[str]) -> None:
    """An address that leads nowhere, told as a page."""
    raise NotFoundException


def console(resume_session: ResumeSession, settings: Settings) -> Router:
    """The console.

    Its hook before each request takes the place of the application's: here a session counts, and no other credential.
    """
    cookie = SessionCookie(settings.session_secure)
    authentication = SessionAuthentication(resume_session, cookie)

    # A function, because Litestar makes a deep copy of a router, and of all that its objects are made of.
    async def authenticate(request: Request[Any, Any, Any]) -> Response[Any] | None:
        return await authentication(request)

    return Router(
        "/console",
        route_handlers=[
            SessionController,
            PersonController,
            PredictionController,
            HistoryController,
            MonitoringController,
            ModelsController,
            AccountsController,
            OwnAccountController,
            AuditController,
            Router("/", route_handlers=[FileController], request_max_body_size=settings.batch_max_body_size),
            nowhere,
        ],
        before_request=authenticate,
        dependencies={"session_cookie": Provide(lambda: cookie, use_cache=True, sync_to_thread=False)},
        exception_handlers={Exception: problem_page, HTTPException: problem_page},
        include_in_schema=False,
    )
